"""When requests are to be sent, whatever became of those before: as people do it, who know nothing of one another."""

import numpy as np
from numpy.typing import NDArray


def poisson(per_s: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Times of a Poisson process (N), seconds from its begin, in order; the same ones for the same seed."""
    chance = np.random.default_rng(seed)
    return np.sort(chance.uniform(0.0, seconds, chance.poisson(per_s * seconds)))
