"""training.calibration: after the temperature, scores are right as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import calibration
from training.calibration import FEWEST_ROWS, expected_calibration_error, log_loss, reliability, softmax, temperature


def answers(sharpness: float, rows: int = 20_000, labels: int = 3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) that would be right as often as they say, times sharpness; and what is right (N)."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(rows, labels)) * 2
    targets = (softmax(logits).cumsum(axis=1) < chance.random((rows, 1))).sum(axis=1)
    return (logits * sharpness).astype(np.float32), targets


@pytest.mark.parametrize("sharpness", [0.2, 0.7, 1.0, 1.8, 6.0])
def test_the_temperature_undoes_what_made_scores_too_sure_or_too_shy(sharpness: float) -> None:
    assert temperature(*answers(sharpness)) == pytest.approx(sharpness, rel=0.03)


@given(st.integers(0, 1000), st.floats(0.1, 5), st.integers(2, 6))
def test_no_other_temperature_has_a_smaller_log_loss(seed: int, sharpness: float, labels: int) -> None:
    logits, targets = answers(sharpness, FEWEST_ROWS, labels, seed)
    best = temperature(logits, targets)
    for other in (best * 0.98, best * 1.02, 1.0):
        assert log_loss(logits / best, targets) <= log_loss(logits / other, targets) + 1e-9


def test_too_few_rows_and_rows_that_are_all_right_change_nothing() -> None:
    logits, targets = answers(3.0)
    assert temperature(logits[: FEWEST_ROWS - 1], targets[: FEWEST_ROWS - 1]) == 1.0
    assert temperature(np.zeros((0, 2), np.float32), np.zeros(0, np.int64)) == 1.0
    assert temperature(logits, logits.argmax(axis=1)) == 1.0


def test_a_hopeless_model_gets_the_highest_temperature_and_no_more() -> None:
    """Every answer is wrong: no temperature is high enough."""
    logits, _ = answers(1.0, labels=2)
    assert temperature(logits, 1 - logits.argmax(axis=1)) == pytest.approx(calibration.HIGHEST, rel=1e-3)


def test_the_log_loss_of_enormous_logits_is_a_number() -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    assert log_loss(logits, np.array([0, 0])) == 1e4
    assert np.isfinite(softmax(logits)).all()


def test_scores_that_are_right_as_often_as_they_say_have_hardly_any_error_and_too_sure_ones_a_large_one() -> None:
    assert expected_calibration_error(*answers(1.0)) < 0.01
    assert expected_calibration_error(*answers(4.0)) > 0.1


def test_the_calibration_error_is_that_of_the_paper() -> None:
    """Guo et al. 2017, equation 3, by hand: scores .6 .6 .9 .9, of which right are one and two, in two bins."""
    scores = np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9], [0.1, 0.9]])
    error = expected_calibration_error(np.log(scores), np.array([0, 1, 1, 1]))
    assert error == pytest.approx(abs(0.5 - 0.6) / 2 + abs(1 - 0.9) / 2)


@given(st.integers(0, 1000), st.floats(0.01, 20), st.integers(1, 20))
def test_every_answer_is_in_one_bin_which_its_scores_lie_in(seed: int, sharpness: float, bins: int) -> None:
    logits, targets = answers(sharpness, 60, seed=seed)
    parts = reliability(logits, targets, bins)
    assert sum(part.answers for part in parts) == len(targets)
    assert [part.score for part in parts] == sorted(part.score for part in parts)
    assert len({min(bins - 1, math.ceil(part.score * bins - 1e-9) - 1) for part in parts}) == len(parts)
    right = sum(part.accuracy * part.answers for part in parts)
    assert right == pytest.approx((logits.argmax(axis=1) == targets).sum())
