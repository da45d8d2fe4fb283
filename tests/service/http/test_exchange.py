"""service.http.exchange: bodies of any kind, limits, and clients that come together, crowd in or leave."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from service.errors import Overloaded
from service.http import exchange
from service.http.app import create_app
from service.http.exchange import Arriving
from service.settings import Settings
from tests.conftest import CLASSIFIERS, GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import FOREVER, PROMPT, classify, generate, refusal, standing_still, taken
from tests.service.http.wire import connect, drawn, receive, send
from tests.service.process import Process, Server, eventually, sample, serving

WRITING = "seqserve_rows_in_use"

# ---------------------------------------------------------------------------------------------------------------- bodies

DEEP = 100_000
BODIES = {
    "nothing": b"",
    "white space": b" \n",
    "no JSON": b"inputs=hello",
    "half a body": b'{"inputs": "hello',
    "two bodies": b'{"inputs": "a"}{"inputs": "a"}',
    "a comment": b'{"inputs": "a"} // hello',
    "single quotes": b"{'inputs': 'a'}",
    "a control character": b'{"inputs": "a\x01"}',
    "a byte order mark": b'\xef\xbb\xbf{"inputs": "a"}',
    "UTF-16": '{"inputs": "a"}'.encode("utf-16"),
    "Latin-1": '{"inputs": "é"}'.encode("latin-1"),
    "bytes that are no UTF-8": b'{"inputs": "\xff\xfe"}',
    "half a letter": '{"inputs": "오"}'.encode()[:-3] + b'"}',
    "a letter in UTF-8 of a surrogate": b'{"inputs": "\xed\xa0\x80"}',
    "a lone high surrogate": rb'{"inputs": "\ud800"}',
    "a lone high surrogate inside": rb'{"inputs": "a\ud800b"}',
    "a lone low surrogate": rb'{"inputs": "\udc00"}',
    "a lone surrogate as a name": rb'{"inputs": "a", "\ud800": 1}',
    "brackets without end": b"[" * DEEP,
    "brackets with an end": b"[" * DEEP + b"]" * DEEP,
    "deep inputs": b'{"inputs": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"inputs": ' + b'{"a": ' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a deep unknown field": b'{"inputs": "a", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a number of 5000 digits": b'{"inputs": "a", "parameters": {"seed": ' + b"9" * 5000 + b"}}",
}


@pytest.mark.parametrize("path", ["/generate", "/classify"])
@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_json_is_refused_and_the_next_request_answered(path: str, body: str, service: TestClient) -> None:
    sentence = refusal(service.post(path, content=BODIES[body]), 422, "validation")
    assert sentence.startswith("the body is not JSON: ")
    assert len(sentence) < 200
    assert generate(service, max_new_tokens=1)
    assert classify(service)


def test_a_pair_of_surrogates_is_one_character(service: TestClient) -> None:
    response = service.post("/generate", content=rb'{"inputs": "\ud83d\ude00", "parameters": {"details": true}}')
    assert response.json()["details"]["unknown_words"] == ["😀"]


def test_zero_characters_and_emoji_are_characters_like_others(service: TestClient) -> None:
    for text in ("a\0b", "\u200b", "👩\u200d👩\u200d👧", "\ufeff오늘", "\U0010ffff"):
        assert classify(service, text)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_is_json_whatever_it_calls_itself(content_type: str, service: TestClient) -> None:
    response = service.post("/classify", content=b'{"inputs": "a"}', headers={"content-type": content_type})
    assert response.status_code == 200


# ---------------------------------------------------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def narrow(service_settings: Settings) -> Iterator[TestClient]:
    """A service with narrow limits."""
    limits = {"max_inputs": 3, "max_input_characters": 40, "max_body_bytes": 500, "max_new_tokens": 6, "max_best_of": 2}
    with TestClient(create_app(service_settings.model_copy(update=limits))) as client:
        yield client


@pytest.mark.parametrize("path", ["/generate", "/classify"])
@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (["a"] * 4, "inputs: 4 texts are more than the 3 of one request"),
        ("a" * 41, "inputs: 41 characters are more than 40"),
        (["a", "좋" * 41], "inputs[1]: 41 characters are more than 40"),
        ("a " * 400, "the body has more than 500 bytes"),
    ],
)
def test_too_much_is_refused_by_the_fields_name_and_the_next_request_answered(
    path: str, inputs: Any, sentence: str, narrow: TestClient
) -> None:
    assert refusal(narrow.post(path, json={"inputs": inputs}), 413, "too_large") == sentence
    assert generate(narrow, max_new_tokens=1)
    assert classify(narrow)


@pytest.mark.parametrize("path", ["/generate", "/classify"])
@pytest.mark.parametrize("inputs", [["a"] * 3, "a" * 40, ["좋" * 40, "a"]])
def test_what_stands_at_a_limit_is_answered(path: str, inputs: Any, narrow: TestClient) -> None:
    assert narrow.post(path, json={"inputs": inputs, "parameters": {}} | _short(path)).status_code == 200


def _short(path: str) -> dict[str, Any]:
    return {"parameters": {"max_new_tokens": 6}} if path == "/generate" else {}


def test_a_body_of_exactly_the_limit_is_read(narrow: TestClient) -> None:
    body = json.dumps({"inputs": "a"}).encode()
    assert narrow.post("/classify", content=body + b" " * (500 - len(body))).status_code == 200
    assert narrow.post("/classify", content=body + b" " * (501 - len(body))).status_code == 413


def test_the_operators_limits_of_options_are_told_by_name(narrow: TestClient) -> None:
    for options, sentence in (
        ({"max_new_tokens": 7}, "parameters.max_new_tokens: the largest is 6"),
        ({"max_new_tokens": 1, "best_of": 3, "do_sample": True}, "parameters.best_of: the largest is 2"),
        ({"max_new_tokens": 1, "n": 3, "do_sample": True}, "parameters.n: the largest is 2"),
    ):
        response = narrow.post("/generate", json={"inputs": "a", "parameters": options})
        assert refusal(response, 422, "validation") == sentence


def test_a_request_that_asks_for_no_number_of_words_is_answered_whatever_the_operators_limit(narrow: TestClient) -> None:
    assert len(generate(narrow)["generated_text"].split()) <= 6


@pytest.mark.parametrize("path", ["/generate", "/classify"])
def test_more_words_than_the_model_reads_are_refused_and_as_many_are_answered(path: str, service: TestClient) -> None:
    assert service.post(path, json={"inputs": "좋다 " * 1024}).status_code == 200
    for inputs, place in (("좋다 " * 1025, "inputs"), (["a", "좋다 " * 1025], "inputs[1]")):
        sentence = refusal(service.post(path, json={"inputs": inputs}), 413, "too_large")
        assert sentence.startswith(f"{place}: 1025 words are more than the 1024 of ")


def test_words_that_truncate_takes_away_are_not_too_many(service: TestClient) -> None:
    assert generate(service, "좋다 " * 3000, truncate=1024) == generate(service, "좋다 " * 1024)


def test_a_chunked_body_that_is_too_large_is_refused_before_it_is_whole(server: Process) -> None:
    """Without a content-length; the limit is 2,000,000 bytes, and the last chunk never comes."""
    head = b"POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    with connect(server) as connection:
        connection.sendall(head + chunk * 21)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error_type":"too_large"' in answer
    assert server.client.post("/classify", json={"inputs": "a"}).status_code == 200


def test_a_chunked_body_is_read_like_any_other(server: Process) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (b'{"inputs": ', b'"', "오늘".encode()[:2], "오늘".encode()[2:], b'"}')

    chunked = server.client.post("/classify", content=chunks())
    assert chunked.request.headers["transfer-encoding"] == "chunked"
    assert chunked.content == server.client.post("/classify", json={"inputs": "오늘"}).content


# ------------------------------------------------------------------------------------------- bodies that are on their way

PART = b" " * 90_000  # of a body of BODY_BYTES, the last of which does not come
BODY_BYTES = 100_000
ROOM_BYTES = 200_000  # for two such parts
BEGUN = b"POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % BODY_BYTES + PART
REST = b'{"inputs": "a"}'.rjust(BODY_BYTES - len(PART))


@pytest.fixture
def crowded(service_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service over real sockets that holds no more than ROOM_BYTES of bodies that are not all there."""
    monkeypatch.setattr(exchange, "ARRIVING_BYTES", ROOM_BYTES)
    settings = service_settings.model_copy(update={"max_body_bytes": BODY_BYTES})
    with serving(create_app(settings), settings=settings) as server:
        yield server


