"""service.inference.sampling: options do what they say, and a row's choice is its own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.inference.sampling import GREEDY, Row, SamplingOptions, choose, highest, normalisers, uniform

Logits = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

SHARES = [0.5, 0.3, 0.15, 0.05]
LOGITS = np.log(SHARES).tolist()
TIMES = 1500


@st.composite
def option_rows(draw: st.DrawFn, vocabulary: int) -> Row:
    share = st.floats(0.001, 1.0)
    options = SamplingOptions(
        repetition_penalty=draw(st.none() | st.floats(0.5, 2.0)),
        frequency_penalty=draw(st.none() | st.floats(-2.0, 2.0)),
        do_sample=draw(st.booleans()),
        temperature=draw(st.none() | st.floats(0.05, 5.0)),
        top_k=draw(st.none() | st.integers(1, vocabulary + 3)),
        top_p=draw(st.none() | share),
        typical_p=draw(st.none() | share),
        seed=draw(st.integers(0, 2**64 - 1)),
    )
    history = draw(st.dictionaries(st.integers(0, vocabulary - 1), st.integers(1, 9), max_size=8))
    return Row(options, draw(st.integers(0, 1000)), history)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Logits, list[Row], int]:
    """Logits, what every row brings, and an id that is barred."""
    vocabulary, rows = draw(st.sampled_from([2, 3, 100, 127, 128, 129, 300])), draw(st.integers(1, 17))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = (random.standard_normal((rows, vocabulary)) * draw(st.floats(0.01, 20))).astype(np.float32)
    if draw(st.booleans()):
        logits = np.round(logits)  # many equals
    barred = draw(st.integers(0, vocabulary - 1))
    logits[:, barred] = -np.inf
    return logits, [draw(option_rows(vocabulary)) for _ in range(rows)], barred


@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_a_rows_choice_is_the_same_alone_and_among_others(batch: tuple[Logits, list[Row], int]) -> None:
    logits, rows, _ = batch
    together = choose(logits, rows)
    alone = [choose(logits[index : index + 1].copy(), [row]) for index, row in enumerate(rows)]
    assert together == ([one.ids[0] for one in alone], [one.finite[0] for one in alone])


def test_the_last_and_least_likely_word_is_drawn_alone_and_among_others_alike() -> None:
    """The seed's first number is the highest there is, and the last word's weight vanishes beside the first in single precision."""
    logits = np.full((1, 129), -np.inf, np.float32)
    logits[0, [0, 128]] = 0.0, -17.0
    row = Row(SamplingOptions(do_sample=True, seed=2295574122455614247), 0, {})
    assert uniform(2295574122455614247, 0) > 1 - 1e-15
    others: list[dict[str, Any]] = [{}, {"top_p": 0.5}, {"typical_p": 0.5}, {"top_k": 1}, {"temperature": 0.5}]
    for options in others:
        other = Row(SamplingOptions(do_sample=True, seed=1, **options), 0, {})
        assert choose(np.repeat(logits, 2, 0), [row, other]).ids[0] == choose(logits, [row]).ids[0]


@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_a_barred_id_is_never_chosen_and_the_logits_are_left_as_they_were(batch: tuple[Logits, list[Row], int]) -> None:
    logits, rows, barred = batch
    before = logits.copy()
    chosen = choose(logits, rows)
    assert all(chosen.finite)
    assert barred not in chosen.ids
    assert np.array_equal(logits, before)


# What is drawn, beside the exact shares of a slow and plain account of the options


def exact(logits: Sequence[float] | Logits, options: SamplingOptions) -> Doubles:
    """The share of every word, by sorting in double precision."""
    scores = np.asarray(logits, np.float32).astype(np.float64)
    shares = softmax(scores / (1.0 if options.temperature is None else options.temperature))
    if options.top_k is not None and options.top_k < len(shares):
        shares[shares < np.sort(shares)[-options.top_k]] = 0
        shares /= shares.sum()
    if options.top_p is not None:
        shares = keep_first(shares, -shares, options.top_p)
    if options.typical_p is not None:
        logs = np.log(shares, out=np.full_like(shares, -1e4), where=shares > 0)
        shares = keep_first(shares, np.abs(logs - (shares * logs).sum()), options.typical_p)
    return shares


def softmax(scores: Doubles) -> Doubles:
    weights: Doubles = np.exp(scores - scores.max())
    shares: Doubles = weights / weights.sum()
    return shares


def keep_first(shares: Doubles, order: Doubles, share: float) -> Doubles:
    """The shares of those before whom less than share lies, and of the equals of the last of them."""
    kept = np.zeros_like(shares)
    before, last = 0.0, -np.inf
    for word in np.argsort(order, kind="stable"):
        if before >= share and order[word] > last + 1e-7:
            break
        kept[word], last = shares[word], order[word]
        before += shares[word]
    kept /= kept.sum()
    return kept


def draw_many(
    logits: Sequence[float] | Logits, options: Mapping[str, Any], times: int = TIMES, history: Mapping[int, int] | None = None
) -> Counter[int]:
    """Draws with the seeds from 0: the same ones at every run of the test."""
    rows = [Row(SamplingOptions(do_sample=True, seed=seed, **options), 0, history or {}) for seed in range(times)]
    return Counter(choose(np.array([logits] * times, np.float32), rows).ids)


def assert_drawn_as(counts: Counter[int], shares: Doubles) -> None:
    """Pearson's test, at about one in a million; a word without a share is never drawn."""
    times = counts.total()
    assert not [word for word in counts if shares[word] == 0]
    expected = shares * times
    likely = expected >= 5
    statistic = sum((counts[int(word)] - expected[word]) ** 2 / expected[word] for word in np.flatnonzero(likely))
    rare = expected[~likely].sum()
    if rare > 0:
        seldom = sum(count for word, count in counts.items() if not likely[word])
        statistic += (seldom - rare) ** 2 / max(rare, 1.0)
    freedom = max(1, int(likely.sum()))
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 15


