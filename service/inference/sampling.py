"""From logits to the next ids. Owns the sampling options and the random numbers; knows no sequences and no text.

Everything works row by row on a batch (B, V) at once, and a row's result has the same bits alone or among others: reductions
run along a row only, and a row's random number depends on its own seed and position alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), figure 17: SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How the next word is chosen. None switches a step off; they work in the order in which they stand here."""

    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    seed: int = 0

    @property
    def penalises(self) -> bool:
        """Whether the words so far matter."""
        return self.repetition_penalty is not None or self.frequency_penalty is not None


GREEDY = SamplingOptions()


class Row(NamedTuple):
    """What one row brings: its options, how many words it has drawn so far and, where it penalises, all ids that it has seen."""

    options: SamplingOptions
    position: int
    history: Sequence[int]


class Choice(NamedTuple):
    """The chosen id; finite is False where the model gave no numbers to choose by."""

    id: int
    finite: bool


def choose(logits: Floats, rows: Sequence[Row]) -> list[Choice]:
    """The next id of every row of logits (B, V), in which -inf bars an id. Greedy rows take the first of the highest."""
    scores = _penalised(logits, rows)
    ids = scores.argmax(axis=1)
    finite = np.isfinite(np.take_along_axis(scores, ids[:, None], axis=1)[:, 0])
    drawn = [index for index, row in enumerate(rows) if row.options.do_sample and finite[index]]
    if drawn:
        drawing = [rows[index] for index in drawn]
        ids[drawn] = _draw(_warp(scores[drawn].astype(np.float64), drawing), drawing)
    return [Choice(int(word), bool(ok)) for word, ok in zip(ids, finite, strict=True)]


def log_probabilities(logits: Floats) -> Doubles:
    """The model's own log-probabilities (B, V), before any option, in nats."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def uniform(seeds: npt.NDArray[np.uint64], positions: npt.NDArray[np.uint64]) -> Doubles:
    """Numbers in [0, 1): the positions-th of the streams that seeds start, whatever was drawn before."""
    with np.errstate(over="ignore"):
        state = _mix(seeds + _GOLDEN) + (positions + np.uint64(1)) * _GOLDEN
        return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _penalised(logits: Floats, rows: Sequence[Row]) -> Floats:
    """Scores after the penalties (Keskar et al. 2019, CTRL, section 4.1; frequency: minus the penalty a use)."""
    scores = logits
    for index, (options, _, history) in enumerate(rows):
        if not options.penalises:
            continue
        if scores is logits:
            scores = logits.copy()
        used, counts = np.unique(np.asarray(history, np.int64), return_counts=True)
        values = scores[index, used]
        if options.repetition_penalty is not None:
            penalty = np.float32(options.repetition_penalty)
            values = np.where(values > 0, values / penalty, values * penalty)
        if options.frequency_penalty is not None:
            values = values - np.float32(options.frequency_penalty) * counts.astype(np.float32)
        scores[index, used] = values
    return scores


def _warp(scores: Doubles, rows: Sequence[Row]) -> Doubles:
    """Probabilities (B, V), not normalised, after temperature, top_k, top_p and typical_p. Equals of the last kept are kept."""
    temperatures = np.array([row.options.temperature or 1.0 for row in rows])
    scores -= scores.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # at almost no temperature all but the highest fall to -inf, as they should
        weights: Doubles = np.exp(scores / temperatures[:, None])
    limited = [i for i, row in enumerate(rows) if row.options.top_k is not None or row.options.top_p is not None]
    if limited:
        weights[limited] = _keep_highest(weights[limited], [rows[i].options for i in limited])
    for index, row in enumerate(rows):
        if row.options.typical_p is not None:
            weights[index] = _keep_typical(weights[index], row.options.typical_p)
    return weights


def _keep_highest(weights: Doubles, options: Sequence[SamplingOptions]) -> Doubles:
    """top_k, then top_p (Holtzman et al. 2020, section 3.1), as the least weight that stays."""
    size = weights.shape[1]
    descending = -np.sort(-weights, axis=1)
    last = np.array([min(o.top_k or size, size) - 1 for o in options])  # (B,)
    outside = np.arange(size) > last[:, None]
    sums = np.cumsum(np.where(outside, 0.0, descending), axis=1)
    shares = np.array([1.0 if o.top_p is None else o.top_p for o in options])
    # The words before the one that reaches the share stay, and that one too.
    reached = (sums < shares[:, None] * sums[:, -1:]).sum(axis=1)
    least = np.take_along_axis(descending, np.minimum(reached, last)[:, None], axis=1)
    kept: Doubles = np.where(weights >= least, weights, 0.0)
    return kept


def _keep_typical(weights: Doubles, share: float) -> Doubles:
    """The words whose surprise is nearest to the expected one (Meister et al. 2023, section 4), up to share."""
    probabilities = weights / weights.sum()
    surprise = -np.log(probabilities, out=np.full_like(probabilities, np.inf), where=probabilities > 0)
    entropy = float((probabilities * np.where(probabilities > 0, surprise, 0.0)).sum())
    order = np.argsort(np.abs(surprise - entropy), kind="stable")
    count = int((np.cumsum(probabilities[order]) < share).sum()) + 1
    kept = np.zeros_like(weights)
    kept[order[:count]] = weights[order[:count]]
    return kept


def _draw(weights: Doubles, rows: Sequence[Row]) -> npt.NDArray[np.int64]:
    """One id a row by its weights: where the running sum first passes the random share of the whole."""
    sums = np.cumsum(weights, axis=1)
    seeds = np.array([row.options.seed for row in rows], np.uint64)
    positions = np.array([row.position for row in rows], np.uint64)
    # Below the whole even where the product rounds up to it: an id without weight is never drawn.
    marks = np.minimum(uniform(seeds, positions) * sums[:, -1], np.nextafter(sums[:, -1], 0.0))
    ids: npt.NDArray[np.int64] = (sums <= marks[:, None]).sum(axis=1)
    return ids


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
