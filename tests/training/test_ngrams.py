"""training.ngrams: probabilities that are probabilities, and those that a textbook's formula written out plainly gives."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.toys import COUNTING
from tests.training.toys import VOCABULARY as TOY_VOCABULARY
from training import ngrams
from training.ngrams import FALLBACK, KneserNey, discounts
from training.samples import Samples

VOCABULARY = 5
Ids = tuple[int, ...]
texts = st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9), min_size=1, max_size=12)
contexts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=6)
orders = st.integers(1, 5)


def samples(rows: Sequence[Sequence[int]]) -> Samples:
    return Samples.of((row, 0) for row in rows)


class Plain:
    """Interpolated modified Kneser-Ney as it is written down: dictionaries of tuples, one word at a time."""

    def __init__(self, rows: Sequence[Sequence[int]], order: int) -> None:
        self.order = order
        self.counts: dict[int, Counter[Ids]] = {order: Counter()}
        for length in range(1, order + 1):
            occur = [
                (tuple(row[end - length : end]), end - length, tuple(row)) for row in rows for end in range(length, len(row) + 1)
            ]
            occur = [(gram, start, row) for gram, start, row in occur if start + length > 1]  # the first id is not predicted
            if length == order:
                self.counts[length] = Counter(gram for gram, _, _ in occur)
            else:
                before = {(row[start - 1], *gram) for gram, start, row in occur if start}
                self.counts[length] = Counter(extended[1:] for extended in before) + Counter(
                    g for g, start, _ in occur if not start
                )
        self.followers: dict[Ids, list[Ids]] = defaultdict(list)
        for length in self.counts:
            for gram in self.counts[length]:
                self.followers[gram[:-1]].append(gram)
        self.taken = {length: (0.0, *discounts(np.array(list(found.values())))) for length, found in self.counts.items()}

    def probability(self, context: Ids, word: int) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        shorter = self.probability(context[1:], word) if context else 1 / VOCABULARY
        counts, taken = self.counts[len(context) + 1], self.taken[len(context) + 1]
        total = sum(counts[gram] for gram in self.followers[context])
        if not total:
            return shorter
        left = sum(taken[min(3, counts[gram])] for gram in self.followers[context]) / total
        count = counts[(*context, word)]
        return (count - taken[min(3, count)]) / total + left * shorter


@settings(deadline=None)
@given(texts, texts, orders)
def test_what_texts_cost_is_what_the_plain_formula_says(train: list[list[int]], test: list[list[int]], order: int) -> None:
    plain = Plain(train, order)
    surprises = [-math.log(plain.probability(tuple(row[:end]), row[end])) for row in test for end in range(1, len(row))]
    found = KneserNey(samples(train), VOCABULARY, order).nats(samples(test))
    assert found.predictions == len(surprises)
    assert found.total == pytest.approx(math.fsum(surprises))


@settings(deadline=None)
@given(texts, contexts, orders)
def test_probabilities_sum_to_1_after_any_context_seen_or_not_and_none_is_nothing(
    train: list[list[int]], context: list[int], order: int
) -> None:
    found = KneserNey(samples(train), VOCABULARY, order).distribution(context)
    assert math.fsum(found) == pytest.approx(1, abs=1e-9)
    assert found.min() > 0


def test_a_bigram_s_probability_is_that_of_the_textbook() -> None:
    """Worked by hand: 12 12 13 23 over 5 ids, discounts 1/2, 1, 3/2 as so little gives no counts of counts.

    12 begins two texts, 13 one, 23 none; after 1 stand 2 twice and 3 once. Before 2 stands one other word, before 3 stand two.
    """
    model = KneserNey(samples([[1, 2], [1, 2, 3], [1, 3]]), vocabulary=5, order=2)

    def single(kinds: int) -> float:
        return (kinds - FALLBACK[kinds - 1] if kinds else 0) / 3 + (FALLBACK[0] + FALLBACK[1]) / 3 / 5

    after_1 = model.distribution([1])
    left = (FALLBACK[1] + FALLBACK[0]) / 3
    assert after_1[2] == pytest.approx((2 - FALLBACK[1]) / 3 + left * single(1))
    assert after_1[3] == pytest.approx((1 - FALLBACK[0]) / 3 + left * single(2))
    assert after_1[4] == pytest.approx(left * single(0))
    assert model.distribution([4])[3] == pytest.approx(single(2))


def test_discounts_are_those_of_the_counts_of_counts() -> None:
    """Chen and Goodman 1999, equation 26, with 40 singletons, 10 pairs, 5 triples and 2 fours."""
    share = 40 / (40 + 2 * 10)
    counts = np.repeat([1, 2, 3, 4, 9], [40, 10, 5, 2, 3])
    assert discounts(counts) == pytest.approx((1 - 2 * share * 10 / 40, 2 - 3 * share * 5 / 10, 3 - 4 * share * 2 / 5))


@pytest.mark.parametrize("counts", [[], [1, 1, 2], [1, 2, 3, 5], [1, 2, 3, 3, 3, 3, 4]], ids=["none", "few", "no four", "steep"])
def test_counts_that_give_no_discounts_are_discounted_all_the_same(counts: list[int]) -> None:
    assert discounts(np.array(counts, np.int64)) == FALLBACK


def test_a_word_that_follows_many_others_is_a_likelier_surprise_than_one_that_is_merely_frequent() -> None:
    """San Francisco: what only ever follows one word says nothing after another."""
    model = KneserNey(samples([[1, 2]] * 20 + [[first, 3] for first in (4, 5, 6, 7)]), vocabulary=9, order=2)
    after_unseen = model.distribution([8])
    assert after_unseen[3] > after_unseen[2]


def test_no_context_reaches_into_the_text_before() -> None:
    """4 follows 1 2 within texts; across a border 3 does, which must not count."""
    model = KneserNey(samples([[1, 2], [3, 1, 2, 4], [3, 1, 2, 4]]), vocabulary=5, order=3)
    assert model.distribution([1, 2]).argmax() == 4
    across = KneserNey(samples([[1, 2, 3, 1, 2, 4, 3, 1, 2, 4]]), vocabulary=5, order=3)
    assert across.distribution([1, 2])[3] > model.distribution([1, 2])[3]


def test_what_is_certain_costs_little_and_the_same_as_one_long_text() -> None:
    """Sentences that count upwards: the first step from one to the next is all there is to guess."""
    nats = KneserNey(COUNTING, TOY_VOCABULARY).nats(COUNTING)
    assert nats.predictions == COUNTING.words - len(COUNTING)
    assert nats.total / nats.predictions < 0.2
    stream = samples([COUNTING.flat.tolist()])
    assert KneserNey(stream, TOY_VOCABULARY).nats(stream).predictions == COUNTING.words - 1


@pytest.mark.parametrize("together", [1, 2, 7, 50])
def test_what_texts_cost_does_not_depend_on_how_many_words_are_looked_at_together(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(3).integers(0, VOCABULARY, 60).tolist()
    train, test = samples([rows[:30], rows[30:]]), samples([rows[5:40], rows[:1], rows[20:23]])
    model = KneserNey(train, VOCABULARY, 4)
    expected = model.nats(test)
    monkeypatch.setattr(ngrams, "WORDS_TOGETHER", together)
    found = model.nats(test)
    assert found.predictions == expected.predictions
    assert found.total == pytest.approx(expected.total)


def test_of_too_much_text_the_first_words_are_learnt_from() -> None:
    rows = [[1, 2, 3, 4], [2, 3, 1, 1], [4, 4, 4, 4]]
    model, whole = (KneserNey(samples(rows), VOCABULARY, 3, max_words=most) for most in (6, 12))
    assert (model.words, model.cut) == (6, True)
    assert (whole.words, whole.cut) == (12, False)
    expected = KneserNey(samples([rows[0], rows[1][:2]]), VOCABULARY, 3)
    assert np.array_equal(model.distribution([1, 2]), expected.distribution([1, 2]))


def test_keys_hold_vocabularies_of_a_million_words() -> None:
    rows = [[999_999, 999_998, 7, 999_999, 999_998], [999_999, 999_998, 7]] * 3
    nats = KneserNey(samples(rows), 1_000_000).nats(samples(rows))
    assert 0 < nats.total / nats.predictions < 2