def some_logits(vocabulary: int, spread: float = 1.5, seed: int = 5) -> Logits:
    logits = (np.random.default_rng(seed).standard_normal(vocabulary) * spread).astype(np.float32)
    if vocabulary > 100:
        logits[7] = -np.inf
    return logits


OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 4.0},
    {"top_k": 1},
    {"top_k": 2},
    {"top_k": 50},
    {"top_p": 0.05},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 1.0},
    {"typical_p": 0.05},
    {"typical_p": 0.5},
    {"typical_p": 0.95},
    {"top_k": 60, "top_p": 0.8},
    {"top_k": 60, "typical_p": 0.6},
    {"top_p": 0.7, "typical_p": 0.6},
    {"top_p": 0.5, "typical_p": 1.0},
    {"temperature": 0.7, "top_k": 90, "top_p": 0.9, "typical_p": 0.8},
]


@pytest.mark.parametrize("vocabulary", [127, 128, 129, 300])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_words_are_drawn_by_the_exact_shares_of_what_the_options_leave(options: dict[str, Any], vocabulary: int) -> None:
    logits = some_logits(vocabulary)
    assert_drawn_as(draw_many(logits, options), exact(logits, SamplingOptions(**options)))


@pytest.mark.parametrize("vocabulary", [1, 2, 5])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_vocabulary_of_a_few_words_is_drawn_from_as_any_other(options: dict[str, Any], vocabulary: int) -> None:
    logits = some_logits(vocabulary)
    assert_drawn_as(draw_many(logits, options, 800), exact(logits, SamplingOptions(**options)))


def test_temperature_sharpens_and_flattens() -> None:
    sharp = np.array(SHARES) ** 2
    assert_drawn_as(draw_many(LOGITS, {"temperature": 0.5}), sharp / sharp.sum())
    assert_drawn_as(draw_many(LOGITS, {"temperature": 1e6}), np.full(4, 0.25))


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-30, 1e-12, 1e-4])
def test_at_almost_no_temperature_only_the_highest_is_drawn(temperature: float) -> None:
    assert set(draw_many([1.0, 1.001, -5.0, -np.inf], {"temperature": temperature}, 300)) == {1}
    assert set(draw_many([2.0, 2.0, 1.999, -np.inf], {"temperature": temperature}, 300)) == {0, 1}


