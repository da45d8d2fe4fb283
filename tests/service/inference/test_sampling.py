"""service.inference.sampling: options do what they say, and a row's choice is its own."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference.sampling import GREEDY, Row, SamplingOptions, choose, log_probabilities, uniform

Logits = npt.NDArray[np.float32]


@st.composite
def option_rows(draw: st.DrawFn, vocabulary: int) -> Row:
    share = st.floats(0.01, 1.0)
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
    return Row(options, draw(st.integers(0, 1000)), draw(st.lists(st.integers(0, vocabulary - 1), max_size=20)))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Logits, list[Row]]:
    vocabulary, rows = draw(st.integers(3, 300)), draw(st.integers(1, 33))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = (random.standard_normal((rows, vocabulary)) * draw(st.floats(0.1, 10))).astype(np.float32)
    logits[:, 0] = -np.inf  # a barred id
    return logits, [draw(option_rows(vocabulary)) for _ in range(rows)]


@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_a_rows_choice_is_the_same_alone_and_among_others(batch: tuple[Logits, list[Row]]) -> None:
    logits, rows = batch
    together = choose(logits, rows)
    assert together == [choose(logits[index : index + 1], [row])[0] for index, row in enumerate(rows)]


@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_a_barred_id_is_never_chosen_and_the_logits_are_left_as_they_were(batch: tuple[Logits, list[Row]]) -> None:
    logits, rows = batch
    before = logits.copy()
    assert all(choice.finite and choice.id != 0 for choice in choose(logits, rows))
    assert np.array_equal(logits, before)


@settings(deadline=None, max_examples=40)
@given(batch=batches())
def test_log_probabilities_have_the_same_bits_alone_and_sum_to_one(batch: tuple[Logits, list[Row]]) -> None:
    logits, _ = batch
    together = log_probabilities(logits)
    for index in range(len(logits)):
        assert np.array_equal(together[index], log_probabilities(logits[index : index + 1])[0])
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1.0, atol=1e-12)


def drawn(options: dict[str, Any], logits: list[float], times: int = 4000, history: tuple[int, ...] = ()) -> Counter[int]:
    rows = [Row(SamplingOptions(do_sample=True, seed=seed, **options), 0, history) for seed in range(times)]
    return Counter(choice.id for choice in choose(np.array([logits] * times, np.float32), rows))


LOGITS = np.log([0.5, 0.3, 0.15, 0.05]).tolist()


def test_sampling_follows_the_models_shares() -> None:
    counts = drawn({}, LOGITS)
    for word, share in enumerate([0.5, 0.3, 0.15, 0.05]):
        assert counts[word] / 4000 == pytest.approx(share, abs=0.03)


def test_temperature_sharpens_and_flattens() -> None:
    sharp = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    assert drawn({"temperature": 0.5}, LOGITS)[0] / 4000 == pytest.approx(sharp[0] / sharp.sum(), abs=0.03)
    assert drawn({"temperature": 100.0}, LOGITS)[3] / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.01}, {0}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 0.81}, {0, 1, 2}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.6}, {0}),  # of the two that top_k leaves, the first has a share of 0.625
        ({"typical_p": 0.2}, {1}),  # -ln 0.3 = 1.20 is nearest to the entropy 1.14
    ],
)
def test_only_the_words_that_the_options_leave_are_drawn(options: dict[str, Any], possible: set[int]) -> None:
    assert set(drawn(options, LOGITS, times=1500)) == possible


def test_a_barred_word_takes_no_share_and_does_not_upset_typical_p() -> None:
    assert set(drawn({"typical_p": 0.9}, [*LOGITS, float("-inf")], times=500)) <= {0, 1, 2, 3}


def test_penalties_make_what_stands_already_less_likely() -> None:
    logits = np.array([[2.0, 1.9, -1.0]], np.float32)
    assert choose(logits, [Row(GREEDY, 0, [0])])[0].id == 0
    assert choose(logits, [Row(SamplingOptions(repetition_penalty=1.5), 0, [0])])[0].id == 1
    assert choose(logits, [Row(SamplingOptions(frequency_penalty=0.06), 0, [0])])[0].id == 0
    assert choose(logits, [Row(SamplingOptions(frequency_penalty=0.06), 0, [0, 0])])[0].id == 1


def test_a_repetition_penalty_also_lowers_what_is_below_zero() -> None:
    logits = np.array([[-1.0, -1.1]], np.float32)
    assert choose(logits, [Row(SamplingOptions(repetition_penalty=1.2), 0, [0])])[0].id == 1


def test_greedy_takes_the_first_of_equals() -> None:
    assert choose(np.array([[0.0, 3.0, 3.0]], np.float32), [Row(GREEDY, 0, [])])[0].id == 1


def test_a_row_without_numbers_says_so_and_its_neighbours_are_chosen() -> None:
    logits = np.array([[1.0, 2.0], [np.nan, 1.0], [-np.inf, -np.inf], [np.inf, 1.0]], np.float32)
    sampled = Row(SamplingOptions(do_sample=True), 0, [])
    for row in (Row(GREEDY, 0, []), sampled):
        assert [choice.finite for choice in choose(logits, [row] * 4)] == [True, False, False, False]


@given(seed=st.integers(0, 2**64 - 1), position=st.integers(0, 2**32))
def test_a_number_depends_on_seed_and_position_alone(seed: int, position: int) -> None:
    seeds, positions = np.array([seed, 1], np.uint64), np.array([position, 2], np.uint64)
    (value, _) = uniform(seeds, positions)
    assert 0.0 <= value < 1.0
    assert value == uniform(seeds[:1], positions[:1])[0]


def test_streams_of_neighbouring_seeds_and_positions_are_even_and_unrelated() -> None:
    seeds, positions = np.meshgrid(np.arange(300, dtype=np.uint64), np.arange(300, dtype=np.uint64))
    values = uniform(seeds.ravel(), positions.ravel()).reshape(300, 300)
    assert np.histogram(values, bins=10, range=(0, 1))[0] / values.size == pytest.approx(np.full(10, 0.1), abs=0.005)
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.02
    assert len(np.unique(values)) == values.size
