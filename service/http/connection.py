"""One client's connection: uvicorn's, with bounds on how much is sent before a request begins and on how long that takes."""

import asyncio
import math
from typing import Any, ClassVar, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.errors import Overloaded
from service.http.completion_schemas import UNDER
from service.http.gate import Gate
from service.http.refusals import unread
from service.http.stream import ABORT

UNREAD_BYTES = 4096  # refusals that a client asks for and does not read
HEADERS = 100  # of a request: each costs ten times what a line of five bytes has
UNFINISHED_BYTES = 8_000_000  # of all heads that are not all there yet
_TOO_MANY = "more is asked than can be answered; try again in 1 s"


# Ready, for it must cost far less than an answer.
_REFUSAL, _REFUSAL_TO_OPENAI = (unread(Overloaded.status, Overloaded.error_type, _TOO_MANY, path) for path in ("", UNDER))


class Unfinished:
    """Heads of all connections that are not all there yet."""

    def __init__(self) -> None:
        self.bytes = 0


class Connection(HttpToolsProtocol):
    """May be cut off by a response; and its client must begin a request in time, and with few words, and while the gate is open.

    Closing one waits until its client has read everything, which may be never: it has a while for that.
    """

    max_head_bytes: ClassVar[int]
    read_timeout_s: ClassVar[float]
    gate: ClassVar[Gate | None]
    unfinished: ClassVar[Unfinished]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refused = self._turned_away = self._in_head = False
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unfinished = 0
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._leave()
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        self._unparsed += len(data)
        self._read(data)
        if self._timer is not None:
            self._look_at_unfinished()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes, self._in_head = 0, True
        cast(dict[str, Any], self.scope)[ABORT] = self.transport.abort

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head or self._refused:
            return  # what stands after a body in chunks is for nobody
        self._head_bytes += len(name) + len(value) + 4  # colon, space and the end of the line
        super().on_header(name, value)
        if len(self.headers) > HEADERS:
            self._refuse(431, "too_large", f"the request has more than {HEADERS} headers")

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        if self._head_bytes > self.max_head_bytes:
            self._refuse_head()
            return
        if self._offers_another_protocol():
            return  # it comes once more
        self._end_head()
        self._in_head = False
        self._unset_keepalive_if_required()  # of an answer in the same packet
        if (route := self._too_much()) is not None:
            self._turn_away(route)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0  # this may be what is left of a request that was answered before it was there: no header
        if not self._refused and not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offers_another_protocol():
            return
        if self._turned_away:
            self._turned_away = False
            self._end_head()
            self._keep_or_close()
        elif not self._refused:
            super().on_message_complete()
            self._enter()

    def on_response_complete(self) -> None:
        self._leave()
        super().on_response_complete()
        self._enter()  # with the next one, if that was sent meanwhile
        if self.transport.is_closing():
            self._abort_unless_read()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_unless_read()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "validation", "this is no HTTP request")

    def _read(self, data: bytes) -> None:
        """As uvicorn's data_received, except for requests whose clients would rather speak HTTP/2 or WebSocket, as Java's do.

        They may be answered as if they would not. The parser leaves their bodies to the other protocol: so that they are read as
        bodies, each comes once more without the offer.
        """
        self._unset_keepalive_if_required()
        unread: list[bytes | memoryview] = [data]  # the next last
        while unread and not self._refused:
            part = unread.pop()
            try:
                self.parser.feed_data(part)
            except HttpParserError as error:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response(str(error))
                return
            except HttpParserUpgrade as offer:
                if self._offers_another_protocol():
                    unread += [memoryview(part)[offer.args[0] :], self._head_without_offer()]
                    self.parser = HttpRequestParser(self)  # this one reads no more where the connection is to close
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's

    def _offers_another_protocol(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return line + b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade") + b"\r\n"

    def _too_much(self) -> str | None:
        """The route of what costs work, and does not follow on a request that is still being answered on this connection."""
        if self.gate is None or not self.gate.shut or self.parser.get_method() != b"POST":
            return None
        return self.gate.costly_route(self.url) if self.cycle is None or self.cycle.response_complete else None

    def _turn_away(self, route: str) -> None:
        """The body is still to come, and gets the time that headers have."""
        assert self.gate is not None
        self._turned_away = True
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.transport.abort()
            return
        self.transport.write((_REFUSAL_TO_OPENAI if route.startswith(UNDER) else _REFUSAL) % self._headers_of_refusal())
        self.gate.tell(route)
        self._await_head()

    def _headers_of_refusal(self) -> bytes:
        """Beside its own, by what is known of the request so far."""
        told = [] if self.gate is None else self.gate.headers(cast(Scope, self.scope))
        return b"".join(b"%b: %b\r\n" % header for header in told)

    def _keep_or_close(self) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self.parser.should_keep_alive():
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        else:
            self.transport.close()
            self._abort_unless_read()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """cycle may be no more uvicorn's own, which is the last that was sent."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _enter(self) -> None:
        """Who has asked all of a question, and has not got all of the answer: one may be answered before it was all there."""
        if self.gate is not None and self._running is not None and not (self._running.more_body or self._running.response_complete):
            self.gate.enter(self)

    def _leave(self) -> None:
        if self.gate is not None:
            self.gate.leave(self)

    def _await_head(self) -> None:
        self._unparsed = self._head_bytes = 0
        # Until the request begins: those of the last one are not its own.
        self.url, self.scope = b"", cast(Any, {"headers": []})
        self._timer = self.loop.call_later(self.read_timeout_s, self._give_up)

    def _look_at_unfinished(self) -> None:
        """Who begins requests and does not end them, by the thousand, must not fill the memory."""
        self._hold(self._unparsed)
        if self._unparsed > self.max_head_bytes:
            self._refuse_head()
        elif self.unfinished.bytes > UNFINISHED_BYTES:
            self._refuse(Overloaded.status, Overloaded.error_type, "too many requests are on their way; try again")

    def _hold(self, count: int) -> None:
        self.unfinished.bytes += count - self._unfinished
        self._unfinished = count

    def _end_head(self) -> None:
        self._hold(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        """A client that has sent nothing is not told anything: nothing was asked, or it was refused already."""
        if self._unparsed and not self._turned_away:
            self._refuse(408, "deadline", "the headers of the request did not come in time")
        else:
            self.transport.close()
            self._abort_unless_read()

    def _refuse_head(self) -> None:
        self._refuse(431, "too_large", f"the request's line and headers have more than {self.max_head_bytes} bytes")

    def _refuse(self, status: int, error_type: str, sentence: str) -> None:
        """An answer without a whole request, and the end of the connection."""
        self._end_head()
        self._refused = True
        answer = unread(status, error_type, sentence, self.url.decode("latin-1"), closes=True)
        self.transport.write(answer % self._headers_of_refusal())
        self.transport.close()
        self._abort_unless_read()

    def _abort_unless_read(self, before: float = math.inf) -> None:
        """A connection that was closed stays for as long as its client reads, however slowly."""
        left = self.transport.get_write_buffer_size()
        if left >= before:
            self.transport.abort()
        elif left:
            self.loop.call_later(self.read_timeout_s, self._abort_unless_read, left)


def bounded(max_head_bytes: int, read_timeout_s: float, gate: Gate | None = None) -> type[Connection]:
    """Connections with these bounds: uvicorn makes them, and knows none."""
    bounds = {"max_head_bytes": max_head_bytes, "read_timeout_s": read_timeout_s, "gate": gate, "unfinished": Unfinished()}
    return type("BoundedConnection", (Connection,), bounds)