@pytest.mark.parametrize("temperature", [100.0, 1e20, 1e38])
def test_at_any_high_temperature_all_but_barred_words_are_alike(temperature: float) -> None:
    shares = exact([0.5, -0.5, 0.1, -np.inf], SamplingOptions(temperature=temperature))
    assert_drawn_as(draw_many([0.5, -0.5, 0.1, -np.inf], {"temperature": temperature}), shares)
    assert shares[:3] == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("options", [{}, {"top_p": 0.9}, {"typical_p": 0.9}, {"top_k": 2}], ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1e4, 1e30])
def test_scores_of_any_size_are_drawn_from(options: dict[str, Any], scale: float) -> None:
    logits = [scale, 0.0, -scale, -np.inf]
    possible = {0, 1, 2} if scale < 1 else {0}
    assert set(draw_many(logits, options, 300)) <= possible


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.01}, {0}),
        ({"top_p": 0.49}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 0.81}, {0, 1, 2}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.6}, {0}),  # of the two that top_k leaves, the first has a share of 0.625
        ({"top_p": 0.51, "typical_p": 1.0}, {0, 1}),
        ({"top_p": 1.0, "typical_p": 0.2}, {1}),
        ({"top_k": 2, "typical_p": 1.0}, {0, 1}),
        ({"typical_p": 0.2}, {1}),  # -ln 0.3 = 1.20 is nearest to the entropy 1.14
    ],
)
def test_only_the_words_that_the_options_leave_are_drawn(options: dict[str, Any], possible: set[int]) -> None:
    assert set(draw_many(LOGITS, options, 1500)) == possible


@settings(deadline=None, max_examples=150)
@given(
    vocabulary=st.sampled_from([1, 2, 100, 127, 128, 129, 400]),
    made_of=st.integers(0, 2**32 - 1),
    spread=st.floats(0.001, 8),
    share=st.floats(0.001, 1),
    which=st.sampled_from(["top_p", "typical_p"]),
    seed=st.integers(0, 2**64 - 1),
)
def test_no_word_outside_the_share_is_ever_drawn(
    vocabulary: int, made_of: int, spread: float, share: float, which: str, seed: int
) -> None:
    logits = (np.random.default_rng(made_of).standard_normal((1, vocabulary)) * spread).astype(np.float32)
    options = SamplingOptions(do_sample=True, seed=seed, **{which: share})  # type: ignore[arg-type]
    # A little more is within: a float may lie on either side of the border.
    within = exact(logits[0], SamplingOptions(**{which: min(1.0, share + 1e-4)}))  # type: ignore[arg-type]
    assert all(within[choose(logits, [Row(options, position, {})]).ids[0]] > 0 for position in range(5))


@settings(deadline=None, max_examples=60)
@given(made_of=st.integers(0, 2**32 - 1), top_k=st.integers(1, 200), vocabulary=st.integers(1, 300), seed=st.integers(0, 2**64 - 1))
def test_no_word_below_the_top_k_is_ever_drawn(made_of: int, top_k: int, vocabulary: int, seed: int) -> None:
    logits = (np.random.default_rng(made_of).standard_normal((1, vocabulary)) * 0.1).astype(np.float32)
    options = SamplingOptions(do_sample=True, seed=seed, top_k=top_k)
    likeliest = set(np.argsort(-logits[0])[:top_k].tolist())
    assert all(choose(logits, [Row(options, position, {})]).ids[0] in likeliest for position in range(5))


@pytest.mark.parametrize("which", ["top_p", "typical_p"])
@pytest.mark.parametrize("share", [1e-9, 0.004, 0.02])
def test_a_share_that_is_hardly_ever_hit_is_drawn_from_exactly_nevertheless(which: str, share: float) -> None:
    """Of hundreds of words that are all but alike a handful is left: nearly every draw falls outside, eight times."""
    logits = np.linspace(0, 0.5, 500, dtype=np.float32)[np.random.default_rng(1).permutation(500)]
    shares = exact(logits, SamplingOptions(**{which: share}))  # type: ignore[arg-type]
    assert 1 <= (shares > 0).sum() <= 12
    assert_drawn_as(draw_many(logits, {which: share}), shares)


