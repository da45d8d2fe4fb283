"""What is seen of the service's process and of its core while something is tried."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.bench.process import CORES, SERVER_CORE
from tests.soak import proc
from tests.soak.serving import Service

EVERY_S, WINDOW_S = 0.25, 10.0


@dataclass
class Watch:
    """memory_mb: resident sets, four times a second.

    others: the share of the service's core that was used by what it is not, in the worst ten seconds: a queue that filled up then
    may take minutes to empty.
    """

    memory_mb: list[float] = field(default_factory=list)
    others: float = 0.0

    @property
    def first_mb(self) -> float:
        return self.memory_mb[0]

    @property
    def last_mb(self) -> float:
        return self.memory_mb[-1]


class Core:
    """The service's core, and who uses it."""

    def __init__(self, running: Service) -> None:
        self._running, self._core = running, CORES[SERVER_CORE]
        self._began = self._now()

    def others(self, least_s: float) -> float | None:
        """The share of others since this was last told; None where that is not so long ago."""
        now = self._now()
        seconds, spent_s, own_s = (end - begin for begin, end in zip(self._began, now, strict=True))
        if seconds < least_s:
            return None
        self._began = now
        return max(0.0, (spent_s - own_s) / seconds)

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), proc.core_used_s(self._core), self._running.used_s


@contextmanager
def watching(running: Service) -> Iterator[Watch]:
    """While the block runs."""
    seen, over, core = Watch([running.memory_mb]), threading.Event(), Core(running)

    def look() -> None:
        while not over.wait(EVERY_S):
            with suppress(OSError):  # a worker that has ended meanwhile
                seen.memory_mb.append(running.memory_mb)
                seen.others = max(seen.others, core.others(WINDOW_S) or 0.0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    seen.others = max(seen.others, core.others(WINDOW_S / 2) or 0.0)
    seen.memory_mb.append(running.memory_mb)