def begin(connection: socket.socket, server: Server) -> None:
    """Sends a part of a body; returns when the service holds it."""
    before = held()
    connection.sendall(BEGUN)
    eventually(lambda: bool(server.client.get("/livez")) and held() == before + len(PART))


def held() -> int:
    return exchange._arriving.bytes


def test_as_many_bytes_of_bodies_as_there_is_room_for_may_be_on_their_way_and_no_more() -> None:
    arriving = Arriving()
    arriving.take(60, 100)
    arriving.take(40, 100)
    with pytest.raises(Overloaded):
        arriving.take(1, 100)
    assert arriving.bytes == 100


def test_more_bodies_on_their_way_than_memory_is_kept_for_get_429_and_those_before_them_are_answered(crowded: Server) -> None:
    with connect(crowded) as one, connect(crowded) as other, connect(crowded) as third:
        for connection in (one, other):
            begin(connection, crowded)
        third.sendall(BEGUN)
        told = b""
        while not told.endswith(b"}"):
            told += third.recv(65536)
        assert told.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in told
        assert b'"too many bodies of requests are on their way; try again in 1 s"' in told
        assert crowded.client.post("/classify", json={"inputs": "a"}).status_code == 200  # it comes at once
        for connection in (one, other):
            connection.sendall(REST)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert held() == 0


