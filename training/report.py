"""What a person reads of a run: its data, the model's layers, its scores, its worst mistakes. Draws no pictures."""

from collections.abc import Iterable, Iterator

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from torch import nn

from service.artifact import Score, Unit
from training import measures, survey
from training.calibration import softmax
from training.corpus import Corpus
from training.evaluate import Evaluation
from training.model import LanguageModel, Model, count_parameters
from training.recurrent import Recurrent

HOW_COUNTED = (
    "RNN and LSTM count one bias a gate (torch holds a second, which stays zero); GRU counts two; "
    "a tied output counts only its bias."
)
SHOWN_CHARACTERS = 500  # of a text among the mistakes
SHOWN_LABELS = 20  # of more, the card alone has the figures


def data_table(corpus: Corpus, unit: Unit = "word") -> Group:
    """Every split's figures side by side, what the model reads of a text, and what is suspicious, in words."""
    head, *rows = survey.figures(corpus, unit)
    table = Table(title="Data")
    table.add_column(head[0])
    for split in head[1:]:
        table.add_column(split, justify="right")
    for name, *figures in rows:
        table.add_row(escape(name), *figures)
    warnings = [Text(f"! {doubt}", style="yellow") for doubt in survey.doubts(corpus, unit)]
    return Group(table, *(Text(line) for line in survey.reading(corpus, unit)), *warnings)


def summary_table(model: Model) -> Table:
    """Layers, shapes and parameters. B is the batch, T the words of a text."""
    table = Table(title="Model", caption=HOW_COUNTED, caption_justify="left")
    table.add_column("layer")
    table.add_column("output shape")
    table.add_column("parameters", justify="right")
    for name, shape, parameters in summary_rows(model):
        table.add_row(name, shape, f"{parameters:,}")
    table.add_section()
    table.add_row("total", "", f"{count_parameters(model):,}")
    return table


def summary_rows(model: Model) -> Iterator[tuple[str, str, int]]:
    """One row a layer: its name, its output's shape, its trained parameters. They add up to count_parameters(model)."""
    if isinstance(model, LanguageModel):
        yield "embedding", f"(B, T, {model.embedding.embedding_dim})", count_parameters(model.embedding)
        yield from recurrent_rows(model.recurrent)
        if model.projection is not None:
            yield "projection", f"(B, T, {model.projection.out_features})", count_parameters(model.projection)
        tied = model.output.weight is model.embedding.weight
        yield "output, tied" if tied else "output", f"(B, T, {model.output.out_features})", _output_parameters(model.output, tied)
        return
    yield "embedding", f"(B, T, {model.embedding.words.embedding_dim})", count_parameters(model.embedding.words)
    if model.embedding.grams is not None:
        yield "embedding of n-grams", f"(B, T, {model.embedding.grams.embedding_dim})", count_parameters(model.embedding.grams)
    yield from recurrent_rows(model.recurrent)
    pooling = 0 if model.attention is None else count_parameters(model.attention)
    yield f"{model.pooling} pooling", f"(B, {model.output.in_features})", pooling
    yield f"output, {model.head}", f"(B, {model.output.out_features})", count_parameters(model.output)


def recurrent_rows(recurrent: Recurrent) -> Iterator[tuple[str, str, int]]:
    kind = f"{'bi' if recurrent.directions == 2 else ''}{recurrent.cell}"
    for index, layer in enumerate(recurrent.layers, 1):
        yield f"{kind} {index}", f"(B, T, {recurrent.width})", count_parameters(layer)


def score_table(scores: list[Score]) -> Table:
    """Every score, and in a column each what the baselines reach."""
    table = Table(title="Scores")
    table.add_column("metric")
    table.add_column("split")
    table.add_column("this model", justify="right", style="bold")
    baselines = baseline_names(scores)
    for name in baselines:
        table.add_column(escape(name), justify="right")
    for score in scores:
        beside = [f"{score.baselines[name]:g}" if name in score.baselines else "" for name in baselines]
        table.add_row(escape(score.metric), score.split, f"{score.value:g}", *beside)
    return table


def baseline_names(scores: Iterable[Score]) -> list[str]:
    """Every baseline that stands beside any score, each once."""
    return list(dict.fromkeys(name for score in scores for name in score.baselines))


def figures(scores: Iterable[Score]) -> dict[str, float]:
    """Every score and what the baselines reach, by name."""
    found: dict[str, float] = {}
    for score in scores:
        found[score.metric] = score.value
        found |= {f"{score.metric} of {name}": value for name, value in score.baselines.items()}
    return found


def label_table(evaluation: Evaluation) -> Table:
    """How a classifier fares label by label."""
    table = Table(title=f"Labels ({evaluation.split})")
    table.add_column("label")
    for column in ("rows", "precision", "recall", "F1"):
        table.add_column(column, justify="right")
    for score in by_label(evaluation):
        figures = (f"{value:.3f}" for value in (score.precision, score.recall, score.f1))
        table.add_row(escape(score.label), f"{score.rows:,}", *figures)
    return table


def by_label(evaluation: Evaluation) -> list[measures.LabelScore]:
    """One a label, in the order of the labels; none for a language model."""
    if evaluation.answers is None:
        return []
    table = measures.confusion(evaluation.answers.predicted, evaluation.answers.targets, len(evaluation.labels))
    return measures.label_scores(table, evaluation.labels)


def mistakes(evaluation: Evaluation, corpus: Corpus, most: int = 50) -> str:
    """A tab-separated table of the wrong answers that the model was surest of, the surest first.

    It holds texts of the user: it is for the run's folder and never published. A language model's has no rows.
    """
    lines = ["score\tpredicted\texpected\ttext"]
    if evaluation.answers is not None:
        expected, predicted = evaluation.answers.targets, evaluation.answers.predicted
        scores = softmax(evaluation.calibrated).max(axis=1)
        wrong = np.flatnonzero(predicted != expected)
        worst = wrong[np.argsort(-scores[wrong], kind="stable")[:most]].tolist()
        wanted = set(worst)
        texts = {i: row.text for i, row in enumerate(corpus.rows(evaluation.split)) if i in wanted}
        names = [_one_cell(label) for label in evaluation.labels]
        lines += [f"{scores[i]:.3f}\t{names[predicted[i]]}\t{names[expected[i]]}\t{_one_cell(texts[i])}" for i in worst]
    return "".join(f"{line}\n" for line in lines)


def _one_cell(text: str) -> str:
    """Without the tabs and line ends that would break the table."""
    text = " ".join(text[: SHOWN_CHARACTERS + 1].splitlines()).replace("\t", " ")
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _output_parameters(output: nn.Linear, tied: bool) -> int:
    return output.out_features if tied else count_parameters(output)
