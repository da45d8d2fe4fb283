"""Samples as padded batches, or as windows over lanes of one long text. Knows no file and no model.

An order is chance within bounds: what is held in memory is a permutation of blocks and one pool, however many samples there are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.samples import Ints, Longs, Samples

IGNORED = -100  # torch's own mark for a target that counts for nothing

_BLOCKS = 2**20  # up to so many samples the order is any of all; of more, neighbours in the file may stay neighbours
_BATCHES_TOGETHER = 64  # whose samples are sorted by length: little padding, and hardly less chance
_SORTED = 2**20  # samples sorted by length where no chance is wanted


class Batch(NamedTuple):
    """ids (B, T) padded on the right to lengths (B); targets (B) for classification, (B, T) for generation.

    grams (U, slots): the runs of characters of the words that the vocabulary (V ids) lacks, whose ids are V + their row; None where
    these are not told apart.
    """

    ids: Tensor
    lengths: Tensor
    targets: Tensor
    grams: Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        grams = None if self.grams is None else self.grams.to(device)
        return Batch(self.ids.to(device), self.lengths.to(device), self.targets.to(device), grams)

    def share(self, rank: int, world: int) -> "Batch":
        """What one of several processes takes of a batch: every world-th row from rank on.

        Where there is none left for it, a row whose targets count for nothing, so that every process takes part in every step.
        """
        if rank < len(self.ids):
            ids, lengths, targets = (part[rank::world] for part in (self.ids, self.lengths, self.targets))
            return Batch(ids, lengths, targets, self.grams)
        return Batch(self.ids[:1], self.lengths[:1], torch.full_like(self.targets[:1], IGNORED), self.grams)


def batch_count(samples: Samples, size: int) -> int:
    return -(-len(samples) // size)


def batches(
    samples: Samples, size: int, *, padding_id: int, vocabulary: int, generates: bool, seed: int | None = None, start: int = 0
) -> Iterator[Batch]:
    """Padded batches of samples, alike in length. A seed makes the order random; without, the longest come last.

    vocabulary: V, ids from which on are unknown words. start: as many batches are passed over, without reading them.
    """
    for rows in _groups(samples, size, seed, start):
        yield _to_batch(samples, rows, padding_id, vocabulary, generates)


def lane_count(samples: Samples, rows: int, window: int) -> int:
    """Windows in one pass of lanes(): batches an epoch, the same with every seed."""
    return max(0, -(-(samples.words // rows - 1) // window))


def lanes(samples: Samples, rows: int, window: int, *, seed: int | None = None, start: int = 0) -> Iterator[Batch]:
    """All ids as one text, cut into `rows` lanes of equal length that are read side by side, a window of words at a time.

    Row b of every batch goes on where row b of the one before stopped; targets are the words that follow. The last window may be
    shorter; words that are too few for one more in every lane are left out. A seed turns the text, as if its end led back to its
    beginning, so that lanes and windows begin elsewhere each time; without, every word but a lane's first is a target once.
    """
    lane = samples.words // rows  # words
    turned = 0 if seed is None else int(np.random.default_rng(seed).integers(samples.words))
    for at in range(start * window, lane - 1, window):
        width = min(window, lane - 1 - at)
        words = np.stack([_turned(samples, turned + row * lane + at, width + 1) for row in range(rows)])
        ids = torch.from_numpy(words.astype(np.int64))  # (rows, width + 1)
        yield Batch(ids[:, :-1].contiguous(), torch.full((rows,), width), ids[:, 1:].contiguous())


def _turned(samples: Samples, start: int, count: int) -> Ints:
    """A stretch of the text whose end leads back to its beginning; count is at most its words."""
    start %= samples.words
    read = samples.read(start, min(start + count, samples.words))
    return read if len(read) == count else np.concatenate([read, samples.read(0, count - len(read))])


def _groups(samples: Samples, size: int, seed: int | None, start: int) -> Iterator[Longs]:
    """The rows of each batch, from batch `start` on."""
    pool = size * (_BATCHES_TOGETHER if seed is not None else max(1, _SORTED // size))
    order = _Order(len(samples), seed)
    for number in range(start * size // pool, -(-len(samples) // pool)):
        rows = order.rows(number * pool, min((number + 1) * pool, len(samples)))
        chance = None if seed is None else np.random.default_rng([seed, number])
        if chance is not None:
            chance.shuffle(rows)
        rows = _by_length(samples, rows)
        groups = np.arange(-(-len(rows) // size))
        if chance is not None:
            chance.shuffle(groups)
        passed = max(0, start - number * (pool // size))
        yield from (rows[group * size : (group + 1) * size] for group in groups[passed:].tolist())


def _by_length(samples: Samples, rows: Longs) -> Longs:
    """Rows of equal length stay in the order they had. Read in the order of the file, which is the fastest."""
    places = np.argsort(rows)
    lengths = np.empty(len(rows), np.int32)
    lengths[places] = samples.spans(rows[places])[1]
    return rows[np.argsort(lengths, kind="stable")]


class _Order:
    """All rows in an order that is not held: blocks of neighbours change places, as a whole."""

    def __init__(self, count: int, seed: int | None) -> None:
        self._count = count
        self._block = max(1, -(-count // _BLOCKS)) if seed is not None else max(1, count)
        first = np.arange(0, count, self._block)
        self._first = first if seed is None else np.random.default_rng(seed).permutation(first)
        self._after = np.cumsum(np.minimum(self._first + self._block, count) - self._first)  # rows up to the end of each block

    def rows(self, start: int, stop: int) -> Longs:
        """The rows at some places of the order."""
        begin, end = np.searchsorted(self._after, [start, stop - 1], side="right").tolist()
        found: list[Longs] = []
        for first, after in zip(self._first[begin : end + 1].tolist(), self._after[begin : end + 1].tolist(), strict=True):
            last = min(first + self._block, self._count)
            found.append(np.arange(max(first, last - (after - start)), last - max(0, after - stop)))
        return np.concatenate(found)


def _to_batch(samples: Samples, rows: Longs, padding_id: int, vocabulary: int, generates: bool) -> Batch:
    starts, lengths = samples.spans(rows)
    flat = samples.gather(starts, lengths).astype(np.int64)
    grams = _number_afresh(samples, flat, vocabulary) if samples.tells_unknown_apart else None
    if not generates:
        return _batch(_pad(flat, lengths, padding_id), lengths, samples.targets_of(rows), grams)
    # Every word but a text's last is read, and every one but its first is a target.
    ends = np.cumsum(lengths)
    ids, targets = np.delete(flat, ends - 1), np.delete(flat, ends - lengths)
    return _batch(_pad(ids, lengths - 1, padding_id), lengths - 1, _pad(targets, lengths - 1, IGNORED), grams)


def _batch(ids: Longs, lengths: Ints, targets: Ints | Longs, grams: Tensor | None) -> Batch:
    # Copies: what was read from a file may not be written to, which torch would warn of.
    numbers = [torch.from_numpy(part.astype(np.int64)) for part in (ids, lengths, targets)]
    return Batch(numbers[0], numbers[1], numbers[2], grams)


def _number_afresh(samples: Samples, flat: Longs, vocabulary: int) -> Tensor:
    """Gives the unknown words among ids new ids, from vocabulary on, in place; their runs of characters (U, slots)."""
    places = np.flatnonzero(flat >= vocabulary)
    words, numbers = np.unique(flat[places] - vocabulary, return_inverse=True)
    flat[places] = vocabulary + numbers
    return torch.from_numpy(samples.grams(words).astype(np.int64))


def _pad(flat: Longs, lengths: Ints, padding: int) -> Longs:
    """Texts one after another as (B, T), filled up on the right."""
    padded = np.full((len(lengths), int(lengths.max())), padding, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = flat
    return padded
