"""Who is refused before his request is read. What is more than a process can answer would else wait, unseen, where the system keeps
connections and bytes until somebody takes them: for seconds, and without ever being refused. Knows no HTTP and no models.
"""

from collections.abc import Callable, Collection, Hashable

from service.http.drain import Drain


class Gate:
    """Shut while as many are inside as may be. Inside is who has asked all of a question and has not got all of the answer.

    Who drips a body is outside, and keeps nobody else out.
    """

    def __init__(self, most: int, costly: Collection[str], drain: Drain, tell: Callable[[str], None]) -> None:
        """costly: paths of what is refused where it is too much; tell: is told the path of every request that was."""
        self._most, self._drain, self.tell = most, drain, tell
        self.costly = frozenset(path.encode() for path in costly)
        self._inside: set[Hashable] = set()

    @property
    def shut(self) -> bool:
        """Never at the end, when all are told to go elsewhere."""
        return len(self._inside) >= self._most and not self._drain.begun

    def enter(self, who: Hashable) -> None:
        self._inside.add(who)

    def leave(self, who: Hashable) -> None:
        """Also for who is not inside."""
        self._inside.discard(who)
