"""Scores that mean what they say: one temperature makes a classifier as sure as it is right. Knows logits and targets alone."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.floating]
Targets = npt.NDArray[np.integer]

BINS = 15  # as Guo et al. 2017 have them
FEWEST_ROWS = 100  # of fewer, chance would set the temperature
LOWEST, HIGHEST = 0.05, 20.0
PRECISION = 1e-6  # of the logarithm of the temperature


class Bin(NamedTuple):
    """The answers whose score lies in one interval: their mean score, the share of them that is right, how many they are."""

    score: float
    accuracy: float
    answers: int


def temperature(logits: Logits, targets: Targets) -> float:
    """What logits (N, C) are to be divided by so that their log loss on targets (N) is least (Guo et al. 2017, section 4.2).

    1.0 where there are fewer than FEWEST_ROWS rows, or where every row is right: then the loss falls without end as scores rise
    to 1, and nothing says how sure is too sure.
    """
    if len(targets) < FEWEST_ROWS or bool((logits.argmax(axis=1) == targets).all()):
        return 1.0
    return math.exp(_lowest(lambda log: log_loss(logits / math.exp(log), targets), math.log(LOWEST), math.log(HIGHEST)))


def log_loss(logits: Logits, targets: Targets) -> float:
    """Mean -log(score) of the right label, in nats."""
    logits = logits.astype(np.float64)
    highest = logits.max(axis=1)
    sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((sums - logits[np.arange(len(targets)), targets]).mean())


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Scores (N, C) of logits (N, C); every row sums to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def expected_calibration_error(logits: Logits, targets: Targets, bins: int = BINS) -> float:
    """How far scores are from the share that is right, on average over the answers (Guo et al. 2017, equation 3)."""
    return sum(part.answers * abs(part.accuracy - part.score) for part in reliability(logits, targets, bins)) / len(targets)


def reliability(logits: Logits, targets: Targets, bins: int = BINS) -> list[Bin]:
    """The answers by score, in bins of equal width over 0 to 1, each with its upper end; those without any are missing."""
    scores = softmax(logits)
    best = scores.max(axis=1)
    right = scores.argmax(axis=1) == targets
    places = np.clip(np.ceil(best * bins).astype(np.int64) - 1, 0, bins - 1)
    return [
        Bin(float(best[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for place in range(bins)
        if (inside := places == place).any()
    ]


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden section; the log loss has one, as it is convex in 1/temperature."""
    share = (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > PRECISION:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = loss(right)
    return (low + high) / 2
