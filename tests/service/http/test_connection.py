"""service.http.connection: clients that send too much or too slowly, and clients that do not read, cost little and not for long."""

import http.client
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from service.http.app import create_app
from service.http.completion_schemas import CompletionError
from service.http.connection import HEADERS
from service.settings import Settings
from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT
from tests.service.http.wire import connect
from tests.service.process import Server, running, serving

READ_TIMEOUT_S = 0.6
MOST = 2_000


@pytest.fixture(scope="module")
def bounded(service_settings: Settings) -> Iterator[Server]:
    changes = {"read_timeout_s": READ_TIMEOUT_S, "max_header_bytes": MOST}
    settings = service_settings.model_copy(update=changes)
    with serving(create_app(settings), settings=settings) as server:
        yield server


def rest(connection: socket.socket) -> bytes:
    """Everything until the connection is closed."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


def told(answer: bytes) -> tuple[int, str]:
    """The status and the word of an error in the form of all others."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    error = json.loads(body)
    assert error.keys() == {"error", "error_type"}
    return int(head.split()[1]), error["error_type"]


def test_a_request_with_headers_within_the_bound_is_answered(bounded: Server) -> None:
    assert bounded.client.get("/livez", headers={"x-more": "a" * (MOST - 500)}).status_code == 200


@pytest.mark.parametrize("head", ["x-more: {}", "x-{}: more", "x: y\r\n{}"], ids=["value", "name", "many"])
@pytest.mark.parametrize("ended", [True, False])
def test_headers_beyond_the_bound_are_refused(head: str, ended: bool, bounded: Server) -> None:
    many = "\r\n".join(f"x-{number}: y" for number in range(MOST // 8))
    lines = head.format(many if head.startswith("x: ") else "a" * MOST)
    with connect(bounded) as connection:
        connection.sendall(f"GET /livez HTTP/1.1\r\nhost: a\r\n{lines}\r\n{'' if not ended else chr(13) + chr(10)}".encode())
        assert told(rest(connection)) == (431, "too_large")


@pytest.mark.parametrize(("count", "status"), [(HEADERS, 200), (HEADERS + 1, 431)])
def test_a_request_has_so_many_headers_and_no_more(count: int, status: int, bounded: Server) -> None:
    """Each costs far more memory than its line has bytes."""
    with connect(bounded) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nconnection: close\r\n" + b"a:b\r\n" * (count - 1) + b"\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 %d " % status)


def test_what_stands_after_a_body_in_chunks_is_not_kept(service_models: Path) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": 1}}).encode()
    head = b"POST /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    with running(models=service_models, generate_model=ENDLESS) as process:
        assert process.client.post("/generate", content=body).status_code == 200
        before = process.metric("process_resident_memory_bytes")
        with socket.create_connection(("127.0.0.1", process.port), timeout=60) as connection:
            connection.sendall(head + b"%x\r\n%b\r\n0\r\n" % (len(body), body) + b"a:b\r\n" * 800_000)
            assert process.client.get("/livez").status_code == 200
            grown = process.metric("process_resident_memory_bytes") - before
            connection.sendall(b"\r\n")
            assert rest(connection).startswith(b"HTTP/1.1 200 ")
    assert grown < 30_000_000


def test_requests_that_are_begun_by_the_thousand_and_not_ended_are_refused(
    bounded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.connection.UNFINISHED_BYTES", 1_000)
    begun = b"GET /livez HTTP/1.1\r\nx: " + b"a" * 600
    with connect(bounded) as one:
        one.sendall(begun)
        assert bounded.client.get("/livez").status_code == 200  # by now it has been read
        with connect(bounded) as other:
            other.sendall(begun)
            refused = rest(other)
        assert told(refused) == (429, "overloaded")
        assert b"\r\nretry-after: 1\r\n" in refused
        one.sendall(b"\r\nconnection: close\r\n\r\n")
        assert rest(one).startswith(b"HTTP/1.1 200 ")
    with connect(bounded) as another:
        another.sendall(begun + b"\r\nconnection: close\r\n\r\n")
        assert rest(another).startswith(b"HTTP/1.1 200 ")


def test_an_address_beyond_the_bound_is_refused(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(f"GET /{'a' * MOST} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        assert told(rest(connection)) == (431, "too_large")


def test_a_large_body_in_the_same_packet_is_no_header(bounded: Server) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"stop": ["가" * 100] * 8}}).encode() + b" " * 3 * MOST
    with connect(bounded) as connection:
        head = f"POST /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_comes_after_its_answer_is_no_header(bounded: Server) -> None:
    most = Settings().max_body_bytes
    with connect(bounded) as connection:
        connection.sendall(f"POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: {most + 10 * MOST}\r\n\r\n".encode())
        connection.sendall(b" " * (most + 1))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        connection.sendall(b" " * (10 * MOST - 1))
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("drop", ["GET /livez HTTP/1.1\r\nx: ", "\r\n", "GET /"])
def test_headers_that_drip_are_refused_in_time(drop: str, bounded: Server) -> None:
    with connect(bounded) as connection:
        began_s = monotonic()
        connection.sendall(drop.encode())
        connection.settimeout(READ_TIMEOUT_S / 6)
        answer = b""
        while not answer:
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                connection.sendall(b"\r\n" if drop == "\r\n" else b"a")
            assert monotonic() - began_s < 5 * READ_TIMEOUT_S
        assert told(answer) == (408, "deadline")


HEAD = b"GET /livez HTTP/1.1\r\nhost: a\r\norigin: https://a.example\r\nx-request-id: mine-1\r\nx: "


@pytest.mark.parametrize(
    ("head", "status"), [(HEAD + b"a" * MOST, 431), (HEAD, 408), (HEAD + b"\0\r\n", 400)], ids=["long", "slow", "broken"]
)
def test_a_refusal_tells_the_requests_id_and_that_a_page_may_read_it(head: bytes, status: int, service_settings: Settings) -> None:
    changes = {"read_timeout_s": READ_TIMEOUT_S, "max_header_bytes": MOST, "cors_origins": ("https://a.example",)}
    settings = service_settings.model_copy(update=changes)
    with serving(create_app(settings), settings=settings) as server:
        with connect(server) as connection:
            connection.sendall(head)
            answer = rest(connection)
        with connect(server) as connection:  # what was said of an answered request says nothing of what follows
            connection.sendall(HEAD + b"y\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"\r\n")
            later = rest(connection)
    assert told(answer)[0] == status
    assert b"\r\naccess-control-allow-origin: https://a.example\r\n" in answer
    assert b"\r\nx-request-id: mine-1\r\n" in answer
    assert told(later) == (408, "deadline")
    assert b"access-control-allow-origin" not in later
    assert re.search(rb"\r\nx-request-id: [0-9a-f]{28}\r\n", later), "one of its own"


@pytest.mark.parametrize(
    ("rest_of_head", "status", "kind"),
    [
        (b"x: " + b"a" * MOST, 431, "invalid_request_error"),
        (b"", 408, "server_error"),
        (b"x: \0\r\n", 400, "invalid_request_error"),
    ],
    ids=["long", "slow", "broken"],
)
def test_where_openais_clients_ask_a_refusal_has_their_form(rest_of_head: bytes, status: int, kind: str, bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n" + rest_of_head)
        head, _, body = rest(connection).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert CompletionError.model_validate_json(body, strict=True).error.type == kind


@pytest.mark.parametrize("words", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 50])
def test_what_is_no_http_is_told_so(words: bytes, bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(words)
        assert told(rest(connection)) == (400, "validation")


def test_who_connects_and_says_nothing_is_let_go_in_silence(bounded: Server) -> None:
    with connect(bounded) as connection:
        began_s = monotonic()
        assert rest(connection) == b""
        assert monotonic() - began_s < 5 * READ_TIMEOUT_S


def test_a_second_request_that_drips_is_refused_in_time_too(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /livez HTTP/1.1\r\nx: ")
        assert told(rest(connection)) == (408, "deadline")


def test_a_body_that_drips_is_refused_in_time(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b'POST /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 50\r\n\r\n{"in')
        began_s = monotonic()
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert monotonic() - began_s < 5 * READ_TIMEOUT_S


def long_answer(connection: socket.socket) -> None:
    """Asks for one of some hundred thousand bytes, after which the connection is closed."""
    parameters = {"max_new_tokens": 500, "n": 8, "do_sample": True, "seed": 1, "details": True}
    body = json.dumps({"inputs": PROMPT, "parameters": parameters}).encode()
    head = f"POST /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


@pytest.fixture
def narrow(service_settings: Settings) -> Iterator[Server]:
    """Where next to nothing of an answer is kept for its client by the system."""
    settings = service_settings.model_copy(update={"read_timeout_s": READ_TIMEOUT_S})
    with serving(create_app(settings), send_buffer=8192, settings=settings) as server:
        yield server


def narrowly(server: Server) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    return connection


def test_a_client_that_reads_slowly_gets_all_of_its_answer(narrow: Server) -> None:
    with narrowly(narrow) as connection:
        long_answer(connection)
        answer, began_s = connection.recv(4096), monotonic()
        while monotonic() - began_s < 4 * READ_TIMEOUT_S:
            connection.settimeout(None)
            answer += connection.recv(2048)
            threading.Event().wait(READ_TIMEOUT_S / 6)
        answer += rest(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    assert length > 100_000
    assert len(body) == length


def test_a_client_that_does_not_read_is_let_go(narrow: Server) -> None:
    with narrowly(narrow) as connection:
        long_answer(connection)
        answer = connection.recv(4096)
        threading.Event().wait(5 * READ_TIMEOUT_S)
        assert len(answer + rest(connection)) < 100_000


def test_many_clients_that_drip_hold_up_nobody_else(bounded: Server) -> None:
    drips = [socket.create_connection(("127.0.0.1", bounded.port)) for _ in range(200)]
    try:
        for connection in drips:
            connection.sendall(b"POST /generate HTTP/1.1\r\n")
        began_s = monotonic()
        assert bounded.client.post("/generate", json={"inputs": PROMPT}).status_code == 200
        assert monotonic() - began_s < 5
        assert told(rest(drips[-1])) == (408, "deadline")
    finally:
        for connection in drips:
            connection.close()


def test_a_request_that_takes_longer_than_its_headers_may_is_answered(bounded: Server) -> None:
    parameters = {"max_new_tokens": 500, "n": 8, "do_sample": True, "seed": 1}
    began_s = monotonic()
    while monotonic() - began_s < 2 * READ_TIMEOUT_S:
        assert bounded.client.post("/generate", json={"inputs": PROMPT, "parameters": parameters}).status_code == 200


def test_a_connection_is_kept_for_one_request_after_another(bounded: Server) -> None:
    """Whatever was answered: small or packed, a stream, an error, no body at all, or a file that the client has already."""
    connection = http.client.HTTPConnection("127.0.0.1", bounded.port, timeout=60)
    try:
        connection.connect()
        socket_of_all = connection.sock
        asked: list[tuple[str, str, Any, dict[str, str], int]] = [
            ("POST", "/generate", {"inputs": PROMPT}, {}, 200),
            ("POST", "/generate_stream", {"inputs": PROMPT}, {}, 200),
            ("POST", "/generate", {"inputs": ""}, {}, 422),
            ("POST", "/v1/completions", {"prompt": PROMPT, "stream": True}, {}, 200),
            ("GET", "/nothing", None, {}, 404),
            ("GET", "/docs/assets/swagger-ui.css", None, {"accept-encoding": "gzip"}, 200),
            ("HEAD", "/docs/assets/swagger-ui.css", None, {"accept-encoding": "gzip"}, 200),
            ("HEAD", "/v2", None, {}, 200),
            ("GET", "/", None, {"if-none-match": "*"}, 304),
            ("DELETE", "/generate", None, {}, 405),
            ("GET", "/livez", None, {}, 200),
        ]
        for number, (method, path, body, headers, status) in enumerate(asked):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers | {"x-request-id": f"request-{number}"})
            response = connection.getresponse()
            read = response.read()
            assert (response.status, response.headers["x-request-id"]) == (status, f"request-{number}"), path
            assert bool(read) is (method != "HEAD" and status != 304)
            assert connection.sock is socket_of_all, f"{method} {path} ended it"
    finally:
        connection.close()


OFFERS = {
    "WebSocket": {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw=="},
    "HTTP/2": {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAAB"},
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(offer: dict[str, str], bounded: Server) -> None:
    """And the next request on the connection, as that of Java's client, which offers HTTP/2 with its first request."""
    asked = {"inputs": PROMPT}
    plain = bounded.client.post("/generate", json=asked)
    assert bounded.client.get("/livez", headers=offer).status_code == 200
    for headers in (offer, {}):
        response = bounded.client.post("/generate", json=asked, headers=headers)
        assert (response.status_code, response.content) == (200, plain.content)


@pytest.mark.parametrize("cut", [5, 60, -5])
def test_an_offer_and_a_body_that_come_in_parts_are_read_all_the_same(cut: int, bounded: Server) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": 2}}).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in OFFERS["HTTP/2"].items())
    request = f"POST /generate HTTP/1.1\r\nhost: a\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    last = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with connect(bounded) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:cut])
        assert bounded.client.get("/livez").status_code == 200
        connection.sendall(request[cut:] + request + last)
        assert rest(connection).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("line", ["{} HTTP/1.0\r\nconnection: upgrade", "{} HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade"])
@pytest.mark.parametrize("asked", ["GET /livez", "POST /classify"])
def test_an_offer_with_the_last_request_of_a_connection_is_answered_at_once(line: str, asked: str, bounded: Server) -> None:
    """As some proxies send it, which speak HTTP/1.0."""
    body = json.dumps({"inputs": PROMPT}).encode() if asked.startswith("POST") else b""
    with connect(bounded) as connection:
        head = f"{line.format(asked)}\r\nupgrade: h2c\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_thousands_of_offers_at_once_are_answered_one_after_the_other(bounded: Server) -> None:
    """As deep as they are many, they would be more than Python's stack holds."""
    count = 2 * sys.getrecursionlimit()
    offer = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with connect(bounded) as connection:
        sending = threading.Thread(target=connection.sendall, args=(offer * count + last,))
        sending.start()
        assert rest(connection).count(b"HTTP/1.1 200 ") == count + 1
        sending.join()


def test_an_offer_with_headers_that_are_too_long_is_refused_as_any_other_request(bounded: Server) -> None:
    for name in ("x", "upgrade"):
        offer = OFFERS["HTTP/2"] | {name: "a" * 20_000}
        assert bounded.client.get("/livez", headers=offer).status_code == 431


def test_nobody_is_connected_through_to_elsewhere(bounded: Server) -> None:
    with connect(bounded) as connection:
        connection.sendall(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")
        assert told(rest(connection)) == (400, "validation")
