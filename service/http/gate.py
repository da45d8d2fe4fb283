"""Who is refused before his request is read. What is more than a process can answer would else wait, unseen, where the system keeps
connections and bytes until somebody takes them: for seconds, and without ever being refused. Knows no models.
"""

from collections.abc import Callable, Collection, Hashable
from urllib.parse import unquote

from httptools import parse_url
from starlette.routing import compile_path
from starlette.types import Scope

from service.http.cors import Headers
from service.http.drain import Drain


class Gate:
    """Shut while as many are inside as may be. Inside is who has asked all of a question and has not got all of the answer.

    Who drips a body is outside, and keeps nobody else out.
    """

    def __init__(
        self, most: int, costly: Collection[str], drain: Drain, tell: Callable[[str], None], headers: Callable[[Scope], Headers]
    ) -> None:
        """costly: routes, as they are written, that are refused where it is too much; tell: is told the route of each that was.

        headers: what a refusal of this request has, beside its own.
        """
        self._most, self._drain, self.tell, self.headers = most, drain, tell, headers
        self._plain = {route.encode(): route for route in costly if "{" not in route}
        self._all = [(compile_path(route)[0], route) for route in costly]
        self._inside: set[Hashable] = set()

    @property
    def shut(self) -> bool:
        """Never at the end, when all are told to go elsewhere."""
        return len(self._inside) >= self._most and not self._drain.begun

    def costly_route(self, url: bytes) -> str | None:
        """The one that is asked for, if it is one of those that are refused.

        A path may be written in many ways: it is read as the server reads it, and matched as the router matches it.
        """
        if (plain := self._plain.get(url)) is not None:
            return plain
        path = unquote((parse_url(url).path or b"").decode("ascii"))
        return next((route for pattern, route in self._all if pattern.match(path)), None)

    def enter(self, who: Hashable) -> None:
        self._inside.add(who)

    def leave(self, who: Hashable) -> None:
        """Also for who is not inside."""
        self._inside.discard(who)
