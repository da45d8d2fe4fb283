"""service.inference.pace: how long work takes is learned from how long it took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.pace import Pace


def test_before_anything_was_observed_work_takes_no_time() -> None:
    assert Pace().seconds(10**9) == 0


def test_the_first_round_is_believed_whole() -> None:
    pace = Pace()
    pace.observe(4, 2.0)
    assert pace.seconds(1) == 0.5
    assert pace.seconds(10) == 5.0


def test_rounds_count_by_their_work_and_older_ones_less() -> None:
    pace = Pace()
    pace.observe(1, 1.0)
    pace.observe(10, 20.0)
    assert pace.seconds(1) == pytest.approx((0.9 * 1.0 + 20.0) / (0.9 * 1 + 10))


def test_one_full_round_outweighs_all_lone_ones_before_it() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.observe(1, 0.001)
    pace.observe(64, 0.005)
    assert pace.seconds(64) < 0.015


@pytest.mark.parametrize("units", [0, -1])
def test_a_round_that_did_nothing_says_nothing(units: int) -> None:
    pace = Pace()
    pace.observe(units, 9.0)
    assert pace.seconds(1) == 0
    pace.observe(1, 1.0)
    pace.observe(units, 9.0)
    assert pace.seconds(1) == 1.0


@given(rounds=st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e3)), min_size=1, max_size=30))
def test_it_lies_between_the_fastest_and_the_slowest_round(rounds: list[tuple[int, float]]) -> None:
    pace = Pace()
    for units, seconds in rounds:
        pace.observe(units, seconds)
    each = [seconds / units for units, seconds in rounds]
    assert min(each) * (1 - 1e-9) <= pace.seconds(1) <= max(each) * (1 + 1e-9)


def test_it_follows_a_load_that_has_changed() -> None:
    pace = Pace()
    for _ in range(100):
        pace.observe(1, 1.0)
    for _ in range(50):
        pace.observe(1, 3.0)
    assert pace.seconds(1) == pytest.approx(3.0, rel=0.01)
