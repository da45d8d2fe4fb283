"""Every request as a span of OpenTelemetry, with spans for its encoding, waiting and inference. Needs the extra `tracing`.

Where spans go, and which, is said in OTEL_* variables, as everywhere.
"""

import time
from collections.abc import Iterator

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from service.http.record import ANSWER, Record
from service.version import VERSION

_PROPAGATOR = TraceContextTextMapPropagator()
_CARRIED = (b"traceparent", b"tracestate")


class Traces:
    """Spans are made when their request is over: while it runs they would only be in the way."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        """exporter: where spans go; None: over HTTP as OTEL_* say."""
        ours = Resource.create({SERVICE_NAME: "seqserve", SERVICE_VERSION: VERSION})
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("seqserve", VERSION)

    def tell(self, scope: Scope, record: Record, route: str) -> None:
        """A request that is over; one with a traceparent becomes a part of that trace."""
        epoch_s = time.time() - time.monotonic()  # spans tell the time of day

        def nanoseconds(moment_s: float) -> int:
            return int((epoch_s + moment_s) * 1e9)

        name, attributes = f"{scope['method']} {route}", _attributes(scope, record, route)
        span = self._tracer.start_span(name, _parent(scope), SpanKind.SERVER, attributes, start_time=nanoseconds(record.began_s))
        if span.is_recording():
            inside = set_span_in_context(span)
            for part, began_s, ended_s in _parts(record):
                self._tracer.start_span(part, inside, start_time=nanoseconds(began_s)).end(nanoseconds(ended_s))
            if record.status >= 500:
                span.set_status(Status(StatusCode.ERROR, record.outcome))
        span.end(nanoseconds(time.monotonic()))

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _parent(scope: Scope) -> Context:
    carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
    return _PROPAGATOR.extract(carrier, Context())


def _attributes(scope: Scope, record: Record, route: str) -> dict[str, str | int]:
    """Names of OpenTelemetry's semantic conventions, and ours."""
    attributes: dict[str, str | int] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": record.status,
        "seqserve.request_id": record.id,
    }
    if record.model:
        attributes["seqserve.model"] = record.model
    if record.ticket is not None:
        attributes["seqserve.inputs"] = record.ticket.parts
    if record.outcome != ANSWER:
        attributes["error.type"] = record.outcome
    return attributes


def _parts(record: Record) -> Iterator[tuple[str, float, float]]:
    """What a request's time went into: names, and from when to when, monotonic."""
    if record.encode_s:
        yield "encode", record.encode_began_s, record.encode_began_s + record.encode_s
    if (ticket := record.ticket) is not None:
        accepted_s, inference_s = ticket.accepted_s, ticket.inference_s
        yield "queue", accepted_s, accepted_s + ticket.queue_s
        if inference_s:
            yield "inference", accepted_s + ticket.queue_s, accepted_s + ticket.queue_s + inference_s