@pytest.mark.parametrize(
    "options", [{"top_p": 0.01}, {"typical_p": 0.01}, {"top_k": 3}, {"top_p": 0.01, "typical_p": 0.01}], ids=str
)
def test_equals_of_the_last_word_within_are_all_within(options: dict[str, Any]) -> None:
    assert_drawn_as(draw_many([0.0] * 130, options, 6000), np.full(130, 1 / 130))


def test_a_barred_word_takes_no_share_and_does_not_upset_typical_p() -> None:
    assert set(draw_many([*LOGITS, float("-inf")], {"typical_p": 0.9}, 500)) <= {0, 1, 2, 3}


def test_where_only_one_word_is_not_barred_it_is_drawn_whatever_the_options() -> None:
    for options in OPTIONS:
        assert set(draw_many([-np.inf, 3.0, -np.inf], options, 20)) == {1}


# Penalties and greedy choices


def greedy(logits: list[float], options: SamplingOptions = GREEDY, history: Mapping[int, int] | None = None) -> int:
    return choose(np.array([logits], np.float32), [Row(options, 0, history or {})]).ids[0]


def test_penalties_make_what_stands_already_less_likely() -> None:
    logits = [2.0, 1.9, -1.0]
    assert greedy(logits, GREEDY, {0: 1}) == 0
    assert greedy(logits, SamplingOptions(repetition_penalty=1.5), {0: 1}) == 1
    assert greedy(logits, SamplingOptions(repetition_penalty=1.5), {}) == 0
    assert greedy(logits, SamplingOptions(frequency_penalty=0.06), {0: 1}) == 0
    assert greedy(logits, SamplingOptions(frequency_penalty=0.06), {0: 2}) == 1


def test_a_repetition_penalty_also_lowers_what_is_below_zero() -> None:
    assert greedy([-1.0, -1.1], SamplingOptions(repetition_penalty=1.2), {0: 1}) == 1


def test_a_penalty_below_nothing_makes_what_stands_more_likely() -> None:
    assert greedy([1.0, 0.9], SamplingOptions(frequency_penalty=-0.2), {1: 1}) == 1


def test_the_repetition_penalty_comes_before_the_frequency_penalty() -> None:
    # 3 / 2 - 1 = 0.5 is below 0.6; (3 - 1) / 2 = 1 would not be.
    assert greedy([3.0, 0.6], SamplingOptions(repetition_penalty=2.0, frequency_penalty=1.0), {0: 1}) == 1


def test_penalties_bend_what_is_drawn() -> None:
    counts = draw_many([0.0, 0.0], {"frequency_penalty": 1.0}, history={0: 2})
    assert_drawn_as(counts, exact([-2.0, 0.0], SamplingOptions()))


def test_greedy_takes_the_first_of_equals() -> None:
    assert greedy([0.0, 3.0, 3.0]) == 1


@pytest.mark.parametrize("options", [GREEDY, *(SamplingOptions(do_sample=True, **options) for options in OPTIONS)], ids=str)
def test_a_row_without_numbers_says_so_and_its_neighbours_are_chosen(options: SamplingOptions) -> None:
    bad = [[np.nan, 1.0], [1.0, np.nan], [np.nan, np.nan], [-np.inf, -np.inf], [np.inf, 1.0], [-np.inf, np.inf]]
    logits = np.array([[1.0, 2.0], *bad, [2.0, 1.0]], np.float32)
    chosen = choose(logits, [Row(options, 0, {0: 1})] * len(logits))
    assert chosen.finite == [True, *[False] * len(bad), True]
    assert [chosen.ids[0], chosen.ids[-1]] == [choose(logits[[at]], [Row(options, 0, {0: 1})]).ids[0] for at in (0, -1)]


def test_nobody_asks_for_nothing() -> None:
    assert choose(np.zeros((0, 5), np.float32), []) == ([], [])


# Log-probabilities


