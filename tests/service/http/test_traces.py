"""service.http.traces: a request is a span, in the trace of whoever asked, with what its time went into inside."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from service.errors import SettingsError
from service.http.app import create_app
from service.settings import Settings
from service.version import VERSION
from tests.service.http.ask import PROMPT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Whom traces are sent to, over HTTP."""

    def __init__(self) -> None:
        self.received: list[ResourceSpans] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.received += ExportTraceServiceRequest.FromString(body).resource_spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def spans(self) -> list[Span]:
        return [span for resource in self.received for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server.server_port}")
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def asked(settings: Settings, path: str, headers: dict[str, str] | None = None, **body: object) -> None:
    """One request to a service that tells of it before it has ended."""
    with TestClient(create_app(settings.model_copy(update={"traces": True}))) as client:
        client.post(path, json=body, headers=headers)


def told(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
def test_a_request_is_a_span_with_its_parts_inside(path: str, collector: Collector, settings: Settings) -> None:
    asked(settings, path, {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "an-id"}, inputs=PROMPT)
    *parts, whole = sorted(collector.spans, key=lambda span: (span.name.startswith("POST"), span.start_time_unix_nano))
    assert whole.name == f"POST {path}"
    assert (whole.trace_id.hex(), whole.parent_span_id.hex(), whole.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    model = settings.classify_model if path == "/classify" else settings.generate_model
    expected = {
        "http.request.method": "POST",
        "http.route": path,
        "http.response.status_code": 200,
        "seqserve.request_id": "an-id",
        "seqserve.model": model,
        "seqserve.inputs": 1,
    }
    assert told(whole) == expected
    assert [part.name for part in parts] == ["encode", "queue", "inference"]
    for part in parts:
        assert (part.trace_id.hex(), part.parent_span_id) == (TRACE, whole.span_id)
        assert whole.start_time_unix_nano <= part.start_time_unix_nano <= part.end_time_unix_nano <= whole.end_time_unix_nano


def test_without_a_traceparent_a_trace_begins_here(collector: Collector, settings: Settings) -> None:
    asked(settings, "/classify", {"traceparent": "nonsense"}, inputs=PROMPT)
    roots = [span for span in collector.spans if not span.parent_span_id]
    assert [root.name for root in roots] == ["POST /classify"]
    assert len({span.trace_id for span in collector.spans}) == 1


def test_who_asked_says_whether_a_trace_is_kept(collector: Collector, settings: Settings) -> None:
    asked(settings, "/classify", {"traceparent": f"00-{TRACE}-{PARENT}-00"}, inputs=PROMPT)
    assert collector.spans == []


def test_a_refused_request_has_no_parts_and_says_why(collector: Collector, settings: Settings) -> None:
    asked(settings, "/classify", inputs=5)
    (span,) = collector.spans
    assert told(span)["error.type"] == "validation"
    assert span.status.code == Status.STATUS_CODE_UNSET  # a client's fault is no error of a server's span


def test_our_own_faults_are_errors(collector: Collector, settings: Settings) -> None:
    asked(settings, "/classify", {"x-request-timeout": "0"}, inputs=PROMPT)
    (span,) = collector.spans
    assert told(span)["error.type"] == "deadline"
    assert span.status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(("environment", "name"), [({}, "seqserve"), ({"OTEL_SERVICE_NAME": "ours"}, "ours")])
def test_who_sends_them_is_told_as_the_environment_says(
    environment: dict[str, str], name: str, collector: Collector, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    asked(settings, "/classify", inputs=PROMPT)
    attributes = {one.key: one.value.string_value for one in collector.received[0].resource.attributes}
    assert (attributes["service.name"], attributes["service.version"]) == (name, VERSION)


def test_where_nobody_listens_requests_are_answered_all_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with TestClient(create_app(settings.model_copy(update={"traces": True}))) as client:
        assert client.post("/classify", json={"inputs": PROMPT}).status_code == 200


def test_without_the_extra_it_says_what_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "service.http.traces", None)
    with pytest.raises(SettingsError, match=r"SEQSERVE_TRACES: needs OpenTelemetry, which requirements-tracing.lock brings"):
        create_app(settings.model_copy(update={"traces": True}))


def test_what_the_environment_says_and_cannot_be_is_told_in_a_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(
        SettingsError, match=r"^SEQSERVE_TRACES: max_export_batch_size must be less than or equal to max_queue_size"
    ):
        create_app(settings.model_copy(update={"traces": True}))
