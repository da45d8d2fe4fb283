"""tests.soak.arrivals: a Poisson process."""

import numpy as np

from tests.soak.arrivals import poisson


def test_the_times_are_in_order_and_within_the_seconds() -> None:
    times = poisson(1000, 3, seed=1)
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 3


def test_there_are_as_many_as_were_asked_for_give_or_take_chance() -> None:
    assert abs(len(poisson(1000, 10, seed=1)) - 10_000) < 4 * 100  # four standard deviations


def test_the_gaps_forget_what_was_before() -> None:
    """Of an exponential distribution the standard deviation is the mean; of equal gaps it is 0."""
    gaps = np.diff(poisson(1000, 10, seed=1))
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05


def test_the_same_seed_gives_the_same_times_and_another_one_others() -> None:
    assert np.array_equal(poisson(100, 1, seed=1), poisson(100, 1, seed=1))
    assert len(poisson(100, 1, seed=1)) != len(poisson(100, 1, seed=2)) or poisson(100, 1, 1)[0] != poisson(100, 1, 2)[0]


def test_no_rate_gives_no_times() -> None:
    assert len(poisson(0, 10, seed=1)) == 0
