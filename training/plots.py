"""Pictures of a run: its losses, what it confuses, and whether its scores are right as often as they say. Writes no file."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from training import measures
from training.calibration import BINS, Logits, Targets, expected_calibration_error, reliability, softmax
from training.evaluate import Answers, Evaluation
from training.progress import Epoch

CONFUSION = "confusion.png"
CALIBRATION = "calibration.png"

# Parts of the names of font files with Hangul, on the systems where people train.
_KOREAN = ("nanum", "notosanscjk", "notosanskr", "malgun", "applesdgothic", "applegothic", "undotum", "gulim", "d2coding")
LABELS_WITH_SHARES = 10
LABELS_WITH_COUNTS = 25
LABELS_NAMED = 60
SHOWN_CHARACTERS = 18
BEFORE, AFTER = "#b0b0b0", "#1f6fb4"


def of_evaluation(evaluation: Evaluation) -> dict[str, bytes]:
    """By file name, what there is to see of a classifier's answers; nothing of a language model."""
    if evaluation.answers is None:
        return {}
    return {CONFUSION: confusion(evaluation, evaluation.answers), CALIBRATION: calibration(evaluation, evaluation.answers)}


def curves(history: list[Epoch], best: Epoch, title: str) -> bytes:
    """curves.png: the losses over the epochs, the exported one marked."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
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
    return _png(figure)


def confusion(evaluation: Evaluation, answers: Answers) -> bytes:
    """confusion.png: how often each label was answered to the rows of each. Labels that no font can write are numbers."""
    count = len(evaluation.labels)
    table = measures.confusion(answers.predicted, answers.targets, count)
    shares = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    side = min(14.0, 3.6 + 0.62 * count)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, format=ticker.PercentFormatter(1.0, 0), label="share of the rows of a label")
    axes.set(title=f"{table.sum():,} rows of {evaluation.split}", xlabel="predicted", ylabel="expected")
    _name_ticks(axes, evaluation.labels)
    if count <= LABELS_WITH_COUNTS:
        for row, column in np.ndindex(count, count):
            share = f"\n{shares[row, column]:.1%}" if count <= LABELS_WITH_SHARES else ""
            colour = "white" if shares[row, column] > 0.55 else "black"
            size = 10 if count <= LABELS_WITH_SHARES else 7
            axes.text(column, row, f"{table[row, column]:,}{share}", ha="center", va="center", color=colour, fontsize=size)
    return _png(figure)


def calibration(evaluation: Evaluation, answers: Answers) -> bytes:
    """calibration.png: of the answers with about one score, how many are right; before and after the temperature."""
    targets, lowest = answers.targets, 1 / len(evaluation.labels)
    series = {"as exported": (evaluation.calibrated, AFTER)}
    if evaluation.temperature != 1.0:
        series = {"before calibration": (answers.logits, BEFORE)} | series
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([lowest, 1], [lowest, 1], color="black", linewidth=0.8, linestyle="--", label="as often right as it says")
    for name, (logits, colour) in series.items():
        _draw_reliability(upper, lower, logits, targets, name, colour)
    before, after = (expected_calibration_error(logits, targets) for logits in (answers.logits, evaluation.calibrated))
    change = f"{before:.3f} before, {after:.3f} after temperature {evaluation.temperature:.2f}"
    upper.set(ylabel="share that is right", xlim=(np.floor(lowest * BINS) / BINS, 1.0))
    upper.set_ylim(max(0.0, upper.dataLim.y0 - 0.05), 1.02)
    upper.set_title(f"calibration error on {evaluation.split}: {change if len(series) > 1 else f'{after:.3f}'}", fontsize=11)
    lower.set(xlabel="score of the answer", ylabel="share of answers")
    lower.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, 0))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    upper.legend(loc="upper left")
    return _png(figure)


def _draw_reliability(upper: Axes, lower: Axes, logits: Logits, targets: Targets, name: str, colour: str) -> None:
    """A dot a bin, larger with more answers in it, and below the histogram of all scores."""
    bins = reliability(logits, targets, BINS)
    scores, right, answers = (np.array(column) for column in zip(*bins, strict=True))
    upper.plot(scores, right, color=colour, label=name, zorder=2)
    upper.scatter(scores, right, s=20 + 180 * answers / answers.sum(), color=colour, zorder=3, clip_on=False)
    best = softmax(logits).max(axis=1)
    lower.hist(best, BINS, range=(0, 1), weights=np.full(len(best), 1 / len(best)), histtype="step", linewidth=1.8, color=colour)


def _name_ticks(axes: Axes, labels: Sequence[str]) -> None:
    """The labels at both axes, or their numbers."""
    if len(labels) > LABELS_NAMED:
        return
    font = font_for("".join(labels))
    names = [str(number) for number in range(1, len(labels) + 1)] if font is None else [_short(label) for label in labels]
    font = font or FontProperties()
    longest = max(map(len, names))
    axes.set_xticks(range(len(labels)), names, rotation=90 if longest * len(labels) > 30 else 0, fontproperties=font)
    axes.set_yticks(range(len(labels)), names, fontproperties=font)


def font_for(text: str) -> FontProperties | None:
    """A font that can write all of text; None where there is none."""
    wanted = {ord(character) for character in text if not character.isspace()}
    for path in (font_manager.findfont(FontProperties()), *_korean_fonts()):
        if wanted <= set(font_manager.get_font(path).get_charmap()):
            return FontProperties(fname=path)
    return None


@cache
def _korean_fonts() -> tuple[str, ...]:
    """Looked for on the disk: matplotlib's own list is as old as its cache."""
    paths = sorted(font_manager.findSystemFonts())
    order = {part: place for place, part in enumerate(_KOREAN)}
    named = [(order[part], path) for path in paths for part in _KOREAN if part in Path(path).name.lower().replace("-", "")]
    return tuple(path for _, path in sorted(named))


def _short(label: str) -> str:
    label = label if len(label) <= SHOWN_CHARACTERS else f"{label[: SHOWN_CHARACTERS - 1]}…"
    return label.replace("$", r"\$")  # which would begin a formula


def _png(figure: Figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100, metadata={"Software": None})
    return image.getvalue()
