"""From logits to the next ids. Owns the sampling options and the random numbers; knows no sequences and no text.

Everything works on rows (K, V) together, and a row's result has the same bits alone or among others: reductions run along a row
only (by sum(), whose order of adding is the same for any number of rows; einsum's is not), and a row's random numbers depend on its
own seed and position alone.

Nothing is sorted on the usual way. A word is drawn from the whole row, and drawn again where it turns out to lie outside top_p or
typical_p, which one pass over the row tells: the result is distributed as a draw from within, at a fraction of the cost of sorting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

# Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), figure 17: SplitMix64.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_64_BITS = 2**64 - 1

_BLOCK = 128  # words whose weights are summed first, so that a draw walks two short rows and not one long
_TOGETHER = 8  # rows drawn at once: few enough to stay in the processor's cache from one pass over them to the next
_TRIES = 8  # draws before what lies within is worked out after all: at top_p 0.9 one word in 10^8


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
    """What one row brings: its options, how many words it has drawn so far and, where it penalises, how often each id stands."""

    options: SamplingOptions
    position: int
    history: Mapping[int, int]


class Choices(NamedTuple):
    """The chosen ids (K); finite (K) is False where the model gave no numbers to choose by."""

    ids: list[int]
    finite: list[bool]


def choose(logits: Floats, rows: Sequence[Row]) -> Choices:
    """The next id of every row of logits (K, V), in which -inf bars an id. Greedy rows take the first of the highest."""
    scores = _penalised(logits, rows)
    ids = scores.argmax(axis=1)
    finite = np.isfinite(scores[np.arange(len(rows)), ids])
    drawn = [index for index, row in enumerate(rows) if row.options.do_sample and finite[index]]
    if drawn:
        among = slice(None) if len(drawn) == len(rows) else drawn  # copied only where some do not draw
        ids[among] = _draw(scores[among], [rows[index] for index in drawn])
    return Choices(ids.tolist(), finite.tolist())


def normalisers(logits: Floats) -> Doubles:
    """What to take off a row of logits (K, V) to have its log-probabilities in nats: log of the sum of exp, (K)."""
    parts = [_normalisers(logits[first : first + _TOGETHER]) for first in range(0, len(logits), _TOGETHER)]
    return np.concatenate(parts)


def _normalisers(logits: Floats) -> Doubles:
    highest = logits.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a row without numbers has no answer, and fails by choose()
        shifted = logits - highest
        np.exp(shifted, out=shifted)
    logs: Doubles = highest[:, 0].astype(np.float64) + np.log(shifted.sum(axis=1).astype(np.float64))
    return logs


def highest(row: Floats, count: int) -> list[int]:
    """The ids of the count highest of a row (V), the highest first and of equals the lower id; barred ones are left out."""
    count = min(count, len(row))
    least = np.partition(row, len(row) - count)[len(row) - count]
    near = np.flatnonzero(row >= least) if np.isfinite(least) else np.flatnonzero(np.isfinite(row))
    ids: list[int] = near[np.argsort(-row[near], kind="stable")][:count].tolist()
    return ids


def uniform(seed: int, position: int, attempt: int = 0) -> float:
    """A number in [0, 1): the position-th of the stream that seed starts, whatever was drawn before; attempt: drawn anew."""
    bits = _mix(_mix((seed + _GOLDEN) & _64_BITS) + (position + 1) * _GOLDEN)
    if attempt:
        bits = _mix(bits + attempt * _GOLDEN)
    return (bits >> 11) * 2.0**-53


def _penalised(logits: Floats, rows: Sequence[Row]) -> Floats:
    """Scores after the penalties (Keskar et al. 2019, CTRL, section 4.1; frequency: minus the penalty a use)."""
    scores = logits
    for index, (options, _, history) in enumerate(rows):
        if not options.penalises or not history:
            continue
        if scores is logits:
            scores = logits.copy()
        used = np.fromiter(history.keys(), np.int64, len(history))
        values = scores[index, used]
        if options.repetition_penalty is not None:
            penalty = np.float32(options.repetition_penalty)
            values = np.where(values > 0, values / penalty, values * penalty)
        if options.frequency_penalty is not None:
            counts = np.fromiter(history.values(), np.float32, len(history))
            values = values - np.float32(options.frequency_penalty) * counts
        scores[index, used] = values
    return scores


def _draw(scores: Floats, rows: Sequence[Row]) -> Ids:
    """An id for every row by its scores (K, V)."""
    ids = np.zeros(len(rows), np.int64)
    left: list[tuple[int, Floats]] = []  # rows whose word lay outside, and what their words weigh
    for first in range(0, len(rows), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        weights = _weights(scores[some], rows[some])
        ids[some], within = _try(weights, rows[some], 0)
        left += [(first + index, weights[index]) for index in np.flatnonzero(~within).tolist()]
    for attempt in range(1, _TRIES + 1):
        if not left:
            break
        places = [place for place, _ in left]
        weights = np.stack([row for _, row in left])
        ids[places], within = _try(weights, [rows[place] for place in places], attempt)
        left = [(places[index], weights[index]) for index in np.flatnonzero(~within).tolist()]
    return ids


def _try(weights: Floats, rows: Sequence[Row], attempt: int) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """A word for every row by its weights (K, V), and whether it lies within the row's share; at the last attempt it does."""
    numbers = [uniform(options.seed, position, attempt) for options, position, _ in rows]
    shares = np.array([options.typical_p or options.top_p or 1.0 for options, _, _ in rows])
    if (shares >= 1.0).all():
        return _at(weights, numbers), np.ones(len(rows), np.bool_)
    order = _order(weights, rows)
    if attempt == _TRIES:
        for index, share in enumerate(shares):
            _keep_first(weights[index], order[index], share)
    ids = _at(weights, numbers)
    return ids, _within(weights, order, ids, shares) | (shares >= 1.0) | (attempt == _TRIES)


