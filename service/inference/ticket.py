"""One accepted request, and the one place where it ends: with an answer, an error or a client that left. Knows no models."""

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

from service.errors import InternalError, Overloaded, RequestError, TooLarge
from service.logs import REQUEST_ID

T = TypeVar("T")


class Ticket(Generic[T]):
    """A request of one or more parts. Its future gets all parts' results in order, or the first error.

    Cancelling the future is how a client leaves; whoever works on a part looks at `ended` before each step. work: what it may come
    to, in the worker's own unit. request_id: of the HTTP request, for the log. progress: called by the worker's thread when
    there is something new to be seen of a part.
    """

    def __init__(self, parts: int, work: int = 1) -> None:
        self.parts, self.work = parts, work
        self.future: Future[list[T]] = Future()
        self.accepted_s = time.monotonic()
        self.started_s: float | None = None
        self.ended_s: float | None = None
        self.ended = False
        self.request_id = REQUEST_ID.get()
        self.progress: Callable[[], None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._results: dict[int, T] = {}
        self._lock = threading.Lock()
        # Weakly, or each would keep the other, and its results, until the garbage collector comes.
        mark_ended = weakref.WeakMethod(self._mark_ended)
        self.future.add_done_callback(lambda _: (mark := mark_ended()) and mark())

    @property
    def queue_s(self) -> float:
        """Seconds from being accepted until a first part got its row, or it ended without one."""
        until_s = self.started_s or self.ended_s or time.monotonic()
        return until_s - self.accepted_s

    @property
    def inference_s(self) -> float:
        """Seconds since a first part got its row, until it ended."""
        return 0.0 if self.started_s is None else (self.ended_s or time.monotonic()) - self.started_s

    def start(self) -> bool:
        """A part has got its row; True for the first one."""
        if self.started_s is not None:
            return False
        self.started_s = time.monotonic()
        return True

    def finish(self, part: int, result: T) -> None:
        """One part is answered; with the last one the request ends."""
        with self._lock:
            self._results[part] = result
            if len(self._results) < self.parts:
                return
        self._end(results=[self._results[index] for index in range(self.parts)])

    def fail(self, error: Exception) -> None:
        """The request ends with an error, whichever part met it."""
        self._end(error=error if isinstance(error, RequestError) else InternalError("the model failed on this request"))

    def when_ended(self, listener: Callable[[], None]) -> None:
        """Has listener called once, in whatever thread ends the request; at once where it has ended."""
        with self._lock:
            if not self.ended:
                self._listeners.append(listener)
                return
        listener()

    def leave(self) -> None:
        """The client has left, or does not want the answer any more."""
        self.future.cancel()

    def _end(self, results: list[T] | None = None, error: RequestError | None = None) -> None:
        """The only way out. A request that has ended, because its client left or another part failed, stays as it ended."""
        try:
            if error is not None:
                self.future.set_exception(error)
            elif results is not None:
                self.future.set_result(results)
        except InvalidStateError:
            pass

    def _mark_ended(self) -> None:
        with self._lock:
            self.ended_s = time.monotonic()
            self.ended = True  # an attribute, because it is asked for every row at every step
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()


class Door:
    """Bounded admission: a part's place is taken at the door and held until its request has ended. Counts the work inside, too."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self.work = 0
        self._lock = threading.Lock()

    def enter(self, ticket: Ticket[T], seconds: Callable[[int], float]) -> None:
        """Takes a place for every part. seconds: how long an amount of work takes, for who is told to come again.

        Raises Overloaded, or TooLarge where the parts would never fit, and then takes no place.
        """
        if ticket.parts > self.places:
            raise TooLarge(
                f"inputs: {ticket.parts} sequences in one request are more than the {self.places} that are accepted at all"
            )
        with self._lock:
            if self.taken + ticket.parts > self.places:
                wait_s = max(1, round(seconds(self.work)))
                raise Overloaded(
                    f"{self.taken} inputs are being worked on and {self.places} are the most; try again in {wait_s} s", wait_s
                )
            self.taken += ticket.parts
            self.work += ticket.work
        ticket.when_ended(lambda: self._leave(ticket))

    def _leave(self, ticket: Ticket[T]) -> None:
        with self._lock:
            self.taken -= ticket.parts
            self.work -= ticket.work