def test_who_leaves_in_the_middle_of_a_body_makes_room_for_another(crowded: Server) -> None:
    with connect(crowded) as other:
        with connect(crowded) as leaver:
            begin(leaver, crowded)
            begin(other, crowded)
        eventually(lambda: bool(crowded.client.get("/livez")) and held() == len(PART))
        with connect(crowded) as next_one:
            begin(next_one, crowded)


def test_a_body_as_large_as_the_operator_allows_is_read_though_it_comes_slowly(
    crowded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ARRIVING_BYTES", 1)
    with connect(crowded) as connection:
        begin(connection, crowded)
        connection.sendall(REST)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


# ------------------------------------------------------------------------------------------------------ a full service


@pytest.fixture
def busy(service_settings: Settings) -> Iterator[TestClient]:
    """A service with places for two inputs; a test may take them."""
    with TestClient(
        create_app(
            service_settings.model_copy(
                update={"max_waiting": 2, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER, "request_timeout_s": 86_400}
            )
        )
    ) as client:
        yield client


def test_a_full_service_says_when_to_come_back_and_answers_when_there_is_room(busy: TestClient) -> None:
    with taken(busy.app, 2):
        response = busy.post("/generate", json={"inputs": PROMPT})
        assert "2" in refusal(response, 429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
        assert classify(busy)  # the other model's places are its own
    assert generate(busy)


def test_a_request_that_does_not_fit_as_a_whole_takes_no_place_at_all(busy: TestClient) -> None:
    with taken(busy.app, 1):
        assert busy.post("/generate", json={"inputs": [PROMPT] * 2}).status_code == 429
        assert generate(busy, max_new_tokens=1)


def test_a_request_that_could_never_fit_is_too_large_and_not_told_to_come_back(busy: TestClient) -> None:
    for body in ({"inputs": [PROMPT] * 3}, {"inputs": PROMPT, "parameters": {"best_of": 3, "do_sample": True}}):
        response = busy.post("/generate", json=body)
        assert "retry-after" not in response.headers
        refusal(response, 413, "too_large")


def test_a_full_service_is_as_ready_as_before(busy: TestClient) -> None:
    with taken(busy.app, 2):
        assert busy.get("/readyz").status_code == 200


# ---------------------------------------------------------------------------------------------------- clients that leave


def test_a_client_that_leaves_frees_its_row_and_the_others_get_what_they_get_alone(server: Process) -> None:
    bodies = [drawn(seed, 4000) for seed in (1, 2, 3)]
    alone = [server.client.post("/generate", json=body).content for body in bodies]
    cancelled = server.metric("seqserve_inputs_total", model=ENDLESS, outcome="cancelled")
    with connect(server) as a, connect(server) as b, connect(server) as c, connect(server) as leaver:
        send(leaver, drawn(4, FOREVER))
        for connection, body in zip((a, b, c), bodies, strict=True):
            send(connection, body)
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 4)
        leaver.close()
        assert [receive(connection) for connection in (a, b, c)] == alone
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    assert server.metric("seqserve_inputs_total", model=ENDLESS, outcome="cancelled") == cancelled + 1


def test_a_client_that_left_is_counted_apart_from_answers_and_faults(server: Process) -> None:
    def left() -> float:
        return server.metric("seqserve_requests_total", route="/generate", status="499")

    before = left()
    with connect(server) as leaver:
        send(leaver, drawn(1, FOREVER))
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 1)
    eventually(lambda: left() == before + 1, within_s=5)


