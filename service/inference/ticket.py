"""One accepted request, and the one place where it ends: with an answer, an error or a client that left. Knows no models."""

import threading
import time
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

from service.errors import InternalError, Overloaded, RequestError, TooLarge

T = TypeVar("T")


class Ticket(Generic[T]):
    """A request of one or more parts. Its future gets all parts' results in order, or the first error.

    Cancelling the future is how a client leaves; whoever works on a part looks at `ended` before each step.
    """

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.future: Future[list[T]] = Future()
        self.accepted_s = time.monotonic()
        self.started_s: float | None = None
        self._results: dict[int, T] = {}
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        return self.future.done()

    @property
    def queue_s(self) -> float:
        """Seconds from being accepted until a first part got its row."""
        return (time.monotonic() if self.started_s is None else self.started_s) - self.accepted_s

    @property
    def inference_s(self) -> float:
        """Seconds since a first part got its row."""
        return 0.0 if self.started_s is None else time.monotonic() - self.started_s

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

    def _end(self, results: list[T] | None = None, error: RequestError | None = None) -> None:
        """The only way out. A request that has ended, because its client left or another part failed, stays as it ended."""
        try:
            if error is not None:
                self.future.set_exception(error)
            elif results is not None:
                self.future.set_result(results)
        except InvalidStateError:
            pass


class Door:
    """Bounded admission: a part's place is taken at the door and held until its request has ended."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._taken

    def enter(self, ticket: Ticket[T]) -> None:
        """Takes a place for every part. Raises Overloaded, or TooLarge where they would never fit, and then takes none."""
        if ticket.parts > self.places:
            raise TooLarge(
                f"inputs: {ticket.parts} sequences in one request are more than the {self.places} that are accepted at all"
            )
        with self._lock:
            if self._taken + ticket.parts > self.places:
                raise Overloaded(f"{self._taken} inputs are being worked on and {self.places} are the most; try again soon")
            self._taken += ticket.parts
        ticket.future.add_done_callback(lambda _: self._leave(ticket.parts))

    def _leave(self, parts: int) -> None:
        with self._lock:
            self._taken -= parts
