"""service.http.gate and service.http.connection: what is too much is refused before it is read, and costs next to nothing."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import pytest
from pydantic import SecretStr

from service.http.app import create_app
from service.http.drain import Drain
from service.http.envelope import Envelope
from service.http.gate import Gate
from service.settings import Settings
from tests.service.conftest import ENDLESS
from tests.service.http.ask import FOREVER, standing_still
from tests.service.http.forms import ALL, Form, sentence
from tests.service.http.wire import connect, send
from tests.service.process import Server, eventually, serving

MOST = 2
KEEP_ALIVE_S = 5  # uvicorn's


@pytest.fixture
def full(service_settings: Settings) -> Iterator[Server]:
    """Works on as many requests as it may, until the end of the test."""
    settings = service_settings.model_copy(update={"max_requests": MOST, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER})
    app = create_app(settings)
    with serving(app, settings=settings) as server, standing_still(app), connect(server) as one, connect(server) as other:
        for connection in (one, other):
            send(connection, {"inputs": "오늘", "parameters": {"max_new_tokens": FOREVER}})
        eventually(lambda: running(server, app) == MOST)
        yield server


def running(server: Server, app: Envelope) -> int:
    """Requests, asked for in a way that leaves the server time to take some."""
    server.client.get("/livez")
    return app.drain.running


def test_it_is_shut_while_as_many_are_inside_as_may() -> None:
    gate = Gate(2, [], Drain(), lambda _: None, lambda _: [])
    gate.enter("one")
    gate.enter("one")
    assert not gate.shut
    gate.enter("other")
    assert gate.shut
    gate.leave("one")
    gate.leave("one")
    assert not gate.shut


def test_at_the_end_it_leaves_everyone_to_be_told_to_go_elsewhere() -> None:
    drain = Drain()
    gate = Gate(1, [], drain, lambda _: None, lambda _: [])
    gate.enter("one")
    drain.begin()
    assert not gate.shut


ROUTES = ["/generate", "/models/{name}", "/v2/models/{name}/infer"]


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("/generate", "/generate"),
        ("/generate?x=/classify", "/generate"),
        ("/%67enerat%65", "/generate"),
        ("/generate%3F", None),
        ("//generate", None),
        ("/generate/", None),
        ("http://host/generate", "/generate"),
        ("http://host:80/%67enerate?x", "/generate"),
        ("http://host", None),
        ("*", None),
        ("/models/%EC%A7%91", "/models/{name}"),
        ("/models/a/pin", None),
        ("/models/a%2Fpin", None),
        ("/v2/models/a%20b/infer", "/v2/models/{name}/infer"),
    ],
)
def test_however_a_route_is_written_it_is_the_one_that_the_router_finds(url: str, route: str | None) -> None:
    gate = Gate(1, ROUTES, Drain(), lambda _: None, lambda _: [])
    assert gate.costly_route(url.encode()) == route


@pytest.mark.parametrize("target", ["/%67enerate", "/generate%0A", "http://host/generate", "http://host/%67enerate?a=b"])
def test_what_is_too_much_is_refused_however_its_route_is_written_and_counted_as_that_route(full: Server, target: str) -> None:
    labels = {"route": "/generate", "status": "429", "outcome": "overloaded"}
    before = full.metric("seqserve_requests_total", **labels)
    with connect(full) as connection:
        send(connection, {"inputs": "오늘"}, target)
        assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")
    assert full.metric("seqserve_requests_total", **labels) == before + 1


def test_what_is_too_much_gets_429_and_its_connection_is_kept(full: Server) -> None:
    for _ in range(2):
        answer = full.client.post("/generate", json={"inputs": "오늘"})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error_type"] == "overloaded"
        assert "connection" not in answer.headers


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/models", "/metrics"])
def test_what_costs_nothing_is_answered(full: Server, path: str) -> None:
    assert full.client.get(path).status_code == 200


def test_a_refusal_tells_the_requests_id_and_that_a_page_may_read_it(service_settings: Settings) -> None:
    settings = service_settings.model_copy(
        update={"max_requests": 1, "cors_origins": ("https://a.example",), "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER}
    )
    app = create_app(settings)
    with serving(app, settings=settings) as server, standing_still(app), connect(server) as inside:
        send(inside, {"inputs": "오늘", "parameters": {"max_new_tokens": FOREVER}})
        eventually(lambda: running(server, app) == 1)
        given = {"origin": "https://a.example", "x-request-id": "mine-1"}
        answer = server.client.post("/classify", json={"inputs": "오늘"}, headers=given)
    assert answer.status_code == 429
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["x-request-id"] == "mine-1"


def test_it_is_counted(full: Server) -> None:
    before = full.metric("seqserve_requests_total", route="/classify", status="429", outcome="overloaded")
    full.client.post("/classify", json={"inputs": "오늘"})
    assert full.metric("seqserve_requests_total", route="/classify", status="429", outcome="overloaded") == before + 1


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_every_form_is_refused_as_its_clients_know_it_and_counted_by_its_route(form: Form, full: Server) -> None:
    labels = {"route": form.route, "status": "429", "outcome": "overloaded"}
    before = full.metric("seqserve_requests_total", **labels)
    response = form.post(full.client)
    assert sentence(form, response, 429, "overloaded") == "more is asked than can be answered; try again in 1 s"
    assert response.headers["retry-after"] == "1"
    assert full.metric("seqserve_requests_total", **labels) == before + 1


def test_who_changes_what_serves_is_never_refused(full: Server) -> None:
    """An operator may be the one who can help."""
    assert full.client.post(f"/models/{ENDLESS}/load").status_code == 403


def test_a_body_that_comes_after_the_refusal_is_passed_over_and_the_next_request_is_read(full: Server) -> None:
    body = json.dumps({"inputs": "오늘"}).encode()
    head = f"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with connect(full) as connection:
        connection.sendall(head + body[:3])
        assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")
        connection.sendall(body[3:] + b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_who_wants_the_connection_closed_gets_it_closed(full: Server) -> None:
    with connect(full) as connection:
        send(connection, {"inputs": "오늘"})
        told = b"".join(iter(lambda: connection.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 429 ")


def test_when_there_is_room_again_it_is_answered(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"max_requests": 1, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER})
    app = create_app(settings)
    with serving(app, settings=settings) as server:
        with connect(server) as connection:
            send(connection, {"inputs": "오늘", "model": ENDLESS, "parameters": {"max_new_tokens": FOREVER}})
            eventually(lambda: running(server, app) == 1)
            assert server.client.post("/classify", json={"inputs": "오늘"}).status_code == 429
        eventually(lambda: running(server, app) == 0)
        assert server.client.post("/classify", json={"inputs": "오늘"}).status_code == 200


def test_who_drips_a_body_keeps_nobody_out(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"max_requests": 1})
    head = b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
    with serving(create_app(settings), settings=settings) as server, connect(server) as one, connect(server) as other:
        for dripping in (one, other):
            dripping.sendall(head)
        for _ in range(3):
            assert server.client.post("/classify", json={"inputs": "오늘"}).status_code == 200


def test_who_was_refused_and_never_sends_the_rest_gets_one_answer_and_an_end(service_settings: Settings) -> None:
    settings = service_settings.model_copy(
        update={"max_requests": 1, "read_timeout_s": 0.3, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER}
    )
    app = create_app(settings)
    with serving(app, settings=settings) as server, standing_still(app), connect(server) as inside, connect(server) as dripping:
        send(inside, {"inputs": "오늘", "parameters": {"max_new_tokens": FOREVER}})
        eventually(lambda: running(server, app) == 1)
        dripping.sendall(b"POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab")
        told = b"".join(iter(lambda: dripping.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 429 ")
    assert told.count(b"HTTP/1.1 ") == 1


def test_who_has_an_answer_before_the_body_was_there_is_not_inside(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"max_requests": 2, "api_keys": SecretStr("a-key-of-the-tests")})
    head = b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
    right = {"authorization": "Bearer a-key-of-the-tests"}
    with serving(create_app(settings), settings=settings) as server, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(server))
            connection.sendall(head)
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
            connection.sendall(b"12345")
        for _ in range(3):
            assert server.client.post("/classify", json={"inputs": "오늘"}, headers=right).status_code == 200


def test_who_asks_again_and_again_and_never_reads_a_refusal_is_cut_off(full: Server) -> None:
    body = b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
    with connect(full) as connection:
        connection.settimeout(20)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(body * 400_000)


def test_after_a_refusal_the_next_answer_has_all_the_time_that_it_takes(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"max_requests": 1, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER})
    app = create_app(settings)
    asked = json.dumps({"inputs": "오늘", "model": ENDLESS, "stream": True, "parameters": {"max_new_tokens": FOREVER}}).encode()
    request = b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(asked), asked)
    with serving(app, settings=settings) as server, connect(server) as patient:
        with connect(server) as inside:
            send(inside, {"inputs": "오늘", "model": ENDLESS, "parameters": {"max_new_tokens": FOREVER}})
            eventually(lambda: running(server, app) == 1)
            patient.sendall(request[:-1])
            assert patient.recv(65536).startswith(b"HTTP/1.1 429 ")
        eventually(lambda: running(server, app) == 0)
        patient.sendall(request[-1:] + request)
        ends_s = monotonic() + KEEP_ALIVE_S + 1
        while monotonic() < ends_s:
            assert patient.recv(65536)


# Requests that do not wait for the answers to those before them on their connection


def asked(words: int) -> bytes:
    body = json.dumps({"inputs": "오늘", "model": ENDLESS, "parameters": {"max_new_tokens": words}}).encode()
    return b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


HALF = b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
LAST = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


def told(connection: socket.socket) -> list[bytes]:
    """The statuses of all answers until the end, in their order."""
    content = b"".join(iter(lambda: connection.recv(65536), b""))
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", content)


def test_who_asks_for_the_next_answer_before_the_first_is_there_gets_them_in_order(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"max_requests": 1})
    app = create_app(settings)
    with serving(app, settings=settings) as server, connect(server) as connection:
        with standing_still(app):
            connection.sendall(asked(3))
            eventually(lambda: running(server, app) == 1)
            connection.sendall(asked(3) + LAST)  # a refusal of this one would be taken for the answer to the first
            assert server.client.post("/classify", json={"inputs": "오늘"}).status_code == 429
        assert told(connection) == [b"200", b"200", b"200"]


def test_refusals_come_in_order_too(full: Server) -> None:
    with connect(full) as connection:
        connection.sendall(asked(1) + b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n" + LAST.replace(b"/livez", b"/nothing"))
        assert told(connection) == [b"429", b"200", b"404"]


@pytest.mark.parametrize("third", [b"", HALF], ids=["nothing", "the half of a body"])
def test_what_was_asked_before_its_turn_is_inside_when_that_has_come(third: bytes, service_settings: Settings) -> None:
    """Whatever follows it."""
    settings = service_settings.model_copy(update={"max_requests": 1, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER})
    app = create_app(settings)
    with serving(app, settings=settings) as server, connect(server) as connection:
        with standing_still(app):
            connection.sendall(asked(1))
            eventually(lambda: running(server, app) == 1)
            connection.sendall(asked(FOREVER) + third)
            server.client.get("/livez")  # by now it is there
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: server.metric("seqserve_rows_in_use", model=ENDLESS) == 1)
        assert server.client.post("/classify", json={"inputs": "오늘"}).status_code == 429