def _weights(scores: Floats, rows: Sequence[Row]) -> Floats:
    """What the words weigh, (K, V) filled up to whole blocks with words of no weight, after temperature and top_k.

    top_p is left to the draw, but where typical_p asks what lies within it.
    """
    count, size = scores.shape
    weights = np.empty((count, -(-size // _BLOCK) * _BLOCK), np.float32)
    weights[:, size:] = 0.0
    words = weights[:, :size]
    np.subtract(scores, scores.max(axis=1, keepdims=True), out=words)
    if any(row.options.temperature is not None for row in rows):
        temperatures = np.array([max(row.options.temperature or 1.0, 1e-30) for row in rows], np.float32)
        with np.errstate(over="ignore"):  # at almost no temperature all but the highest fall to -inf, as they should
            np.divide(words, temperatures[:, None], out=words)
    np.exp(words, out=words)
    for row, (options, _, _) in zip(words, rows, strict=True):
        if options.top_k is not None and options.top_k < size:
            row[row < np.partition(row, size - options.top_k)[size - options.top_k]] = 0.0
        if options.typical_p is not None and options.top_p is not None:
            _keep_first(row, -row, options.top_p)
    return weights


def _order(weights: Floats, rows: Sequence[Row]) -> Floats:
    """Numbers by which the words (K, V) of a share stand in line, the least first: the likeliest, or the most typical."""
    order = -weights
    for index, (options, _, _) in enumerate(rows):
        if options.typical_p is not None:
            order[index] = _surprise(weights[index])
    return order


def _surprise(weights: Floats) -> Floats:
    """How far each word's surprise is from the expected one (Meister et al. 2023, section 4): |log p + entropy|."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(weights), np.float32(-1e4))  # what weighs nothing must not make 0 times infinity
    surprise: Floats = np.abs(logs - (weights * logs).sum() / weights.sum())
    return surprise


def _at(weights: Floats, numbers: Sequence[float]) -> Ids:
    """Where the running sum of each row's weights first passes its number's share of the whole; blocks first."""
    every = np.arange(len(weights))
    blocks = weights.reshape(len(weights), -1, _BLOCK)
    sums = np.cumsum(blocks.sum(axis=2), axis=1, dtype=np.float64)
    # Below the whole even where the product rounds up to it: what weighs nothing is never drawn.
    marks = np.minimum(np.array(numbers) * sums[:, -1], np.nextafter(sums[:, -1], 0.0))
    block = (sums <= marks[:, None]).sum(axis=1)
    inner = np.cumsum(blocks[every, block], axis=1, dtype=np.float64)
    rest = marks - np.where(block > 0, sums[every, block - 1], 0.0)
    rest = np.minimum(rest, np.nextafter(inner[:, -1], 0.0))
    ids: Ids = block * _BLOCK + (inner <= rest[:, None]).sum(axis=1)
    return ids


def _within(weights: Floats, order: Floats, ids: Ids, shares: Doubles) -> npt.NDArray[np.bool_]:
    """Whether each row's id lies within the share: where all that come before it in order weigh less than that together.

    The nucleus (Holtzman et al. 2020, section 3.1) is the share of the likeliest, the typical set that of the least surprising.
    Equals of the last word are in.
    """
    own = order[np.arange(len(ids)), ids]
    before = (order < own[:, None]).astype(np.float32)
    before *= weights
    within: npt.NDArray[np.bool_] = before.sum(axis=1) < shares * weights.sum(axis=1)
    return within


def _keep_first(weights: Floats, order: Floats, share: float) -> None:
    """Sets to 0 what does not lie within the share of one row (V), as _within() tells it for one word."""
    first = np.argsort(order, kind="stable")
    sums = np.cumsum(weights[first], dtype=np.float64)
    last = int((sums < share * sums[-1]).sum())
    weights[order > order[first[min(last, len(first) - 1)]]] = 0.0


def _mix(value: int) -> int:
    value &= _64_BITS
    value = ((value ^ (value >> 30)) * _MIX_1) & _64_BITS
    value = ((value ^ (value >> 27)) * _MIX_2) & _64_BITS
    return value ^ (value >> 31)
