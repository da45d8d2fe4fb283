"""create_app(settings): everything put together. Owns the middleware and the one place where errors become answers."""

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError, Overloaded, RequestError
from service.http.catalogue import catalogue_routes
from service.http.classify import classify_routes
from service.http.docs import docs_routes
from service.http.exchange import ClientLeft
from service.http.generate import generate_routes
from service.http.health import health_routes
from service.http.schemas import ErrorAnswer
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings
from service.version import VERSION

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLIENT_LEFT = 499  # nginx's number for it; nobody reads it but the metrics


def create_app(settings: Settings) -> FastAPI:
    """The application with its models loaded. Raises SettingsError where it must not start."""
    metrics = Metrics()
    registry = Registry(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
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
        exception_handlers={RequestError: _refuse, HTTPException: _refuse_route, ClientLeft: _leave},
    )
    app.state.registry = registry
    app.include_router(generate_routes(settings, registry))
    app.include_router(classify_routes(settings, registry))
    app.include_router(catalogue_routes(settings, registry))
    app.include_router(health_routes(registry, metrics))
    app.include_router(docs_routes(app))
    app.add_middleware(Envelope, metrics=metrics)
    return app


class Envelope:
    """Around every request: an id, its time, its count, and an answer even where a route breaks."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status = time.monotonic(), 0
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-total-time"] = f"{time.monotonic() - started_s:.6f}"
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request %s: %s %s broke", request_id, scope["method"], scope["path"])
            if not status:
                await error_answer(InternalError("something went wrong here; the log has it under the request id"))(
                    scope, receive, send_with_headers
                )
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.monotonic() - started_s)


def error_answer(error: RequestError) -> Response:
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Overloaded) else None
    return _error(error.status, error.error_type, str(error), headers)


def _error(status: int, error_type: str, sentence: str, headers: dict[str, str] | None = None) -> Response:
    content = ErrorAnswer.model_validate({"error": sentence, "error_type": error_type}).model_dump_json()
    return Response(content, status, headers, media_type="application/json")


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error_answer(error)


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _error(405, "method_not_allowed", f"{path} takes {allowed}, not {request.method}", {"allow": allowed})
    return _error(404, "not_found", f"there is no {path}; /docs lists what there is")


async def _leave(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_LEFT)
