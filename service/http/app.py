"""create_app(settings): everything put together."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Lifespan

from service.errors import SettingsError
from service.http.cards import card_routes
from service.http.catalogue import catalogue_routes
from service.http.classify import Classifications, classify_routes
from service.http.completions import completion_model_routes, completion_routes
from service.http.control import control_routes
from service.http.cors import Cors
from service.http.docs import docs_routes
from service.http.drain import Drain
from service.http.envelope import Envelope, Teller, refusal_headers
from service.http.gate import Gate
from service.http.generate import Generations, generate_routes
from service.http.health import health_routes
from service.http.hub import hub_routes
from service.http.inference_protocol import protocol_routes
from service.http.keys import Keys
from service.http.lean import LeanRoute
from service.http.playground import playground_routes
from service.http.protocol_metadata import metadata_routes
from service.http.refusals import HANDLERS
from service.http.request_ids import RequestIds
from service.inference.bookmark import Seal
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings
from service.version import VERSION
from service.watch import Watch

if TYPE_CHECKING:
    from service.http.traces import Traces

log = logging.getLogger(__name__)

FOLLOW_S = 0.5  # after which what one process was told to serve is served by the others too


def create_app(settings: Settings, shared: Path | None = None) -> Envelope:
    """The application with its models loaded. Raises SettingsError where it must not start.

    shared: a file through which several processes want the same versions.
    """
    metrics, keys, drain = Metrics(settings.provider), Keys(settings), Drain()
    traces = open_traces() if settings.traces else None
    registry = Registry(settings, metrics, shared)
    seal = Seal(_state_key(settings))
    watches = [Watch(look, settings.poll_s) for look in (drain.until_begun(registry.refresh), keys.refresh)]
    watches += [Watch(drain.until_begun(registry.follow), FOLLOW_S)] if shared else []

    app = _described(_lifespan(watches, registry, traces))
    app.state.registry = registry
    generations, classifications = Generations(settings, registry, seal), Classifications(settings, registry)
    inference = [
        generate_routes(generations),
        classify_routes(classifications),
        hub_routes(generations, classifications),
        completion_routes(generations),
        protocol_routes(generations, classifications),
    ]
    others = [playground_routes()] if settings.playground else []
    others += [
        catalogue_routes(settings, registry),
        card_routes(settings, registry),
        control_routes(settings, registry, keys),
        completion_model_routes(registry),
        metadata_routes(registry, drain),
        docs_routes(app),
    ]
    for router in (*inference, *others, health_routes(registry, drain, metrics)):
        app.include_router(router)
    straight = {route.path: route.app for router in inference for route in router.routes if isinstance(route, LeanRoute)}
    cors = None if settings.cors_origins is None else Cors(settings.cors_origins)
    teller, ids = Teller(metrics, settings.access_log, traces), RequestIds()
    costly = [route.path for router in inference for route in router.routes if isinstance(route, APIRoute)]
    gate = Gate(settings.max_requests, costly, drain, teller.tell_refused, lambda scope: refusal_headers(scope, ids, cors))
    return Envelope(app, straight, teller, ids, keys, drain, gate, cors)


def _described(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(
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


def _lifespan(watches: list[Watch], registry: Registry, traces: "Traces | None") -> Lifespan[FastAPI]:
    """Looks for what has changed while the service runs, and ends everything in order."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for watch in watches:
            watch.start()
        yield
        registry.retire()  # a look may be under way
        for watch in watches:
            await run_in_threadpool(watch.stop)
        await run_in_threadpool(registry.close)
        if traces is not None:
            await run_in_threadpool(traces.close)

    return lifespan


def _state_key(settings: Settings) -> bytes:
    if settings.state_key is not None:
        return settings.state_key.get_secret_value().encode()
    log.warning("SEQSERVE_STATE_KEY is not set: states that clients keep are good until this process ends, and for no other one")
    return secrets.token_bytes(32)


def open_traces() -> "Traces":
    """Raises SettingsError where what they need is not installed, or OTEL_* say what cannot be."""
    try:
        from service.http.traces import Traces
    except ImportError:
        raise SettingsError("SEQSERVE_TRACES: needs OpenTelemetry, which requirements-tracing.lock brings") from None
    try:
        return Traces()
    except ValueError as error:
        raise SettingsError(f"SEQSERVE_TRACES: {error}") from error
