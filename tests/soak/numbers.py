"""Plain arithmetic of what was measured: shares and growth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FEWEST = 100  # of which a hundredth is one: fewer have no 99th percentile


def share_ms(values: NDArray[np.float64], share: float) -> float | None:
    """The value that this share does not exceed; None where there are too few to tell."""
    return float(np.quantile(values, share)) if len(values) >= FEWEST else None


def growth(values: Sequence[float]) -> float:
    """By what share the last third's median is above the first third's, which is less moved by a moment than the ends are."""
    third = max(1, len(values) // 3)
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    return last / first - 1


def tenths(values: Sequence[float]) -> list[float]:
    """The median of each tenth, which tells a slope from a step."""
    return [float(np.median(part)) for part in np.array_split(values, 10) if len(part)]
