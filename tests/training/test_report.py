"""What a person reads of a run adds up, and survives any text."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from service.artifact import Cell, Score
from tests.builders import Small, small_model
from tests.training.corpora import corpus_of, evaluation_of, indifferent, texts
from training import report
from training.calibration import softmax
from training.evaluate import Answers, Evaluation, evaluate
from training.model import count_parameters
from training.rows import Row

KINDS = [
    Small(cell="rnn", tied=False),
    Small(cell="gru", layers=2),
    Small(cell="lstm", embedding=16, hidden=16),
    Small(cell="lstm", embedding=12, hidden=16, tied=True),
    Small("classify", "gru", layers=2, bidirectional=True),
    Small("classify", "rnn", pooling="last", head="sigmoid"),
    Small("classify", "lstm", pooling="mean", labels=("a", "b", "c")),
    Small("classify", "lstm", pooling="attention", ngrams=3),
    Small("classify", "gru", pooling="concat", ngrams=2, tables="int8", bidirectional=True),
]
LABELS = ["긍정", "부정", "[bold]"]


def shown(table: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


# Tables


@pytest.mark.parametrize("small", KINDS, ids=lambda small: f"{small.name}-{small.pooling}-{small.embedding}")
def test_the_parameters_of_the_layers_add_up_to_the_total(small: Small, tmp_path: Path) -> None:
    _, _, model = small_model(small, tmp_path)
    assert sum(parameters for _, _, parameters in report.summary_rows(model)) == count_parameters(model)
    assert f"{count_parameters(model):,}" in shown(report.summary_table(model))


@pytest.mark.parametrize(("cell", "parameters"), [("rnn", 12 * 16 + 16 * 16 + 16), ("lstm", 4 * (12 * 16 + 16 * 16 + 16))])
def test_every_layer_has_its_name_shape_and_parameters(cell: Cell, parameters: int, tmp_path: Path) -> None:
    _, corpus, model = small_model(Small(cell=cell, tied=False), tmp_path)
    words = corpus.tokenizer.vocabulary_size
    assert list(report.summary_rows(model)) == [
        ("embedding", "(B, T, 12)", 12 * words),
        (f"{cell} 1", "(B, T, 16)", parameters),
        ("output", f"(B, T, {words})", 16 * words + words),
    ]


def test_a_bidirectional_classifier_s_layers_are_twice_as_wide(tmp_path: Path) -> None:
    _, _, model = small_model(Small("classify", "gru", bidirectional=True, pooling="mean"), tmp_path)
    rows = list(report.summary_rows(model))
    assert [(name, shape) for name, shape, _ in rows[1:]] == [
        ("bigru 1", "(B, T, 32)"),
        ("mean pooling", "(B, 32)"),
        ("output, softmax", "(B, 2)"),
    ]


def test_the_table_of_n_grams_and_the_weights_of_attention_are_layers_of_their_own(tmp_path: Path) -> None:
    _, corpus, model = small_model(Small("classify", "lstm", pooling="attention", ngrams=3), tmp_path)
    rows = {name: (shape, parameters) for name, shape, parameters in report.summary_rows(model)}
    assert corpus.ngrams is not None
    assert rows["embedding of n-grams"] == ("(B, T, 12)", 12 * (corpus.ngrams.buckets + 1))
    assert rows["attention pooling"][1] >= 16


def test_what_concat_pools_is_three_times_as_wide(tmp_path: Path) -> None:
    _, _, model = small_model(Small("classify", "gru", pooling="concat"), tmp_path)
    assert ("concat pooling", "(B, 48)", 0) in list(report.summary_rows(model))


def test_the_data_table_says_what_there_is_and_what_is_suspicious(tmp_path: Path) -> None:
    _, corpus = corpus_of(tmp_path, texts("a b c", "b a c", "c"), test=texts("a new newer word"))
    found = shown(report.data_table(corpus))
    for figure in ("train", "test", "3 words known", "4 next words to predict", "75.0%", "! many words are unknown"):
        assert figure in found
    assert "characters" in shown(report.data_table(corpus, "char"))


@pytest.mark.parametrize("label", ["[/red]", "[bold]", "[link=x]", "\\[a]"])
def test_a_label_is_shown_as_it_is_written_whatever_it_looks_like(label: str, tmp_path: Path) -> None:
    _, corpus, _ = small_model(Small("classify", labels=("up", label)), tmp_path)
    assert label in shown(report.data_table(corpus))
    evaluation = evaluation_of(["up", label])
    assert label in shown(report.label_table(evaluation))
    assert label in shown(report.score_table([Score(metric=f"F1 of {label}", split="test", value=0.5)]))


def test_the_score_table_has_every_score_and_a_column_a_baseline() -> None:
    found = shown(
        report.score_table(
            [
                Score(metric="accuracy", split="test", value=0.9125, baselines={"a guess": 0.5, "a better guess": 0.75}),
                Score(metric="unknown word rate", split="test", value=0.01),
            ]
        )
    )
    for figure in ("accuracy", "0.9125", "a guess", "0.5", "a better guess", "0.75", "unknown word rate", "0.01"):
        assert figure in found


def test_the_figures_are_every_score_and_what_the_baselines_reach_by_name() -> None:
    scores = [
        Score(metric="accuracy", split="test", value=0.75, baselines={"TF-IDF over words": 0.5}),
        Score(metric="macro F1", split="test", value=0.25),
    ]
    assert report.figures(scores) == {"accuracy": 0.75, "accuracy of TF-IDF over words": 0.5, "macro F1": 0.25}
    assert report.figures([]) == {}


def test_the_label_table_has_the_figures_of_every_label() -> None:
    """Of three rows of a, two are answered a; the one of b is too."""
    logits = np.eye(2, dtype=np.float32)[[0, 0, 1, 0]]
    evaluation = Evaluation([], "valid", ["a", "b"], Answers(logits, np.array([0, 0, 0, 1])))
    first, second = report.by_label(evaluation)
    assert tuple(first) == ("a", 3, *[pytest.approx(2 / 3)] * 3)
    assert tuple(second) == ("b", 1, 0, 0, 0)
    assert "valid" in shown(report.label_table(evaluation))


# Mistakes


def mistakes_of(tmp_path: Path, most: int = 50) -> tuple[Evaluation, list[Row], list[list[str]]]:
    evaluation = evaluation_of(LABELS, rows=90)
    assert evaluation.answers is not None
    rows = [Row(f"text {place}\tand", LABELS[target]) for place, target in enumerate(evaluation.answers.targets)]
    _, corpus = corpus_of(tmp_path, rows, test=rows)
    head, *lines = report.mistakes(evaluation, corpus, most).splitlines()
    assert head == "score\tpredicted\texpected\ttext"
    return evaluation, rows, [line.split("\t") for line in lines]


def test_the_mistakes_are_all_that_is_wrong_the_surest_first(tmp_path: Path) -> None:
    evaluation, rows, found = mistakes_of(tmp_path)
    assert evaluation.answers is not None
    answers, scores = evaluation.answers, softmax(evaluation.calibrated).max(axis=1)
    assert len(found) == int((answers.predicted != answers.targets).sum()) > 3
    assert [line[0] for line in found] == sorted((line[0] for line in found), reverse=True)
    for score, predicted, expected, text in found:
        place = int(text.split()[1])
        assert text == rows[place].text.replace("\t", " ")
        assert expected == rows[place].label != predicted
        assert predicted == LABELS[answers.predicted[place]]
        assert score == f"{scores[place]:.3f}"


def test_no_more_mistakes_are_told_than_wanted(tmp_path: Path) -> None:
    _, _, all_of_them = mistakes_of(tmp_path)
    assert mistakes_of(tmp_path, most=2)[2] == all_of_them[:2]


def test_a_mistake_is_one_line_of_bearable_length_whatever_the_text(tmp_path: Path) -> None:
    rows = [Row("a\nb\r\nc\td\u2028e\x85f", "x"), Row("y" * 1_000_000, "x"), Row("z", "y")]
    _, corpus = corpus_of(tmp_path, rows, test=rows)
    wrong = Evaluation([], "test", ["x", "y"], Answers(np.array([[0, 9], [0, 8], [7, 0]], np.float32), np.array([0, 0, 1])))
    lines = report.mistakes(wrong, corpus).split("\n")
    assert [line.split("\t")[-1] for line in lines[1:-1]] == ["a b c d e f", "y" * report.SHOWN_CHARACTERS + "…", "z"]


def test_a_language_model_makes_no_mistakes_that_could_be_listed(tmp_path: Path) -> None:
    config, corpus = corpus_of(tmp_path, texts("a b c", "b a"))
    evaluation = evaluate(indifferent(config, corpus), corpus, config)
    assert report.mistakes(evaluation, corpus).splitlines() == ["score\tpredicted\texpected\ttext"]
    assert report.by_label(evaluation) == []
