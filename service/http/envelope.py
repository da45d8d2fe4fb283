"""Around every request: who may ask and whether anyone may, an id, an answer whatever it meets, and what is told of it."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded, RequestError
from service.http.compression import Packer, packer
from service.http.cors import Cors, Headers
from service.http.docs import ASSETS
from service.http.drain import Drain
from service.http.exchange import ClientLeft
from service.http.gate import Gate
from service.http.keys import Keys
from service.http.playground import FILES
from service.http.record import LEFT, Record, open_record
from service.http.refusals import answer_to
from service.http.request_ids import RequestIds
from service.logs import REQUEST_ID
from service.metrics import Metrics

if TYPE_CHECKING:
    from service.http.traces import Traces

log = logging.getLogger(__name__)
access_log = logging.getLogger("service.access")

WATCHING = frozenset({"/livez", "/readyz", "/health", "/metrics", "/v2/health/live", "/v2/health/ready"})
# Who has no key may still read what there is to ask, and the page that asks for one.
OPEN = WATCHING | {"/", "/docs", "/redoc", "/openapi.json"}
OPEN_FILES = (ASSETS, FILES)


class Teller:
    """Tells of a request that is over: the metrics always, the log and the traces where they are wanted."""

    def __init__(self, metrics: Metrics, logs: bool = False, traces: "Traces | None" = None) -> None:
        self._metrics, self._logs, self._traces = metrics, logs, traces
        self._known: dict[tuple[str, str, int, str], Collectors] = {}

    def tell(self, scope: Scope, record: Record, route: str) -> None:
        """route: as it was written, not as it was asked for."""
        seconds = record.total_s
        key = (route, record.model, record.status, record.outcome)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Collectors(self._metrics, *key)
        found.observe(record, seconds)
        if self._logs:
            _log_access(scope, record, route, seconds)
        if self._traces is not None:
            self._traces.tell(scope, record, route)

    def tell_refused(self, route: str) -> None:
        """Of one that was not read."""
        key = (route, "", Overloaded.status, Overloaded.error_type)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Collectors(self._metrics, *key)
        found.count()


class Collectors:
    """Those of one way in which requests end, looked up once: the labels cost as much as the counting."""

    def __init__(self, metrics: Metrics, route: str, model: str, status: int, outcome: str) -> None:
        self._requests = metrics.requests.labels(route, model, str(status), outcome)
        self._request_seconds = metrics.request_seconds.labels(route, model)
        self._encode_seconds = metrics.encode_seconds.labels(model) if model else None

    def count(self) -> None:
        self._requests.inc()
        self._request_seconds.observe(0.0)

    def observe(self, record: Record, seconds: float) -> None:
        self._requests.inc()
        self._request_seconds.observe(seconds)
        if self._encode_seconds is not None and record.encode_s:
            self._encode_seconds.observe(record.encode_s)


class Envelope:
    """The application that the server runs."""

    def __init__(
        self,
        app: FastAPI,
        straight: Mapping[str, ASGIApp],
        teller: Teller,
        ids: RequestIds | None = None,
        keys: Keys | None = None,
        drain: Drain | None = None,
        gate: Gate | None = None,
        cors: Cors | None = None,
    ) -> None:
        """straight: what answers POST requests of these paths; to find it by app's routes costs as much as to read the body.

        gate: for the connections, which ask it before a request gets here.
        """
        self._app, self._straight, self._teller, self._keys, self._cors = app, straight, teller, keys, cors
        self.drain = drain or Drain()
        self.gate = gate
        self.state = app.state
        self._ids = ids or RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = open_record(scope, self._ids.of(scope))
        REQUEST_ID.set(record.id)  # a request has a task of its own, and a task a context
        path = scope["path"] if scope["method"] == "POST" and not scope.get("root_path") else ""
        straight = self._straight.get(path)
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # the server leaves the body away
        self.drain.running += 1
        try:
            await self._answer(straight or self._app, asked, receive, self._sender(scope, send, record), record)
        finally:
            self.drain.running -= 1
            self._teller.tell(scope, record, path if straight else str(getattr(asked.get("route"), "path", "other")))

    def end_all(self) -> None:
        """Every request that is running ends now."""
        self.state.registry.close(0.0)

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        try:
            preflight = None if self._cors is None else self._cors.preflight(scope)
            if preflight is None:
                self._admit(scope)
            await (preflight or app)(scope, receive, send)
        except Exception as error:
            if not isinstance(error, RequestError | ClientLeft):
                log.error("%s %s broke", scope["method"], scope["path"], exc_info=error)
            answer = answer_to(error, record, scope["path"])
            if not record.status:
                with suppress(ClientLeft):
                    await answer(scope, receive, send)

    def _sender(self, scope: Scope, send: Send, record: Record) -> Send:
        """send, with headers of ours, and packed where that is worth it."""
        packing: Packer | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal packing
            if packing is not None:
                message = await packing.pack(message)
            elif message["type"] == "http.response.start":
                packing = packer(scope, message)
                record.status = message["status"]
                total_s = f"{record.total_s:.6f}".encode()
                message["headers"] += [(b"x-request-id", record.id.encode()), (b"x-total-time", total_s)]
                if self._cors is not None:
                    message["headers"] += self._cors.headers(scope)
                if self.drain.begun:
                    message["headers"].append((b"connection", b"close"))
            try:
                await send(message)
            except (RuntimeError, OSError) as error:
                if "closed" not in str(error):  # as uvloop says it of a connection that its client has reset
                    raise
                record.outcome = LEFT
                raise ClientLeft from error

        return send_with_headers

    def _admit(self, scope: Scope) -> None:
        """Raises Unavailable or Unauthorized for who is not answered; machines that watch this one always are."""
        if scope["path"] not in WATCHING:
            self.drain.check()
            if self._keys is not None and not _is_open(scope):
                self._keys.check(scope)


def refusal_headers(scope: Scope, ids: RequestIds, cors: Cors | None) -> Headers:
    """Of a request that does not get here: what its client, or a page, must find to make sense of the answer."""
    return [(b"x-request-id", ids.of(scope).encode()), *([] if cors is None else cors.headers(scope))]


def _is_open(scope: Scope) -> bool:
    """Whether it is read without a key; what is sent to the same address may need one."""
    return scope["method"] == "GET" and (scope["path"] in OPEN or scope["path"].startswith(OPEN_FILES))


def _log_access(scope: Scope, record: Record, route: str, seconds: float) -> None:
    """A line a request, with what its time went into."""
    told: dict[str, object] = {"route": route, "status": record.status, "outcome": record.outcome, "total_s": round(seconds, 6)}
    if record.model:
        told |= {"model": record.model, "encode_s": round(record.encode_s, 6)}
    if (ticket := record.ticket) is not None:
        told |= {"inputs": ticket.parts, "queue_s": round(ticket.queue_s, 6), "inference_s": round(ticket.inference_s, 6)}
    access_log.info("%s %s", scope["method"], route, extra=told)
