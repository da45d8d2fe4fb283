"""How the learning rate goes over the steps of a stage of training. Knows no optimiser."""

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]

WARM_UP_SHARE = 0.02  # of all steps


def rate(schedule: Schedule, step: int, steps: int) -> float:
    """The share of the learning rate at a step, counted from 0: all of it, or a short warm-up, then down to nothing."""
    if schedule == "constant":
        return 1.0
    done = min(1.0, step / steps)
    falling = 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return min((step + 1) / max(1, int(steps * WARM_UP_SHARE)), falling)
