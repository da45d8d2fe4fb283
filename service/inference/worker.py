"""A thread that answers accepted requests: the door, the hand-over and the orderly end that all workers share.

Owns that every accepted request ends exactly once, also when the thread dies or is told to stop. Knows no models.
"""

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from service.errors import DeadlineExceeded, Overloaded, Replaced, Unavailable
from service.inference.pace import Pace
from service.inference.ticket import Door, Ticket
from service.metrics import Metrics
from service.priority import MODELS, give_way

OUTCOMES = ("answer", "error", "deadline", "cancelled")

log = logging.getLogger(__name__)

P = TypeVar("P")  # a part of a request, as its worker sees it
R = TypeVar("R")  # what answers a part


class Worker(ABC, Generic[P, R]):
    """Subclasses say how parts are taken over (_add), worked on (_round), and when nothing is left (_idle)."""

    def __init__(self, name: str, places: int, metrics: Metrics, longest_s: float = math.inf) -> None:
        """longest_s: nothing that was accepted takes longer, so no one need wait longer for a place."""
        self.name = name
        self._longest_s = longest_s
        self._metrics = metrics
        self._queue_seconds, self._inference_seconds = metrics.queue_seconds.labels(name), metrics.inference_seconds.labels(name)
        self._refused = metrics.refused.labels(name)  # told as 0 until the first, or nobody could see it come
        self._endings = {outcome: metrics.endings.labels(name, outcome) for outcome in OUTCOMES}
        self._rows_in_use, self._waiting_parts = metrics.rows_in_use.labels(name), metrics.waiting.labels(name)
        self._told = (0, 0)
        self._door = Door(places)
        self._pace = Pace()
        self._tickets: set[Ticket[R]] = set()
        self._arrived: list[P] = []
        self._someone_left = False
        self._closed = self._replaced = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"seqserve-{name}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive() and not self._closed

    @property
    def running(self) -> bool:
        """Whether it still works on anything, be it the last thing."""
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float, replaced: bool = False) -> None:
        """Refuses new requests, answers the accepted ones, and stops. What is left after timeout_s ends as unavailable.

        replaced: another worker has its place, and whoever is refused may ask that one.
        """
        with self._wake:
            self._closed, self._replaced = True, replaced
            self._wake.notify()
        self._thread.join(timeout_s)
        self._end_all()

    def _accept(self, ticket: Ticket[R], parts: Sequence[P]) -> Ticket[R]:
        """Takes a request in, whole. Raises Overloaded, Replaced or Unavailable, and then has taken nothing."""
        with self._wake:
            if not self.alive:
                raise (Replaced if self._replaced else Unavailable)(f"the model {self.name} is not running")
            try:
                self._door.enter(ticket, lambda work: min(self._pace.seconds(work), self._longest_s))
            except Overloaded:
                self._refused.inc(ticket.parts)
                raise
            self._tickets.add(ticket)
            self._arrived += parts
            self._wake.notify()
        ticket.when_ended(lambda: self._ended(ticket))
        return ticket

    @abstractmethod
    def _add(self, part: P) -> None:
        """Takes over an accepted part."""

    @abstractmethod
    def _round(self) -> int:
        """Some work on what was added; called again until _idle. Returns how much it did, in the unit of Ticket.work."""

    @property
    @abstractmethod
    def _idle(self) -> bool:
        """Whether nothing that was added is left to do."""

    def _forget(self) -> None:
        """Called when the loop has ended: what is held for later is for nobody."""

    def _count_places(self, rows: int, waiting: int) -> None:
        """How many parts hold a row and how many wait for one, for the metrics; those of two versions of a model add up there."""
        if (rows, waiting) != self._told:
            before, self._told = self._told, (rows, waiting)
            # In this order: who reads that no row is in use may believe that nobody waits for one.
            self._waiting_parts.inc(waiting - before[1])
            self._rows_in_use.inc(rows - before[0])

    def _start(self, ticket: Ticket[R]) -> None:
        """A part has got its row."""
        if ticket.start():
            self._queue_seconds.observe(ticket.queue_s)

    def _attempt(self, tickets: Sequence[Ticket[R]], work: Callable[[], None]) -> bool:
        """Does work for these tickets; if it fails, they end with an error, and no others, and it says False."""
        try:
            work()
        except Exception as error:
            requests = sorted({ticket.request_id for ticket in tickets})
            log.exception("%s: a batch of %d rows failed", self.name, len(tickets), extra={"request_ids": requests})
            for ticket in tickets:
                ticket.fail(error)
            return False
        return True

    def _run(self) -> None:
        give_way(MODELS)
        try:
            while self._wait_for_work():
                started_s = time.monotonic()
                done = self._round()
                self._pace.observe(done, time.monotonic() - started_s)
        except Exception:
            log.exception("%s: the loop died", self.name)
        finally:
            self._count_places(0, 0)
            self._forget()
            with self._wake:  # whoever is being accepted at this moment is accepted before, and ended with the others
                self._closed = True
            self._end_all()

    def _wait_for_work(self) -> bool:
        """False where it was closed and everything is answered."""
        with self._wake:
            while not self._arrived and self._idle and not self._closed:
                self._wake.wait()
            arrived, self._arrived = self._arrived, []
        for part in arrived:
            self._add(part)
        return not (self._closed and self._idle)

    def _end_all(self) -> None:
        for ticket in list(self._tickets):
            ticket.fail(Unavailable(f"the model {self.name} has stopped; try again"))

    def _ended(self, ticket: Ticket[R]) -> None:
        self._tickets.discard(ticket)
        outcome = _outcome(ticket)
        if outcome != "answer":
            self._someone_left = True
        self._endings[outcome].inc(ticket.parts)
        if ticket.started_s is not None:
            self._inference_seconds.observe(ticket.inference_s)


def _outcome(ticket: Ticket[R]) -> str:
    if ticket.future.cancelled():
        return "cancelled"
    error = ticket.future.exception()
    return "answer" if error is None else "deadline" if isinstance(error, DeadlineExceeded) else "error"
