"""Versions that another has replaced: each answers what it had accepted, and goes with its memory. Knows no folders."""

import itertools
import threading
import time
import weakref

from service.allocator import give_back
from service.model import Model

GLANCES, GLANCE_S = 50, 0.02  # at a version that has stopped, until nobody has it in hand any more


class Farewell:
    """Sees versions off, each in a thread of its own."""

    def __init__(self, timeout_s: float) -> None:
        """timeout_s: after which what a version has not answered ends without an answer."""
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._models: dict[str, Model] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._hurried = threading.Event()

    def see_off(self, model: Model) -> None:
        """It takes nothing any more; returns at once."""
        name = f"leaving-{model.label}-{next(self._numbers)}"
        self._models[name] = model
        # By its name alone: a thread holds on to what it was given.
        self._threads[name] = threading.Thread(target=self._attend, args=(name,), name=name, daemon=True)
        self._threads[name].start()

    def wait(self, at_most_s: float) -> None:
        """Until all have gone, so that there is never room wanted for more than one version beside those that serve; or hurry()."""
        ends_s = time.monotonic() + at_most_s
        while self._threads and time.monotonic() < ends_s and not self._hurried.wait(GLANCE_S):
            pass

    def hurry(self) -> None:
        """Nobody waits any more: it is the end."""
        self._hurried.set()

    def close(self, timeout_s: float) -> None:
        """What has not gone after timeout_s goes without having answered."""
        for model in tuple(self._models.values()):
            model.worker.close(timeout_s)

    def _attend(self, name: str) -> None:
        worker = self._models[name].worker
        worker.close(self._timeout_s, replaced=True)
        forgotten = weakref.ref(worker)
        del worker, self._models[name]
        for _ in range(GLANCES):  # whose last answers are being written still have it in hand
            if forgotten() is None or self._hurried.wait(GLANCE_S):
                break
        give_back()
        del self._threads[name]
