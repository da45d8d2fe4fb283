"""service.http.app: one envelope around every request, one form for every error, and nothing done by an import."""

import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.responses import Response as PlainResponse
from starlette.types import Receive, Scope, Send

from service.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestError,
    StateMismatch,
    TooLarge,
    Unavailable,
)
from service.http.app import create_app
from service.http.envelope import Envelope, Teller
from service.http.record import Record
from service.http.refusals import HANDLERS, answer_to
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings
from tests.service.http.ask import PROMPT, classify, generate, refusal, stream
from tests.service.process import ROOT, sample

ROUTES = {
    "/generate": "POST",
    "/generate_stream": "POST",
    "/classify": "POST",
    "/models": "GET",
    "/info": "GET",
    "/livez": "GET",
    "/readyz": "GET",
    "/health": "GET",
    "/metrics": "GET",
    "/docs": "GET",
    "/redoc": "GET",
    "/openapi.json": "GET",
}


def good_request(client: TestClient, path: str) -> Response:
    return client.post(path, json={"inputs": PROMPT}) if ROUTES[path] == "POST" else client.get(path)


# ------------------------------------------------------------------------------------------------------------ routes


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_is_there(path: str, service: TestClient) -> None:
    assert good_request(service, path).status_code == 200


NOWHERE = ["/nothing", "/Generate", "/generate/x", "/v2/generate", "/docs/nothing"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/docs/assets/nothing"), *((method, path) for path in NOWHERE for method in ("GET", "POST", "PUT", "DELETE"))],
)
def test_a_path_that_is_not_there_is_told_and_where_to_look(method: str, path: str, service: TestClient) -> None:
    sentence = refusal(service.request(method, path), 404, "not_found")
    assert sentence == f"there is no {path}; /docs lists what there is"


@pytest.mark.parametrize("path", ["/generate/", "/livez/", "http://testserver//generate"])
def test_a_path_that_is_nearly_there_is_not_there_either(path: str, service: TestClient) -> None:
    """A redirect would name a host that the client made up, and lose the body of some clients."""
    response = service.post(path, json={"inputs": PROMPT}, follow_redirects=False)
    sentence = refusal(response, 404, "not_found")
    if path.endswith("/"):
        assert sentence == f"there is no {path}; {path.rstrip('/')} is there, without a slash at its end"


@pytest.mark.parametrize("path", ["/a%0Ab", "/%ff%fe", "/%00", "/<script>", "/" + "x" * 5000, "/%ED%A0%80"])
def test_a_path_of_any_characters_is_told_in_one_line(path: str, service: TestClient) -> None:
    sentence = refusal(service.get(path), 404, "not_found")
    assert sentence.splitlines() == [sentence]


def test_a_host_header_of_any_form_changes_nothing(service: TestClient) -> None:
    for host in ("[", "a b", "evil.example:99999", ""):
        refusal(service.get("/nothing", headers={"host": host}), 404, "not_found")


FILE = "/docs/assets/swagger-ui.css"
ALLOWED = {path: "GET, HEAD" if method == "GET" else method for path, method in ROUTES.items()}


@pytest.mark.parametrize(
    ("path", "allowed", "method"),
    [
        (path, allowed, method)
        for path, allowed in {**ALLOWED, FILE: "GET, HEAD", "/": "GET, HEAD, POST"}.items()
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
        if method not in allowed
    ],
)
def test_a_wrong_method_is_told_with_the_right_one(path: str, allowed: str, method: str, service: TestClient) -> None:
    response = service.request(method, path)
    assert refusal(response, 405, "method_not_allowed") == f"{path} takes {allowed}, not {method}"
    assert response.headers["allow"] == allowed


READABLE = [path for path, method in ROUTES.items() if method == "GET"]
READABLE += ["/", FILE, "/v1/models", "/v2", "/v2/health/ready", "/v2/models/lstm1-generate", "/models/lstm1-generate/card"]


