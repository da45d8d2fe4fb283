"""What right and wrong answers of a classifier add up to: accuracy, precision, recall, F1. Knows label numbers alone, no model."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]


class LabelScore(NamedTuple):
    """How one label fares: the rows that have it, the share of answers with it that are right, the share of its rows found, F1."""

    label: str
    rows: int
    precision: float
    recall: float
    f1: float


def confusion(predicted: Labels, targets: Labels, labels: int) -> Counts:
    """(C, C): rows of each label, and what was answered to them."""
    pairs = np.asarray(targets, np.int64) * labels + predicted
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)


def label_scores(table: Counts, labels: list[str]) -> list[LabelScore]:
    """One a label, of a confusion matrix (C, C). What is out of none is 0."""
    right, answered, rows = table.diagonal(), table.sum(axis=0), table.sum(axis=1)
    return [
        LabelScore(
            label,
            int(rows[i]),
            _share(right[i], answered[i]),
            _share(right[i], rows[i]),
            _share(2 * right[i], answered[i] + rows[i]),
        )
        for i, label in enumerate(labels)
    ]


def summary(table: Counts, labels: list[str], rarer: int) -> dict[str, float]:
    """The figures of a confusion matrix (C, C) by name; for two labels also those of the rarer one, which one looks for.

    macro F1: the mean over the labels that occur, in the rows or the answers. false alarms: the share of the other label's rows
    that are taken for the rarer one.
    """
    scores = label_scores(table, labels)
    occurring = [score.f1 for i, score in enumerate(scores) if score.rows or table[:, i].any()]
    found = {"accuracy": _share(table.diagonal().sum(), table.sum()), "macro F1": sum(occurring) / max(1, len(occurring))}
    if len(labels) == 2:
        other = 1 - rarer
        found[f"F1 of {labels[rarer]}"] = scores[rarer].f1
        found["false alarms"] = _share(table[other, rarer], table[other].sum())
    return found


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else 0.0
