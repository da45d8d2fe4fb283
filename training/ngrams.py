"""Interpolated modified Kneser-Ney: the n-gram model that a recurrent one has to beat. Knows ids alone, no words and no files.

Every n-gram that occurs has a number. That of a longer one is its place among the sorted keys `number of all but its last word *
vocabulary + last word`, so that counting is sorting whole numbers and looking up is a binary search: no table of tuples.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_WORDS = 20_000_000
WORDS_TOGETHER = 1_000_000
FALLBACK = (0.5, 1.0, 1.5)  # what KenLM discounts where counts of counts give nothing, as in a handful of sentences
MISSING = -1


class Texts(Protocol):
    """Texts as ids, one after another."""

    @property
    def flat(self) -> npt.NDArray[np.int32]: ...

    @property
    def lengths(self) -> npt.NDArray[np.int32]: ...


class Nats(NamedTuple):
    """What texts cost a model: the sum of -log(probability), and of how many predictions."""

    total: float
    predictions: int


@dataclass(frozen=True)
class _Order:
    """All n-grams of one length that occur: their sorted keys, and for each the probability that is its own after discounting.

    left: for every context, an n-gram one shorter, the probability that goes to the shorter n-grams; 1 where nothing follows it.
    """

    keys: Integers
    own: Floats
    left: Floats


class KneserNey:
    """Modified Kneser-Ney over n-grams of up to order words (Chen and Goodman 1999, section 3), interpolated, without pruning.

    Three discounts an order, from its counts of counts. The single words are interpolated with 1/vocabulary, so that every id is
    possible everywhere. A text's first id is read and never predicted, and no context reaches beyond it. An n-gram that begins a
    text counts as often as it occurs, as those with <s> do in KenLM: no longer one can stand in its place.
    """

    def __init__(self, texts: Texts, vocabulary: int, order: int = 5, max_words: int = MAX_WORDS) -> None:
        """Learns from the first max_words ids of texts, all of them below vocabulary."""
        self.vocabulary, self.order = vocabulary, order
        self.words = min(len(texts.flat), max_words)
        self.cut = len(texts.flat) > max_words
        self._orders = self._learn(np.asarray(texts.flat[: self.words], np.int64), _places(texts, 0, self.words))

    def nats(self, texts: Texts) -> Nats:
        """What predicting every id of texts but the first of each costs."""
        total, predictions = 0.0, 0
        for start in range(0, len(texts.flat), WORDS_TOGETHER):
            end = min(start + WORDS_TOGETHER, len(texts.flat))
            before = max(0, start - self.order + 1)  # the context of the first ones
            places = _places(texts, before, end)
            wanted = start - before + np.flatnonzero(places[start - before :])
            # No context begins before what is looked at.
            places = np.minimum(places, np.arange(len(places)))
            found = self._probabilities(np.asarray(texts.flat[before:end], np.int64), places)[wanted]
            total, predictions = total - float(np.log(found).sum()), predictions + len(found)
        return Nats(total, predictions)

    def distribution(self, context: list[int]) -> Floats:
        """The probability (V,) of every id after the last ids of a context, which begins a text."""
        ids = np.array([[*context, word] for word in range(self.vocabulary)], np.int64)
        places = np.tile(np.arange(ids.shape[1]), len(ids))
        return self._probabilities(ids.flatten(), places).reshape(self.vocabulary, -1)[:, -1]

    def _learn(self, ids: Integers, places: Integers) -> list[_Order]:
        """Numbers every n-gram, the shortest first; then counts from the longest down: shorter ones count what extends them."""
        keys, suffixes, begun = [np.arange(self.vocabulary)], [np.zeros(0, np.int64)], [np.zeros(self.vocabulary, np.int64)]
        counts = np.bincount(ids[places > 0], minlength=self.vocabulary)
        numbers = ids
        for length in range(2, self.order + 1):
            ends = np.flatnonzero(places >= length - 1)
            found, which, counts = np.unique(
                numbers[ends - 1] * self.vocabulary + ids[ends], return_inverse=True, return_counts=True
            )
            one_shorter = np.empty(len(found), np.int64)
            one_shorter[which] = numbers[ends]
            keys.append(found)
            suffixes.append(one_shorter)
            begun.append(np.bincount(which[places[ends] == length - 1], minlength=len(found)))
            numbers = np.full(len(ids), MISSING)
            numbers[ends] = which
        orders: list[_Order] = []
        for level in reversed(range(self.order)):
            contexts = len(keys[level - 1]) if level else 1
            orders.append(_discounted(keys[level], counts, contexts, self.vocabulary))
            if level:
                counts = begun[level - 1] + np.bincount(suffixes[level], minlength=len(keys[level - 1]))
        return orders[::-1]

    def _probabilities(self, ids: Integers, places: Integers) -> Floats:
        """Of every id after those before it in its text: from the single word up, each order over the one below."""
        shortest = self._orders[0]
        found: Floats = shortest.own[ids] + shortest.left[0] / self.vocabulary
        numbers = ids
        for length, order in enumerate(self._orders[1:], 2):
            longer = np.full(len(ids), MISSING)
            ends = np.flatnonzero(places >= length - 1)
            ends = ends[numbers[ends - 1] != MISSING]
            contexts = numbers[ends - 1]
            longer[ends] = _find(order.keys, contexts * self.vocabulary + ids[ends])
            found[ends] *= order.left[contexts]
            seen = np.flatnonzero(longer != MISSING)
            found[seen] += order.own[longer[seen]]
            numbers = longer
        return found


def discounts(counts: Integers) -> tuple[float, float, float]:
    """What is taken from a count of one, of two, and of more (Chen and Goodman 1999, equation 26), or else FALLBACK."""
    once, twice, thrice, four = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not (once and twice and thrice and four):
        return FALLBACK
    share = once / (once + 2 * twice)
    found = (1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice)
    return found if min(found) > 0 else FALLBACK


def _discounted(keys: Integers, counts: Integers, contexts: int, vocabulary: int) -> _Order:
    """One order's n-grams with their counts as probabilities, and what is left for the order below."""
    taken = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
    context = keys // vocabulary
    totals = np.bincount(context, counts, contexts)
    left = np.ones(contexts)
    np.divide(np.bincount(context, taken, contexts), totals, out=left, where=totals > 0)
    own = np.zeros(len(keys))
    np.divide(counts - taken, totals[context], out=own, where=totals[context] > 0)
    return _Order(keys, own, left)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The place of each wanted number among sorted keys, MISSING where it is none of them."""
    if not len(keys):
        return np.full(len(wanted), MISSING)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, MISSING)


def _places(texts: Texts, start: int, end: int) -> Integers:
    """How many ids of its own text stand before each of the ids from start to end."""
    lengths = texts.lengths[:end]  # no text is without an id, so these reach as far
    ends = np.cumsum(lengths, dtype=np.int64)
    positions = np.arange(start, end)
    text = np.searchsorted(ends, positions, side="right")
    return positions - (ends - lengths)[text]