@pytest.mark.parametrize("path", READABLE)
def test_head_tells_what_get_would_and_nothing_more(path: str, service: TestClient) -> None:
    """As those ask who watch a service, or look whether a file has changed."""
    asked, got = service.head(path), service.get(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    for name in ("content-type", "content-encoding", "vary", "etag", "content-security-policy", "cache-control"):
        assert asked.headers.get(name) == got.headers.get(name)
    if "content-encoding" not in asked.headers:
        assert asked.headers["content-length"] == str(len(got.content))


def test_head_of_what_is_not_there_or_only_takes_a_body_says_so(service: TestClient) -> None:
    assert [service.head(path).status_code for path in ("/nothing", "/models/nothing/card", "/generate", "/v2/models/x/infer")] == [
        *(404, 404, 405, 405)
    ]


def test_a_head_is_counted_by_its_route(service: TestClient) -> None:
    def counted() -> float:
        return sample(service.get("/metrics").text, "seqserve_requests_total", route="/v2", status="200")

    before = counted()
    service.head("/v2")
    assert counted() == before + 1


# ------------------------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize("path", [*ROUTES, "/nothing"])
def test_a_request_id_comes_back(path: str, service: TestClient) -> None:
    given = "Ab.9_-" * 20
    method = ROUTES.get(path, "GET")
    assert service.request(method, path, headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "a\tb", "x" * 129, "<script>", "a;b", "a,b", "é", 'a"b', "a/b"])
def test_a_request_id_that_could_do_harm_in_a_log_is_replaced(given: str, service: TestClient) -> None:
    response = service.get("/livez", headers=[(b"x-request-id", given.encode())])
    assert re.fullmatch("[0-9a-f]{16,}", response.headers["x-request-id"])


def test_requests_without_an_id_get_one_each(service: TestClient) -> None:
    ids = {service.get("/livez").headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10
    assert all(re.fullmatch("[0-9a-f]{16,}", one) for one in ids)


@pytest.mark.parametrize("path", [*ROUTES, "/nothing"])
def test_every_answer_says_how_long_it_took_in_seconds(path: str, service: TestClient) -> None:
    response = service.request(ROUTES.get(path, "GET"), path)
    assert re.fullmatch(r"\d+\.\d{6}", response.headers["x-total-time"])
    assert 0 < float(response.headers["x-total-time"]) < 60


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
def test_an_inference_says_which_model_answered_and_where_the_time_went(path: str, service: TestClient) -> None:
    headers = good_request(service, path).headers
    assert re.fullmatch(r"[a-z0-9-]+/\d+", headers["x-model"])
    for name in ("x-queue-time", "x-inference-time"):
        assert re.fullmatch(r"\d+\.\d{6}", headers[name])
    queue, inference, total = (float(headers[f"x-{name}-time"]) for name in ("queue", "inference", "total"))
    assert queue >= 0
    assert inference > 0
    assert queue + inference <= total


def test_a_longer_inference_says_so(service: TestClient) -> None:
    short, long = (
        float(
            service.post("/generate", json={"inputs": PROMPT, "parameters": {"max_new_tokens": words}}).headers["x-inference-time"]
        )
        for words in (1, 500)
    )
    assert long > 10 * short


def test_the_body_of_an_answer_does_not_tell_the_time(service: TestClient) -> None:
    for path in ("/generate", "/generate_stream", "/classify"):
        assert good_request(service, path).content == good_request(service, path).content


# ------------------------------------------------------------------------------------------------- errors and the envelope


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (InvalidRequest("a sentence"), 422, "validation"),
        (NotFound("a sentence"), 404, "not_found"),
        (StateMismatch("a sentence"), 409, "state_mismatch"),
        (TooLarge("a sentence"), 413, "too_large"),
        (Overloaded("a sentence", retry_after_s=7), 429, "overloaded"),
        (Unavailable("a sentence"), 503, "unavailable"),
        (DeadlineExceeded("a sentence"), 504, "deadline"),
        (InternalError("a sentence"), 500, "internal"),
    ],
)
def test_every_error_of_the_tree_becomes_an_answer(error: RequestError, status: int, error_type: str) -> None:
    record = Record("an-id")
    answer = answer_to(error, record)
    assert record.outcome == error_type
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)) == {"error": "a sentence", "error_type": error_type}
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def broken(metrics: Metrics) -> Iterator[TestClient]:
    """The envelope around routes that do what ours must never do."""

    async def breaks(_: Request) -> PlainResponse:
        raise RuntimeError("the password is 1234")

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the password is 1234")

    async def breaks_within(_: Request) -> PlainResponse:
        return StreamingResponse(half())

    async def works(_: Request) -> PlainResponse:
        return PlainTextResponse("fine")

    app = FastAPI(exception_handlers=HANDLERS)
    for path, route in (("/breaks", breaks), ("/half", breaks_within), ("/works", works)):
        app.add_api_route(path, route, response_model=None)

    async def breaks_straight(scope: Scope, receive: Receive, send: Send) -> None:
        await (await breaks(Request(scope, receive)))(scope, receive, send)

    with TestClient(Envelope(app, {"/straight": breaks_straight}, Teller(metrics))) as client:
        yield client


