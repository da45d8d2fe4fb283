"""What is seen of the service's process and of its core while something is tried."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.bench.process import CORES, SERVER_CORE
from tests.soak import proc
from tests.soak.serving import Service

EVERY_S = 0.25


@dataclass
class Watch:
    """memory_mb: resident sets, four times a second; others: the share of the service's core that was used by what it is not."""

    memory_mb: list[float] = field(default_factory=list)
    others: float = 0.0

    @property
    def first_mb(self) -> float:
        return self.memory_mb[0]

    @property
    def last_mb(self) -> float:
        return self.memory_mb[-1]


@contextmanager
def watching(running: Service) -> Iterator[Watch]:
    """While the block runs; the share is known after it."""
    seen, over = Watch([running.memory_mb]), threading.Event()

    def look() -> None:
        while not over.wait(EVERY_S):
            with suppress(OSError):  # a worker that has ended meanwhile
                seen.memory_mb.append(running.memory_mb)

    thread = threading.Thread(target=look)
    core, began_s = CORES[SERVER_CORE], time.monotonic()
    core_s, used_s = proc.core_used_s(core), running.used_s
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    spent_s = proc.core_used_s(core) - core_s - (running.used_s - used_s)
    seen.others = max(0.0, spent_s / (time.monotonic() - began_s))
    seen.memory_mb.append(running.memory_mb)
