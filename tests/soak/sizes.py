"""What a pod should ask for and be allowed, from what was measured: lines for deploy/README.md."""

import math
from collections.abc import Sequence

from service.settings import Settings
from tests.soak.result import Result
from tests.soak.soak import PREFIX_CACHE_BYTES

STEP_MIB, MIB, MB = 64, 2**20, 1e6
ROOM = 1.25  # above the most that was seen
TOLD = {
    "capacity": "after the mix with 1 to 128 clients",
    "steady": "steady at 80%",
    "swap": "while versions are swapped",
    "overload": "at 300%",
    "hostile": "under hostile bodies",
}


def sizes(results: Sequence[Result]) -> list[str]:
    """Nothing where too little was tried."""
    found = {result.scenario: result for result in results if result.scenario in TOLD and result.peak_mb is not None}
    if not {"capacity", "steady", "swap"} <= found.keys():
        return []
    # The scenarios have a small cache, so that one that fills up is no growth.
    cache_mb = (Settings().prefix_cache_bytes - PREFIX_CACHE_BYTES) / MB
    peaks = {name: result.peak_mb or 0.0 for name, result in found.items()}
    asked, allowed = peaks["steady"] + cache_mb, ROOM * (max(peaks.values()) + cache_mb)
    told = [f"{peaks[name]:,.0f} MB {text}" for name, text in TOLD.items() if name in peaks]
    return [
        f"sizes: resident at most: {', '.join(told)}; the prefix cache of each generator may add {cache_mb:,.0f} MB",
        f"sizes: one core and the models of this repository: requests memory {_mib(asked)}Mi, limits memory {_mib(allowed)}Mi",
    ]


def _mib(megabytes: float) -> int:
    """Rounded up to what people write."""
    return math.ceil(megabytes * MB / MIB / STEP_MIB) * STEP_MIB
