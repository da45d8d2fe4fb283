"""create_app(settings): everything put together. Owns the middleware and the one place where errors become answers."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import Counter, Histogram
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError, Overloaded, RequestError, Unauthorized
from service.http.catalogue import catalogue_routes
from service.http.classify import classify_routes
from service.http.control import control_routes
from service.http.docs import ASSETS, docs_routes
from service.http.drain import Drain
from service.http.exchange import RECEIVED, ClientLeft, LeanRoute, header
from service.http.generate import generate_routes
from service.http.health import health_routes
from service.http.keys import Keys
from service.http.schemas import ErrorAnswer
from service.inference.bookmark import Seal
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings
from service.version import VERSION
from service.watch import Watch

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
WATCHING = frozenset({"/livez", "/readyz", "/health", "/metrics"})
OPEN = WATCHING | {"/docs", "/openapi.json"}  # who has no key may still read what there is to ask
FOLLOW_S = 0.5  # after which what one process was told to serve is served by the others too
_CLIENT_LEFT = 499  # nginx's number for it; nobody reads it but the metrics


def create_app(settings: Settings, shared: Path | None = None) -> "Envelope":
    """The application with its models loaded. Raises SettingsError where it must not start.

    shared: a file through which several processes want the same versions.
    """
    metrics, keys, drain = Metrics(), Keys(settings), Drain()
    registry = Registry(settings, metrics, shared)
    seal = Seal(_state_key(settings))
    watches = [Watch(look, settings.poll_s) for look in (registry.refresh, keys.refresh)]
    watches += [Watch(registry.follow, FOLLOW_S)] if shared else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for watch in watches:
            watch.start()
        yield
        for watch in watches:
            await run_in_threadpool(watch.stop)
        await run_in_threadpool(registry.close)

    app = FastAPI(
        title="seqserve",
        version=VERSION,
        description="Next words and sentence labels from recurrent models. An answer never depends on load.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    app.state.registry = registry
    inference = [generate_routes(settings, registry, seal), classify_routes(settings, registry)]
    others = [catalogue_routes(settings, registry), control_routes(settings, registry, keys), docs_routes(app)]
    for router in (*inference, *others, health_routes(registry, drain, metrics)):
        app.include_router(router)
    straight = {route.path: route.app for router in inference for route in router.routes if isinstance(route, LeanRoute)}
    return Envelope(app, metrics, straight, keys, drain)


def _state_key(settings: Settings) -> bytes:
    if settings.state_key is not None:
        return settings.state_key.get_secret_value().encode()
    log.warning("SEQSERVE_STATE_KEY is not set: states that clients keep are good until this process ends, and for no other one")
    return secrets.token_bytes(32)


class Envelope:
    """Around every request: who may ask and whether anyone may, an id, its time, its count, and an answer whatever it meets."""

    def __init__(
        self, app: FastAPI, metrics: Metrics, straight: Mapping[str, ASGIApp], keys: Keys | None = None, drain: Drain | None = None
    ) -> None:
        """straight: what answers POST requests of these paths; to find it by app's routes costs as much as to read the body."""
        self._app, self._metrics, self._straight, self._keys = app, metrics, straight, keys
        self.drain = drain or Drain()
        self.state = app.state
        self._counters: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        # No secret, only different from all others: asking the system for randomness each time can cost more than the model.
        self._ids, self._number = secrets.token_hex(8), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status = time.monotonic(), 0
        scope[RECEIVED] = started_s
        request_id = self._request_id(scope)
        route = scope["path"] if scope["method"] == "POST" and not scope.get("root_path") else None
        app = self._straight.get(route, self._app) if route else self._app

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                total_s = f"{time.monotonic() - started_s:.6f}".encode()
                message["headers"] += [(b"x-request-id", request_id.encode()), (b"x-total-time", total_s)]
                if self.drain.begun:
                    message["headers"].append((b"connection", b"close"))
            try:
                await send(message)
            except (RuntimeError, OSError) as error:
                if "closed" not in str(error):  # as uvloop says it of a connection that its client has reset
                    raise
                raise ClientLeft from error

        self.drain.running += 1
        try:
            self._admit(scope)
            await app(scope, receive, send_with_headers)
        except Exception as error:
            if not isinstance(error, RequestError | ClientLeft):
                log.error("request %s: %s %s broke", request_id, scope["method"], scope["path"], exc_info=error)
            if not status:
                with suppress(ClientLeft):
                    await answer_to(error)(scope, receive, send_with_headers)
        finally:
            self.drain.running -= 1
            name = route if app is not self._app else getattr(scope.get("route"), "path", "other")
            self._count(str(name), status, time.monotonic() - started_s)

    def end_all(self) -> None:
        """Every request that is running ends now."""
        self.state.registry.close(0.0)

    def _admit(self, scope: Scope) -> None:
        """Raises Unavailable or Unauthorized for who is not answered; machines that watch this one always are."""
        if scope["path"] not in WATCHING:
            self.drain.check()
            if self._keys is not None and scope["path"] not in OPEN and not scope["path"].startswith(ASSETS):
                self._keys.check(scope)

    def _count(self, route: str, status: int, seconds: float) -> None:
        found = self._counters.get((route, status))
        if found is None:
            found = (self._metrics.requests.labels(route, str(status)), self._metrics.request_seconds.labels(route))
            self._counters[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def _request_id(self, scope: Scope) -> str:
        given = header(scope, b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._ids}{next(self._number):012x}"


def answer_to(error: Exception) -> Response:
    """What a client is told of whatever ended its request."""
    if isinstance(error, ClientLeft):
        return Response(status_code=_CLIENT_LEFT)
    if not isinstance(error, RequestError):
        error = InternalError("something went wrong here; the log has it under the request id")
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return _error(error.status, error.error_type, str(error), headers)


def _error(status: int, error_type: str, sentence: str, headers: dict[str, str] | None = None) -> Response:
    content = ErrorAnswer.model_validate({"error": sentence, "error_type": error_type}).model_dump_json()
    return Response(content, status, headers, media_type="application/json")


async def _refuse(_: Request, error: Exception) -> Response:
    return answer_to(error)


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _error(405, "method_not_allowed", f"{path} takes {allowed}, not {request.method}", {"allow": allowed})
    return _error(404, "not_found", f"there is no {path}; /docs lists what there is")


# For the routes that FastAPI finds; what goes straight is answered by the envelope in the same way.
HANDLERS: Any = {HTTPException: _refuse_route, RequestError: _refuse, ClientLeft: _refuse, Exception: _refuse}