def test_a_client_that_leaves_while_all_its_texts_are_written_frees_all_rows(server: Process) -> None:
    with connect(server) as leaver:
        send(leaver, drawn(1, FOREVER) | {"inputs": [PROMPT] * 40})
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 40)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_a_client_that_leaves_with_the_half_of_its_next_request_sent_frees_its_row(server: Process) -> None:
    first, second = (json.dumps(drawn(1, words)).encode() for words in (1, FOREVER))
    wires = [b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body) for body in (first, second)]
    with connect(server) as leaver:
        leaver.sendall(b"".join(wires) + wires[0][:-1])
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 1)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_a_client_that_leaves_before_its_turn_takes_no_row(server: Process) -> None:
    with connect(server) as first, connect(server) as waiting:
        send(first, drawn(1, FOREVER) | {"inputs": [PROMPT] * 64})
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 64)
        send(waiting, drawn(2, FOREVER))
        eventually(lambda: server.metric("seqserve_waiting", model=ENDLESS) == 1)
        waiting.close()
        first.close()
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    eventually(lambda: server.metric("seqserve_waiting", model=ENDLESS) == 0, within_s=10)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_ours(service: TestClient) -> None:
    """Told to the application as a server tells it: a part of the body, then that nobody is there any more."""
    sent: list[Message] = []
    parts: list[Message] = [
        {"type": "http.request", "body": b'{"inputs": ', "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/generate",
        "raw_path": b"/generate",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive_part() -> Message:
        return parts.pop(0)

    async def take(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        await service.app(scope, receive_part, take)

    assert service.portal is not None
    service.portal.call(ask)
    assert sent[0]["status"] == 499


# ------------------------------------------------------------------------------------------------------------- deadlines

OUTCOMES = ("answer", "error", "deadline", "cancelled")


def accepted(server: Server, model: str = ENDLESS) -> dict[str, float]:
    """How many inputs ended in each way."""
    return {outcome: server.metric("seqserve_inputs_total", model=model, outcome=outcome) for outcome in OUTCOMES}


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
@pytest.mark.parametrize("seconds", ["0", "0.0", "1e-9", "5e-324"])
def test_a_request_that_is_over_before_it_begins_is_not_accepted(path: str, seconds: str, server: Process) -> None:
    models = (ENDLESS, "bilstm1-classify")
    before = [accepted(server, model) for model in models]
    response = server.client.post(path, json={"inputs": PROMPT}, headers={"x-request-timeout": seconds})
    assert "over before it began" in refusal(response, 504, "deadline")
    assert [accepted(server, model) for model in models] == before


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
@pytest.mark.parametrize("text", ["soon", "", "-1", "-0.001", "nan", "5s", "1,5", "1 2", "0x10", "None", "-inf"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused_by_the_headers_name(path: str, text: str, service: TestClient) -> None:
    response = service.post(path, json={"inputs": PROMPT}, headers={"x-request-timeout": text})
    assert refusal(response, 422, "validation") == "x-request-timeout: must be a number of seconds"


@pytest.mark.parametrize("seconds", ["30", "2.5e1", "86400", "1e308"])
def test_a_request_with_time_enough_is_answered_as_one_without_a_timeout(seconds: str, service: TestClient) -> None:
    for path in ("/generate", "/generate_stream", "/classify"):
        hurried = service.post(path, json={"inputs": PROMPT}, headers={"x-request-timeout": seconds})
        assert hurried.status_code == 200
        assert hurried.content == service.post(path, json={"inputs": PROMPT}).content


def test_a_generation_that_runs_past_its_deadline_ends_frees_its_rows_and_is_counted_so(server: Process) -> None:
    before = accepted(server)
    body = drawn(1, FOREVER) | {"inputs": [PROMPT] * 3}
    response = server.client.post("/generate", json=body, headers={"x-request-timeout": "0.5"})
    assert "x-request-timeout" in refusal(response, 504, "deadline")
    assert response.elapsed.total_seconds() >= 0.5
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    assert accepted(server) == before | {"deadline": before["deadline"] + 3}


def test_those_beside_a_generation_that_runs_past_its_deadline_get_what_they_get_alone(server: Process) -> None:
    body = drawn(5, 4000)
    alone = server.client.post("/generate", json=body).content
    with connect(server) as late, connect(server) as other:
        send(late, drawn(6, FOREVER), headers="x-request-timeout: 0.3\r\n")
        send(other, body)
        assert receive(other) == alone
        assert b"".join(iter(lambda: late.recv(65536), b"")).startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize("asked", ["86400", "1e300", None])
def test_a_client_cannot_have_more_time_than_the_operator_gives(asked: str | None, service_settings: Settings) -> None:
    limits = {"request_timeout_s": 0.3, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER}
    with TestClient(create_app(service_settings.model_copy(update=limits))) as client:
        headers = {} if asked is None else {"x-request-timeout": asked}
        response = client.post("/generate", json=drawn(1, FOREVER), headers=headers)
        assert "SEQSERVE_REQUEST_TIMEOUT_S" in refusal(response, 504, "deadline")


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_a_deadline_in_the_queue_is_a_status_and_takes_no_row(path: str, busy: TestClient) -> None:
    def started() -> float:
        return sample(busy.get("/metrics").text, "seqserve_queue_seconds_count", model=ENDLESS)

    with standing_still(busy.app):
        before = started()
        response = busy.post(path, json=drawn(1, FOREVER), headers={"x-request-timeout": "0.1"})
        refusal(response, 504, "deadline")
    assert generate(busy, max_new_tokens=1)
    assert started() == before + 1


# ----------------------------------------------------------------------------------------------------------- a way back


def test_a_refused_request_is_told_in_whole_seconds_when_the_backlog_will_be_gone(busy: TestClient) -> None:
    def told(words: int) -> int:
        with taken(busy.app, 2, words):
            header = busy.post("/generate", json={"inputs": PROMPT}).headers["retry-after"]
            assert re.fullmatch("[1-9][0-9]*", header)
            return int(header)

    assert told(FOREVER) >= 1  # before anything is known of the pace, too
    generate(busy, max_new_tokens=500)
    # The least of several: a round in which this machine did something else makes the pace look slow for a while.
    short, long = (min(told(words) for _ in range(5)) for words in (FOREVER // 100, FOREVER))
    assert long > 5 * short


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_a_refused_request_is_told_in_whole_seconds_also_where_almost_nothing_is_left_to_do(path: str, busy: TestClient) -> None:
    with standing_still(busy.app), taken(busy.app, 1, 1):
        response = busy.post(path, json={"inputs": PROMPT})
        refusal(response, 429, "overloaded")
        assert re.fullmatch("[1-9][0-9]*", response.headers["retry-after"])


# ----------------------------------------------------------------------------------------------- clients that come together


def _questions() -> list[tuple[str, dict[str, Any]]]:
    """Requests of every kind, short and long, one text and many."""
    texts = [PROMPT, "the cat sat on a mat " * 20, "고래 music"]
    questions: list[tuple[str, dict[str, Any]]] = []
    for model in [*(small.name for small in GENERATORS), ENDLESS]:
        for index, text in enumerate(texts):
            details = {"details": True, "top_n_tokens": 3, "max_new_tokens": 30 + 7 * index}
            questions.append(("/generate", {"inputs": text, "model": model, "parameters": details}))
            options = details | {"seed": index, "temperature": 1.3, "top_p": 0.9, "repetition_penalty": 1.2}
            questions.append(("/generate", {"inputs": [text, *texts], "model": model, "parameters": options}))
    for small in CLASSIFIERS:
        questions += [("/classify", {"inputs": text, "model": small.name}) for text in texts]
        questions.append(("/classify", {"inputs": texts * 8, "model": small.name, "parameters": {"function_to_apply": "none"}}))
    return questions


def test_eight_clients_at_once_get_byte_for_byte_what_they_get_alone(server: Process) -> None:
    questions = _questions()
    with httpx2.Client(base_url=server.client.base_url, timeout=60) as client:
        alone = [client.post(path, json=body).content for path, body in questions]
    together = threading.Barrier(8)

    def ask_all(number: int) -> list[tuple[int, bytes]]:
        """All questions, every client in an order of its own."""
        order = [(index * 7 + number * 5) % len(questions) for index in range(len(questions))]
        with httpx2.Client(base_url=server.client.base_url, timeout=60) as client:
            together.wait(30)
            return [(index, client.post(questions[index][0], json=questions[index][1]).content) for index in order]

    with ThreadPoolExecutor(8) as clients:
        answers = [answer for answers in clients.map(ask_all, range(8)) for answer in answers]
    assert len(answers) == 8 * len(questions)
    for index, content in answers:
        assert content == alone[index], f"{questions[index]} was answered differently among others"


def test_an_answer_on_a_kept_connection_is_followed_by_the_next(server: Process) -> None:
    with httpx2.Client(base_url=server.client.base_url) as client:
        for body, status in ((b"{", 422), (b'{"inputs": "a"}', 200), (b" " * 2_000_001, 413), (b'{"inputs": "a"}', 200)):
            assert client.post("/classify", content=body).status_code == status


def test_a_request_that_is_long_to_read_holds_nobody_up(server: Process) -> None:
    """Within every limit of size, and still a second of work or two to find that its words are too many."""
    body = {"inputs": ["!" * 19_000] * 50}
    slowest_s = 0.0
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.client.post, "/classify", json=body)
        while not long.done():
            slowest_s = max(slowest_s, server.client.get("/livez").elapsed.total_seconds())
    assert long.result().status_code == 413
    assert slowest_s < 0.5


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/classify"])
def test_a_body_that_never_comes_whole_ends_at_the_deadline(path: str, server: Process) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-timeout: 0.3\r\ncontent-length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + b'{"inputs":')
        assert connection.recv(12) == b"HTTP/1.1 504"


def test_signs_that_only_one_of_two_takes_for_spaces_do_not_pass_the_limit_of_words(service: TestClient) -> None:
    state = generate(service, max_new_tokens=1, return_state=True)["state"]
    words = 2 * service.get("/models").json()["models"][0]["max_input_words"]
    for text in ("a " * words, "\x1c " * words):
        refusal(service.post("/generate", json={"inputs": text, "state": state}), 413, "too_large")