def counted(registry: CollectorRegistry, route: str, status: int, outcome: str = "internal") -> float | None:
    labels = {"route": route, "model": "", "status": str(status), "outcome": outcome}
    return registry.get_sample_value("seqserve_requests_total", labels)


@pytest.mark.parametrize(("method", "path"), [("GET", "/breaks"), ("POST", "/straight")])
def test_a_route_that_breaks_is_answered_in_our_form_without_anything_internal(
    method: str, path: str, broken: TestClient, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    response = broken.request(method, path, headers={"x-request-id": "my-id"})
    sentence = refusal(response, 500, "internal")
    assert "password" not in response.text
    assert "RuntimeError" not in sentence
    assert response.headers["x-request-id"] == "my-id"
    assert float(response.headers["x-total-time"]) > 0
    assert counted(metrics.registry, path, 500) == 1
    (record,) = [record for record in caplog.records if record.name == "service.http.envelope"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert broken.get("/works").text == "fine"


def test_a_route_that_breaks_in_the_middle_of_its_answer_sends_no_second_one(broken: TestClient, metrics: Metrics) -> None:
    response = broken.get("/half")
    assert "password" not in response.text
    assert response.text == "half"
    assert counted(metrics.registry, "/half", 200) == 1
    assert broken.get("/works").status_code == 200


def test_a_client_writes_nothing_into_the_log_that_looks_like_another_line(
    broken: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    broken.get("/breaks?x=%0Afake", headers=[(b"x-request-id", b"fake line")])
    broken.get("/breaks%0AERROR%20fake")
    assert all("\n" not in record.getMessage() for record in caplog.records if record.name.startswith("service"))


def test_what_is_no_http_passes_the_envelope_by(metrics: Metrics, service_settings: Settings) -> None:
    with TestClient(create_app(service_settings)) as client:  # its start and stop are messages that are no requests
        assert generate(client, max_new_tokens=1)


def test_pages_of_other_hosts_may_not_read_answers(service: TestClient) -> None:
    for method in ("POST", "OPTIONS"):
        asking = {"origin": "https://example.org", "access-control-request-method": "POST"}
        response = service.request(method, "/classify", json={"inputs": PROMPT}, headers=asking)
        assert response.status_code == (200 if method == "POST" else 405)
        assert not [name for name in response.headers if name.startswith("access-control")]


# ------------------------------------------------------------------------------------------------------------ metrics


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
def test_an_inference_is_counted_by_its_route_and_status(path: str, service: TestClient) -> None:
    """Though these routes pass by what FastAPI does around a route."""

    def told(status: int) -> float:
        return sample(service.get("/metrics").text, "seqserve_requests_total", route=path, status=str(status))

    def timed() -> float:
        return sample(service.get("/metrics").text, "seqserve_request_seconds_count", route=path)

    bodies: dict[int, Any] = {200: {"inputs": PROMPT}, 422: {"inputs": 5}, 404: {"inputs": PROMPT, "model": "nothing"}, 413: None}
    for status, body in bodies.items():
        before = told(status), timed()
        content = b" " * 1_000_001 if body is None else json.dumps(body).encode()
        assert service.post(path, content=content).status_code == status
        assert (told(status), timed()) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("number", [3, 40])
def test_after_many_requests_no_row_is_in_use_nothing_waits_and_every_input_has_ended(number: int, settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        for index in range(number):
            options: dict[str, Any] = {"max_new_tokens": 1 + index % 9, "seed": index, "do_sample": True}
            generate(client, [PROMPT] * (1 + index % 3), n=1 + index % 2, **options)
            stream(client, **options)
            classify(client, [PROMPT] * (1 + index % 3))
        metrics = client.get("/metrics").text
    inputs = sum(1 + index % 3 for index in range(number))
    candidates = sum((1 + index % 3) * (1 + index % 2) for index in range(number))
    for model, count in ((settings.generate_model, candidates + number), (settings.classify_model, inputs)):
        assert sample(metrics, "seqserve_rows_in_use", model=model) == 0
        assert sample(metrics, "seqserve_waiting", model=model) == 0
        assert sample(metrics, "seqserve_inputs_total", model=model, outcome="answer") == count
    for route in ("/generate", "/generate_stream", "/classify"):
        assert sample(metrics, "seqserve_requests_total", route=route, status="200") == number


# ------------------------------------------------------------------------------------------------------------ imports

REPORT = """
import json, sys, threading
import service.http.app
heavy = sorted(name for name in sys.modules if name.split(".")[0] in %r)
print(json.dumps({"heavy": heavy, "threads": [thread.name for thread in threading.enumerate()]}))
"""
HEAVY = ["torch", "onnx", "training", "datasets", "sklearn", "matplotlib", "accelerate", "transformers", "pandas", "tests"]


def test_importing_the_application_loads_nothing_of_training_and_starts_no_thread() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", REPORT % HEAVY], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["heavy"] == []
    assert report["threads"] == ["MainThread"]


# The end


@pytest.mark.parametrize("look", ["refresh", "follow"])
def test_when_the_end_has_begun_nobody_looks_for_versions_any_more(
    look: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked = threading.Event()
    monkeypatch.setattr("service.http.app.FOLLOW_S", 0.01)
    monkeypatch.setattr(Registry, look, lambda *_, **__: looked.set())
    app = create_app(settings.model_copy(update={"poll_s": 0.01}), tmp_path / "choices.json")
    looked.clear()
    with TestClient(app):
        assert looked.wait(10)
        app.drain.begin()
        looked.wait(0.1)  # one may have been under way
        looked.clear()
        assert not looked.wait(0.2)


def test_a_look_that_is_under_way_is_cut_short_by_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one is that waits for a version to go: its answers may take longer than the process has."""
    looked, retired, retire = threading.Event(), threading.Event(), Registry.retire

    def follow(_: Registry) -> None:
        looked.set()
        retired.wait(60)

    def tell(registry: Registry) -> None:
        retire(registry)
        retired.set()

    monkeypatch.setattr("service.http.app.FOLLOW_S", 0.01)
    monkeypatch.setattr(Registry, "follow", follow)
    monkeypatch.setattr(Registry, "retire", tell)
    with TestClient(create_app(settings, tmp_path / "choices.json")):
        assert looked.wait(10)
        began_s = monotonic()
    assert monotonic() - began_s < 30
