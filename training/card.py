"""README.md of a published folder: what a person wants to know of a model before using it. Knows no files."""

import json
from collections.abc import Iterator

from service.artifact import CURVES, Manifest, Score
from training.evaluate import Evaluation
from training.plots import CALIBRATION, CONFUSION
from training.report import baseline_names, by_label
from training.survey import UNITS


def model_card(
    manifest: Manifest, evaluation: Evaluation, gate: str | None = None, pretraining: str | None = None, fault: str | None = None
) -> str:
    """gate: how it did beside the version that served before; pretraining: what it learnt before its task; fault: what ended
    its training early; a sentence each.
    """
    blocks = [
        f"# {manifest.name}",
        manifest.description,
        "\n".join(f"- {line}" for line in _facts(manifest, pretraining, fault)),
        "## Scores",
        *_scores(manifest.scores),
        *([f"{gate[0].upper()}{gate[1:]}."] if gate else []),
        *(_answers(evaluation) if evaluation.answers is not None else []),
        "## Try it",
        f"```sh\n{_request(manifest)}\n```",
        f"![training curves]({CURVES})",
    ]
    return "\n\n".join(blocks) + "\n"


def _facts(manifest: Manifest, pretraining: str | None, fault: str | None) -> Iterator[str]:
    training, sizes = manifest.training, manifest.sizes
    unit = UNITS[manifest.unit]
    kind = f"{'bidirectional ' if manifest.directions == 2 else ''}{manifest.cell.upper()}"
    tail = f", {manifest.pooling} pooling, labels {', '.join(manifest.labels)}" if manifest.task == "classify" else ""
    yield f"Task: {manifest.task} (`POST /{manifest.task}`)"
    yield (
        f"Model: {kind}, {manifest.layers} layer(s) of {sizes.hidden}, embedding {sizes.embedding}, "
        f"vocabulary {sizes.vocabulary:,} {unit}, {sizes.parameters:,} parameters{tail}"
    )
    if manifest.ngrams is not None:
        yield (
            f"Unknown words: read by their runs of 1 to {manifest.ngrams.longest} characters, "
            f"which share {manifest.ngrams.buckets:,} rows of a table"
        )
    if manifest.tables == "int8":
        yield "Embeddings: stored as 8-bit numbers with a scale a row; the scores are those of what is stored"
    if pretraining:
        yield f"Pre-trained: {pretraining}"
    yield f"Data: {training.data}"
    yield f"The preset's own data: {training.source}"
    yield (
        f"Trained: preset `{training.preset}`, seed {training.seed}, {training.epochs} epochs in {training.seconds:.0f} s, "
        f"{training.created}"
    )
    if fault:
        yield f"Stopped early: {fault}"
    yield f"Made by: `{training.command}`"
    yield f"Data fingerprint: `{training.data_fingerprint}`"


def _scores(scores: list[Score]) -> Iterator[str]:
    """Each score with what the baselines reach, a column each."""
    names = baseline_names(scores)
    rows = (
        [score.metric, score.split, f"{score.value:g}", *(f"{score.baselines[n]:g}" if n in score.baselines else "" for n in names)]
        for score in scores
    )
    yield _table(["metric", "split", "this model", *names], rows)
    if any(score.split == "train" for score in scores):
        yield "Nothing was held out: figures on `train` say only that the model learnt its text."


def _answers(evaluation: Evaluation) -> Iterator[str]:
    rows = (
        [str(number), score.label, f"{score.rows:,}", f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}"]
        for number, score in enumerate(by_label(evaluation), 1)
    )
    yield _table(["", "label", "rows", "precision", "recall", "F1"], rows)
    yield f"![confusion matrix]({CONFUSION})"
    if evaluation.temperature != 1.0:
        yield (
            f"Scores are calibrated: logits were divided by a temperature of {evaluation.temperature:.3f}, chosen on valid, "
            "so that of answers with a score of 0.8 about 80% are right."
        )
    yield f"![calibration]({CALIBRATION})"


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    """A label may hold anything; a bar would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _request(manifest: Manifest) -> str:
    """What can be typed into a shell, whatever the text."""
    body = json.dumps({"inputs": manifest.golden[0].text, "model": manifest.name}, ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s localhost:8000/{manifest.task} -H 'content-type: application/json' -d '{body}'"
