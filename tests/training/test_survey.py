"""training.survey: the figures of the data add up, and what is suspicious is said in words before an hour is spent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.corpora import corpus_of, texts
from training.corpus import Corpus
from training.rows import Row
from training.survey import doubts, figures, quantile, reading


def labelled(*pairs: str) -> list[Row]:
    """'up: a b' as a row."""
    return [Row(text, label) for label, text in (pair.split(": ") for pair in pairs)]


def balanced(count: int, word: str, labels: str = "xy") -> list[Row]:
    """Rows of different texts whose labels take turns."""
    return [Row(f"{word} {index}", labels[index % len(labels)]) for index in range(count)]


def table(corpus: Corpus) -> dict[str, list[str]]:
    return {name: cells for name, *cells in figures(corpus)}


def test_every_split_that_has_rows_has_a_column(tmp_path: Path) -> None:
    train, test = texts("a b c", "b a", "c c"), texts("a b")
    assert next(figures(corpus_of(tmp_path, train, test=test)[1])) == ["", "train", "test"]
    assert next(figures(corpus_of(tmp_path, train)[1])) == ["", "train"]


def test_every_row_of_the_table_has_a_cell_a_split(tmp_path: Path) -> None:
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("a b\nc d\n", encoding="utf-8")
    rows = [row for label in range(15) for row in labelled(f"label{label}: a b {label}")]
    _, corpus = corpus_of(tmp_path, rows, rows[:3], rows[3:5], data={"unlabelled": str(unlabelled)})
    found = list(figures(corpus))
    assert found[0] == ["", "train", "valid", "test", "unlabelled"]
    assert {len(row) for row in found} == {5}


def test_rows_words_lengths_and_unknown_words_are_counted(tmp_path: Path) -> None:
    train = texts(*["a b c"] * 18, "a b c d e f g h i j k", "a b")
    _, corpus = corpus_of(tmp_path, train, test=texts("a new b newer"), text={"max_length": 5, "max_words": 5})
    found = table(corpus)
    assert found["rows"] == ["20", "1"]
    assert found["words"] == [str(18 * 3 + 5 + 2), "4"]
    assert found["unknown words"] == ["0.0%", "50.0%"]
    assert found["words a text, median"] == ["3", "4"]
    assert found["words a text, 95% have at most"] == ["3", "4"]
    assert found["words a text, longest"] == ["11", "4"]
    assert found["texts cut for length"] == ["1 (5.0%)", "0"]


def test_a_length_that_texts_were_cut_at_is_told_apart_from_one_they_have(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, texts("a b c d e", "b c d e a"), test=texts("a b c"), text={"max_length": 3})
    assert table(corpus)["words a text, median"] == ["3+", "3"]


@given(st.lists(st.integers(0, 9), min_size=1), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_a_quantile_is_the_least_number_that_a_share_does_not_exceed(words: list[int], share: float) -> None:
    found = quantile(np.bincount(words, minlength=10), share)
    assert sum(word <= found for word in words) >= share * len(words) - 1e-9
    assert sum(word <= found - 1 for word in words) < share * len(words)


def test_texts_that_other_splits_have_too_are_counted(tmp_path: Path) -> None:
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("b b\nc c\nd d\n", encoding="utf-8")
    train, valid, test = labelled("x: a a", "y: b b"), labelled("x: c c", "y: b b"), labelled("x: d d")
    _, corpus = corpus_of(tmp_path, train, valid, test, data={"unlabelled": str(unlabelled)})
    assert table(corpus)["text is in train too"] == ["", "1 (50.0%)", "0", ""]
    assert table(corpus)["text is in valid too"] == ["", "", "0", ""]
    assert table(corpus)["text is in valid or test"] == ["", "", "", "3"]


def test_texts_of_test_that_were_chosen_on_are_counted(tmp_path: Path) -> None:
    train, valid, test = (
        labelled("x: a a", "y: b b"),
        labelled("x: c c", "y: d d", "x: e e"),
        labelled("x: d d", "y: d d", "y: f f"),
    )
    _, corpus = corpus_of(tmp_path, train, valid, test)
    assert table(corpus)["text is in valid too"] == ["", "", "2 (66.7%)"]


def test_labels_come_with_their_share_of_every_split_the_most_frequent_first(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, labelled("a: q", "b: r", "b: s", "b: t"), test=labelled("a: u", "b: v"))
    labels = {name: cells for name, cells in table(corpus).items() if name.startswith("label")}
    assert labels == {"label b": ["75.0%", "50.0%"], "label a": ["25.0%", "50.0%"]}
    assert list(labels) == ["label b", "label a"]


def test_of_many_labels_the_most_frequent_and_the_rarest_are_shown(tmp_path: Path) -> None:
    rows = [Row(f"text {index} of {label}", f"n{label:02}") for label in range(20) for index in range(40 - label)]
    found = table(corpus_of(tmp_path, rows)[1])
    assert [name for name in found if name.startswith("label")] == [f"label n{label:02}" for label in [*range(12), 19]]
    assert "and 8 labels more, the rarest:" in found


def test_what_the_model_reads_is_told(tmp_path: Path) -> None:
    rows = labelled("x: a b", "y: c d")
    with_ngrams = list(reading(corpus_of(tmp_path, rows, model={"ngrams": 3, "buckets": 77})[1]))
    assert with_ngrams == [
        "4 words known (and 2 special ids)",
        "words are read by their runs of 1 to 3 characters too, in 77 rows",
    ]
    assert list(reading(corpus_of(tmp_path, texts("a b", "b a c"))[1])) == [
        "3 words known (and 2 special ids)",
        "3 next words to predict",
    ]


def test_characters_are_called_characters(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, texts("ab", "ba c", "d"), text={"unit": "char", "max_words": 2})
    assert all("word" not in row[0] for row in figures(corpus, "char"))
    assert "characters known" in next(reading(corpus, "char"))
    (doubt,) = [doubt for doubt in doubts(corpus, "char") if "unknown" in doubt]
    assert "many characters are unknown" in doubt
    assert "ngrams" not in doubt
    assert "unit" not in doubt


# What is suspicious


def test_nothing_is_said_of_data_without_fault(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, balanced(300, "a"), balanced(100, "a a"), balanced(100, "a a a"))
    assert list(doubts(corpus)) == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"duplicates": 30}, "30.0% of the rows of test have a text that train has too"),
        ({"in_valid": 30}, "30.0% of the rows of test have a text that valid has too: what is chosen on valid flatters"),
        ({"unknown": 90, "words": 300}, "many words are unknown, 30.0% in test: a larger text.max_words, or model.ngrams=4"),
        ({"nul_rows": 1}, "some rows have NUL characters, read as spaces, 1.0% in test"),
        ({"rows": 99}, "test has only 99 rows"),
        ({"labels": {"x": 80, "y": 20}}, "80% of the rows of test have the label 'x', but 50% of those of train"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_every_fault_of_a_split_is_told_with_its_figure(what: dict[str, Any], said: str, tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, balanced(300, "a"), balanced(100, "a a"), balanced(100, "a a a"))
    changed = replace(corpus.statistics["test"], **what)
    found = list(doubts(replace(corpus, statistics={**corpus.statistics, "test": changed})))
    assert any(said in doubt for doubt in found), found


def test_texts_that_training_cuts_are_told_and_where(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, balanced(200, "a b c"), text={"max_length": 2})
    said = "many texts are longer than 2 words and cut there, 100.0% in train: a larger text.max_length may help"
    assert said in list(doubts(corpus))


def test_a_label_that_hardly_any_row_has_is_told(tmp_path: Path) -> None:
    rows = [*balanced(200, "a", "x"), Row("b", "y")]
    _, corpus = corpus_of(tmp_path, rows, test=rows)
    assert any("only 0.50% of the rows of train (1) have the label 'y'" in doubt for doubt in doubts(corpus))


def test_unknown_words_are_no_fault_where_their_characters_are_read(tmp_path: Path) -> None:
    rows, test = balanced(300, "a"), balanced(200, "new")
    _, plain = corpus_of(tmp_path / "plain", rows, test=test, text={"max_words": 1})
    _, spelled = corpus_of(tmp_path / "spelled", rows, test=test, text={"max_words": 1}, model={"ngrams": 2})
    assert any("unknown" in doubt for doubt in doubts(plain))
    assert not any("unknown" in doubt for doubt in doubts(spelled))


def test_unlabelled_texts_that_are_scored_on_are_told(tmp_path: Path) -> None:
    unlabelled = tmp_path / "more.txt"
    unlabelled.write_text("a a a 1\nsomething else\n", encoding="utf-8")
    _, corpus = corpus_of(tmp_path, balanced(300, "a"), test=balanced(100, "a a a"), data={"unlabelled": str(unlabelled)})
    assert any("1 of the unlabelled texts are in valid or test" in doubt for doubt in doubts(corpus))


@pytest.mark.parametrize(("valid", "scored"), [(True, "valid"), (False, "train")])
def test_a_missing_test_split_is_told_with_what_is_scored_instead(valid: bool, scored: str, tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, balanced(300, "a"), balanced(100, "a a") if valid else [])
    assert f"there is no test split: the scores will be those of {scored}" in list(doubts(corpus))