@settings(deadline=None, max_examples=40)
@given(batch=batches())
def test_normalisers_have_the_same_bits_alone_and_make_shares_of_one(batch: tuple[Logits, list[Row], int]) -> None:
    logits, _, _ = batch
    together = normalisers(logits)
    assert together.tolist() == [normalisers(logits[index : index + 1].copy())[0] for index in range(len(logits))]
    np.testing.assert_allclose(np.exp(logits.astype(np.float64) - together[:, None]).sum(axis=1), 1.0, atol=1e-5)


def test_a_row_without_numbers_has_a_normaliser_without_one_and_warns_nobody() -> None:
    logits = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-np.inf, -np.inf]], np.float32)
    assert normalisers(logits)[0] == pytest.approx(np.log(2))
    assert not np.isfinite(normalisers(logits)[1:]).any()


@given(
    values=st.lists(st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 1.0, 3.0]) | st.floats(-50, 50, width=32), min_size=1, max_size=40),
    count=st.integers(1, 45),
)
def test_the_highest_are_those_of_a_sorted_list_without_barred_ones(values: list[float], count: int) -> None:
    row = np.array(values, np.float32)
    expected = sorted((word for word in range(len(row)) if np.isfinite(row[word])), key=lambda word: (-row[word], word))
    assert highest(row, count) == expected[:count]


# Random numbers


@given(seed=st.integers(0, 2**64 - 1), position=st.integers(0, 2**40), attempt=st.integers(0, 8))
def test_a_number_lies_between_nothing_and_one_and_depends_on_nothing_else(seed: int, position: int, attempt: int) -> None:
    value = uniform(seed, position, attempt)
    assert 0.0 <= value < 1.0
    assert value == uniform(seed, position, attempt)


@given(seed=st.integers(0, 2**64 - 1), position=st.integers(0, 2**40), other=st.integers(0, 2**64 - 1))
def test_another_seed_position_or_attempt_is_another_number(seed: int, position: int, other: int) -> None:
    numbers = {uniform(seed, position), uniform(seed, position + 1), *(uniform(seed, position, attempt) for attempt in range(1, 9))}
    assert len(numbers) == 10
    assume(seed != other)
    assert uniform(seed, position) != uniform(other, position)


def test_a_seed_that_a_client_was_told_gives_the_same_numbers_with_every_version() -> None:
    numbers = [uniform(0, 0), uniform(0, 1), uniform(1, 0), uniform(2**64 - 1, 5, 3)]
    assert numbers == [0.6524484863740322, 0.7012121095215252, 0.36818951565166946, 0.5970144846729549]


@pytest.mark.parametrize("axis", ["seeds", "positions", "attempts"])
def test_streams_of_neighbours_are_even_and_unrelated(axis: str) -> None:
    size = 150
    if axis == "seeds":
        rows = [[uniform(seed, position) for position in range(size)] for seed in range(size)]
    elif axis == "positions":
        rows = [[uniform(seed, position) for seed in range(size)] for position in range(size)]
    else:
        rows = [[uniform(seed, 3, attempt) for attempt in range(9)] for seed in range(size * size // 9)]
    values = np.array(rows)
    assert np.histogram(values, bins=10, range=(0, 1))[0] / values.size == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.03
    assert len(np.unique(values)) == values.size


def test_every_attempt_is_even_whatever_the_first_one_was() -> None:
    """Were they not, what is drawn anew would not be distributed as a first draw."""
    for attempt in range(1, 9):
        pairs = np.array([(uniform(seed, 0), uniform(seed, 0, attempt)) for seed in range(4000)])
        for low in (0.0, 0.5, 0.75):
            later = pairs[(pairs[:, 0] >= low) & (pairs[:, 0] < low + 0.25), 1]
            assert later.mean() == pytest.approx(0.5, abs=0.05)


def test_a_place_draws_the_same_whatever_was_drawn_before_it() -> None:
    logits = some_logits(200)[None]
    options = SamplingOptions(do_sample=True, top_p=0.3, seed=9)
    in_order = [choose(logits, [Row(options, position, {})]).ids[0] for position in range(30)]
    backwards = [choose(logits, [Row(options, position, {})]).ids[0] for position in reversed(range(30))]
    assert in_order == backwards[::-1]
    assert len(set(in_order)) > 5
