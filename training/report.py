"""What a person sees of a run: the table of layers, the table of data, curves.png and the model card."""

import io
import json
from collections.abc import Iterator

import matplotlib
from rich.markup import escape
from rich.table import Table
from torch import nn

from service.artifact import CURVES, Manifest, Score
from training.data import Corpus
from training.loop import Epoch, Model
from training.model import LanguageModel, Recurrent, count_parameters

matplotlib.use("Agg")  # no screen
from matplotlib import pyplot, ticker

HOW_COUNTED = (
    "RNN and LSTM count one bias a gate (torch holds a second, which stays zero); GRU counts two; "
    "a tied output counts only its bias."
)


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
    yield "embedding", f"(B, T, {model.embedding.embedding_dim})", count_parameters(model.embedding)
    yield from recurrent_rows(model.recurrent)
    if isinstance(model, LanguageModel):
        if model.projection is not None:
            yield "projection", f"(B, T, {model.projection.out_features})", count_parameters(model.projection)
        tied = model.output.weight is model.embedding.weight
        yield "output, tied" if tied else "output", f"(B, T, {model.output.out_features})", _output_parameters(model.output, tied)
    else:
        yield f"{model.pooling} pooling", f"(B, {model.recurrent.width})", 0
        yield f"output, {model.head}", f"(B, {model.output.out_features})", count_parameters(model.output)


def recurrent_rows(recurrent: Recurrent) -> Iterator[tuple[str, str, int]]:
    kind = f"{'bi' if recurrent.directions == 2 else ''}{recurrent.cell}"
    for index, layer in enumerate(recurrent.layers, 1):
        yield f"{kind} {index}", f"(B, T, {recurrent.width})", count_parameters(layer)


def data_table(corpus: Corpus) -> Table:
    """What there is to learn from."""
    special = len(corpus.tokenizer.special_ids)
    table = Table(title="Data", show_header=False)
    table.add_row("rows (train / valid / test)", f"{len(corpus.train):,} / {len(corpus.valid):,} / {len(corpus.test):,}")
    table.add_row("words known", f"{corpus.tokenizer.vocabulary_size - special:,} (and {special} special ids)")
    table.add_row("unknown words in train", f"{unknown_rate(corpus):.1%}")
    table.add_row("longest text", f"{corpus.longest} words")
    if corpus.labels:
        table.add_row("labels", escape(", ".join(corpus.labels)))
    else:
        table.add_row("next words to predict", f"{corpus.predictions:,}")
    return table


def unknown_rate(corpus: Corpus) -> float:
    words = [i for sample in corpus.train for i in sample.ids]
    return words.count(corpus.tokenizer.unknown_id) / len(words)


def score_table(scores: list[Score]) -> Table:
    table = Table(title="Scores")
    for column in ("metric", "split", "this model", "baseline"):
        table.add_column(column, justify="right" if column == "this model" else "left")
    for score in scores:
        baseline = "" if score.baseline is None else f"{score.baseline_value:g} ({score.baseline})"
        table.add_row(score.metric, score.split, f"{score.value:g}", baseline)
    return table


def curves(history: list[Epoch], best: Epoch, title: str) -> bytes:
    """curves.png: the losses over the epochs, the exported one marked."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    numbers = [epoch.number for epoch in history]
    dots = "o" if len(history) < 40 else ""
    axes.plot(numbers, [epoch.train_loss for epoch in history], label="train", marker=dots)
    if best.valid_loss is not None:
        axes.plot(numbers, [epoch.valid_loss or float("nan") for epoch in history], label="valid", marker=dots)
    axes.axvline(best.number, color="grey", linestyle=":", label=f"exported: epoch {best.number}")
    axes.set(title=title, xlabel="epoch", ylabel="loss (nats a prediction)")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100, metadata={"Software": None})
    pyplot.close(figure)
    return image.getvalue()


def model_card(manifest: Manifest) -> str:
    """README.md of the published folder."""
    training, sizes = manifest.training, manifest.sizes
    kind = f"{'bidirectional ' if manifest.directions == 2 else ''}{manifest.cell.upper()}"
    tail = f", {manifest.pooling} pooling, labels {', '.join(manifest.labels)}" if manifest.task == "classify" else ""
    request = json.dumps({"inputs": manifest.golden[0].text, "model": manifest.name}, ensure_ascii=False).replace("'", "'\\''")
    lines = [
        f"# {manifest.name}",
        "",
        manifest.description,
        "",
        f"- Task: {manifest.task} (`POST /{manifest.task}`)",
        f"- Model: {kind}, {manifest.layers} layer(s) of {sizes.hidden}, embedding {sizes.embedding}, "
        f"vocabulary {sizes.vocabulary:,}, {sizes.parameters:,} parameters{tail}",
        f"- Data: {training.data}",
        f"- The preset's own data: {training.source}",
        f"- Trained: preset `{training.preset}`, seed {training.seed}, {training.epochs} epochs in {training.seconds:.0f} s, "
        f"{training.created}",
        f"- Made by: `{training.command}`",
        f"- Data fingerprint: `{training.data_fingerprint}`",
        "",
        "## Scores",
        "",
        "| metric | split | this model | baseline |",
        "| --- | --- | --- | --- |",
        *(_score_line(score) for score in manifest.scores),
        "",
        "A split called `train` means that nothing was held out: the figure says only that the model learnt its text.",
        "",
        "## Try it",
        "",
        "```sh",
        f"curl -s localhost:8000/{manifest.task} -H 'content-type: application/json' -d '{request}'",
        "```",
        "",
        f"![training curves]({CURVES})",
        "",
    ]
    return "\n".join(lines)


def _score_line(score: Score) -> str:
    baseline = "" if score.baseline is None else f"{score.baseline_value:g} ({score.baseline})"
    return f"| {score.metric} | {score.split} | {score.value:g} | {baseline} |"


def _output_parameters(output: nn.Linear, tied: bool) -> int:
    return output.out_features if tied else count_parameters(output)
