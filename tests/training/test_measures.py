"""training.measures: the figures that scikit-learn gives, without its warnings where a label never occurs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from training.measures import confusion, label_scores, summary

pairs = st.integers(2, 4).flatmap(
    lambda labels: st.tuples(
        st.just(labels), st.lists(st.tuples(st.integers(0, labels - 1), st.integers(0, labels - 1)), min_size=1, max_size=30)
    )
)


@given(pairs)
def test_every_figure_is_scikit_learn_s(case: tuple[int, list[tuple[int, int]]]) -> None:
    labels, rows = case
    predicted, targets = np.array(rows).T
    table, names = confusion(predicted, targets, labels), [f"label {number}" for number in range(labels)]
    assert np.array_equal(table, confusion_matrix(targets, predicted, labels=range(labels)))
    expected = precision_recall_fscore_support(targets, predicted, labels=range(labels), zero_division=0)
    for place, score in enumerate(label_scores(table, names)):
        assert (score.precision, score.recall, score.f1, score.rows) == pytest.approx([column[place] for column in expected])
        assert score.label == names[place]
    found = summary(table, names, rarer=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, predicted))
    assert found["macro F1"] == pytest.approx(f1_score(targets, predicted, average="macro", zero_division=0))


def test_of_two_labels_the_rarer_one_s_finds_and_false_alarms_are_told() -> None:
    """Of 4 spam messages 3 are found; of 100 others 2 are taken for spam."""
    targets = np.repeat([0, 1], [100, 4])
    predicted = np.concatenate([np.repeat([0, 1], [98, 2]), [1, 1, 1, 0]])
    found = summary(confusion(predicted, targets, 2), ["ham", "spam"], rarer=1)
    assert found["F1 of spam"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["false alarms"] == 0.02
    turned = summary(confusion(1 - predicted, 1 - targets, 2), ["spam", "ham"], rarer=0)
    assert turned == found


def test_of_three_labels_none_is_the_one_that_is_looked_for() -> None:
    assert summary(np.eye(3, dtype=np.int64), ["a", "b", "c"], rarer=0) == {"accuracy": 1.0, "macro F1": 1.0}


def test_nothing_to_measure_is_no_error() -> None:
    found = summary(np.zeros((2, 2), np.int64), ["a", "b"], rarer=0)
    assert set(found.values()) == {0.0}
