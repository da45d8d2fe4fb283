"""GET /livez, /readyz, /health and /metrics: for the machines that watch this one."""

from fastapi import APIRouter, Response

from service.errors import Unavailable
from service.http import docs, examples
from service.http.drain import Drain
from service.http.schemas import HealthAnswer
from service.metrics import CONTENT_TYPE, Metrics
from service.registry import Registry


def health_routes(registry: Registry, drain: Drain, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    ready = docs.answers({"status": "ready"}, examples.NOT_READY)
    live = docs.answers({"status": "live"})

    @router.get("/livez", summary="The process answers; says nothing of models or load", responses=live)
    async def livez() -> HealthAnswer:
        return HealthAnswer(status="live")

    @router.get(
        "/readyz",
        summary="Models are loaded, their loops run and nobody has told it to stop; a full queue changes nothing",
        responses=ready,
    )
    @router.get("/health", summary="The same as /readyz", responses=ready)
    async def readyz() -> HealthAnswer:
        check_ready(registry, drain)
        return HealthAnswer(status="ready")

    @router.get("/metrics", **docs.text("text/plain", "Prometheus metrics", examples.METRICS))
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return router


def check_ready(registry: Registry, drain: Drain) -> None:
    """Raises Unavailable, with the reasons, where nobody should be sent here."""
    drain.check()
    faults = registry.faults()
    if faults:
        raise Unavailable("; ".join(faults))
