"""Streams: what is written comes word by word, is what would have come at once, and ends in any case with being told so."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.app import create_app
from service.http.schemas import StreamEvent
from service.inference.runtime import Runtime
from service.settings import Settings
from tests.builders import WORDS
from tests.conftest import GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import (
    FOREVER,
    PROMPT,
    accepted,
    events,
    generate,
    is_comment,
    question,
    refusal,
    registry_of,
    standing_still,
    stream,
    taken,
    written,
)
from tests.service.http.wire import chunks_joined, connect, drawn, send
from tests.service.process import Process, Server, eventually, serving

MODELS = [small.name for small in GENERATORS]
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prompts = st.lists(st.sampled_from([*WORDS, "고래", "."]), min_size=1, max_size=8).map(" ".join)
WRITING = "seqserve_rows_in_use"
LONG = {"max_new_tokens": FOREVER, "max_answer_tokens": 100 * FOREVER}

# ------------------------------------------------------------------------------------------------------------ what it says


@EXAMPLES
@given(
    prompt=prompts,
    seed=st.integers(0, 2**64 - 1),
    model=st.sampled_from([*MODELS, ENDLESS]),
    stop=st.lists(st.sampled_from(["좋다", " a", "cat ", "람들", "다 집", "원에 사", "me m", "있", "the cat sat"]), max_size=4),
)
def test_the_pieces_join_to_what_is_written_at_once(
    prompt: str, seed: int, model: str, stop: list[str], service: TestClient
) -> None:
    options: dict[str, Any] = {"seed": seed, "temperature": 2.0, "stop": stop, "max_new_tokens": 40}
    told = stream(service, prompt, model, **options)
    assert written(told) == told[-1]["generated_text"] == generate(service, prompt, model, **options)["generated_text"]
    assert [event["generated_text"] for event in told[:-1]] == [None] * (len(told) - 1)


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_the_likeliest_words_are_streamed_as_they_are_written_at_once(model: str, service: TestClient) -> None:
    for prompt in (PROMPT, "the cat", "고래 whale"):
        assert written(stream(service, prompt, model)) == generate(service, prompt, model)["generated_text"]


def test_a_stop_sequence_within_a_word_cuts_the_last_piece(service: TestClient) -> None:
    whole = generate(service, seed=11, do_sample=True)["generated_text"]
    words = whole.split()
    stop = f"{words[4]} {words[5][0]}"
    told = stream(service, seed=11, do_sample=True, stop=["고래", stop], details=True)
    assert written(told) == whole[: whole.index(stop) + len(stop)]
    assert told[-1]["details"]["finish_reason"] == "stop_sequence"


@pytest.mark.parametrize("model", MODELS)
def test_the_end_of_a_sentence_is_the_last_event_and_no_part_of_the_text(model: str, service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 3.0, "max_new_tokens": 200, "details": True}
    streams = [stream(service, PROMPT, model, seed=seed, **options) for seed in range(8)]
    ended = [told for told in streams if told[-1]["details"]["finish_reason"] == "eos_token"]
    assert ended, "none of eight sentences ended within 200 words"
    for told in ended:
        assert (told[-1]["token"]["text"], told[-1]["token"]["special"]) == ("</s>", True)
        assert not any(event["token"]["special"] for event in told[:-1])
        assert written(told) == told[-1]["generated_text"]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_there_is_an_event_for_every_word(count: int, service: TestClient) -> None:
    assert len(stream(service, max_new_tokens=count)) == count


def test_the_full_text_is_told_at_the_end_and_the_pieces_are_the_answer_alone(service: TestClient) -> None:
    told = stream(service, "  오늘\t날씨가 고래 ", return_full_text=True)
    assert told[-1]["generated_text"] == f"오늘 날씨가 고래 {written(told)}"


def test_the_field_names_are_those_of_text_generation_inference(service: TestClient) -> None:
    plain, full = stream(service), stream(service, details=True, top_n_tokens=2)
    for event in plain:
        assert list(event) == ["index", "token", "generated_text", "details"]
    for event in full:
        assert list(event) == ["index", "token", "top_tokens", "generated_text", "details"]
        for token in (event["token"], *event["top_tokens"]):
            assert list(token) == ["id", "text", "logprob", "special"]
    assert set(full[-1]["details"]) == {"finish_reason", "generated_tokens", "input_length", "seed"}


def test_details_are_told_at_the_end_and_only_where_they_were_asked_for(service: TestClient) -> None:
    assert [event["details"] for event in stream(service)] == [None] * 20
    told = stream(service, details=True, do_sample=True, seed=4)
    assert [event["details"] for event in told[:-1]] == [None] * 19
    assert told[-1]["details"] == {"finish_reason": "length", "generated_tokens": 20, "input_length": 2, "seed": 4}


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_tokens_details_and_likeliest_words_are_those_of_the_answer_at_once(model: str, service: TestClient) -> None:
    options: dict[str, Any] = {"details": True, "top_n_tokens": 3, "seed": 5, "temperature": 1.5}
    told, details = stream(service, PROMPT, model, **options), generate(service, PROMPT, model, **options)["details"]
    assert [event["token"] | {"text": ""} for event in told] == [token | {"text": ""} for token in details["tokens"]]
    assert [event["token"]["text"] for event in told] == [token["text"] for token in details["tokens"]]
    assert [event["top_tokens"] for event in told] == details["top_tokens"]
    end = told[-1]["details"]
    assert {name: end[name] for name in ("finish_reason", "generated_tokens", "seed")} == {
        name: details[name] for name in ("finish_reason", "generated_tokens", "seed")
    }
    assert end["input_length"] == len(details["prefill"])


def test_every_word_has_its_log_probability_also_without_details(service: TestClient) -> None:
    at_once = generate(service, details=True)["details"]["tokens"]
    assert [event["token"]["logprob"] for event in stream(service)] == [token["logprob"] for token in at_once]


def test_a_drawn_seed_is_told_and_writes_the_same_again(service: TestClient) -> None:
    told = stream(service, temperature=1.5, details=True)
    seed = told[-1]["details"]["seed"]
    assert stream(service, temperature=1.5, details=True, seed=seed) == told


def test_a_state_is_told_in_the_last_event_and_only_where_it_was_asked_for(service: TestClient) -> None:
    told = stream(service, return_state=True)
    assert ["state" in event for event in told] == [False] * 19 + [True]
    assert told[-1]["state"] == generate(service, return_state=True)["state"]
    assert not any("state" in event for event in stream(service))


def test_a_stream_goes_on_where_another_one_stopped(service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "stop": ["고래"]}
    first = stream(service, seed=9, max_new_tokens=7, return_state=True, **options)
    second = stream(service, "", state=first[-1]["state"], max_new_tokens=13, **options)
    assert written(first) + written(second) == generate(service, seed=9, max_new_tokens=20, **options)["generated_text"]


def test_both_ways_of_asking_give_the_same_bytes(service: TestClient) -> None:
    body = question(seed=3, do_sample=True, details=True)
    asked = [("/generate", {"stream": True}), ("/generate_stream", {}), ("/generate_stream", {"stream": True})]
    answers = {service.post(path, json=body | extra).content for path, extra in [*asked, ("/generate_stream", {"stream": False})]}
    assert len(answers) == 1


def test_its_headers_keep_what_stands_between_from_holding_it_back(service: TestClient) -> None:
    headers = service.post("/generate_stream", json=question(), headers={"x-request-id": "mine"}).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"] == "mine"
    assert headers["x-model"] == f"{ENDLESS}/1"
    assert "content-length" not in headers
    for name in ("queue", "inference", "total"):
        assert re.fullmatch(r"\d+\.\d{6}", headers[f"x-{name}-time"])


def test_every_event_is_a_line_of_data_and_an_empty_line(service: TestClient) -> None:
    content = service.post("/generate_stream", json=question(max_new_tokens=3)).text
    blocks = content.split("\n\n")
    assert blocks.pop() == ""
    assert len(blocks) == 3
    for block in blocks:
        assert StreamEvent.model_validate_json(block.removeprefix("data:"), strict=True)


# ---------------------------------------------------------------------------------------------------- before it begins

ASKING = [("/generate", {"stream": True}), ("/generate_stream", {})]
asking = pytest.mark.parametrize(("path", "extra"), ASKING, ids=["stream", "generate_stream"])

REFUSED: dict[str, tuple[Any, int, str, str]] = {
    "an unknown field": ({"input": "a"}, 422, "validation", "input: there is no such field"),
    "an unknown option": ({"parameters": {"length": 5}}, 422, "validation", "parameters.length: there is no such field"),
    "a wrong type": ({"parameters": {"details": 1}}, 422, "validation", "parameters.details: "),
    "a list": ({"inputs": [PROMPT]}, 422, "validation", "stream: takes one text, not a list"),
    "an empty text": ({"inputs": " "}, 422, "validation", "inputs: is empty"),
    "several answers": ({"parameters": {"n": 2, "do_sample": True}}, 422, "validation", "parameters.n: there is one answer"),
    "the best of several": ({"parameters": {"best_of": 2, "do_sample": True}}, 422, "validation", "parameters.best_of: there is"),
    "no words": ({"parameters": {"max_new_tokens": 0, "details": True}}, 422, "validation", "parameters.max_new_tokens: a stream"),
    "too many words": ({"parameters": {"max_new_tokens": 513}}, 422, "validation", "parameters.max_new_tokens: the largest is 512"),
    "a long text": ({"inputs": "a" * 20_001}, 413, "too_large", "inputs: 20001 characters are more than 20000"),
    "a text of many words": ({"inputs": "a " * 1025}, 413, "too_large", "inputs: 1025 words are more than the 1024 of "),
    "a long body": ({"inputs": "a" * 1_000_000}, 413, "too_large", "the body has more than 1000000 bytes"),
    "no such model": ({"model": "nothing"}, 404, "not_found", "model: there is no 'nothing'"),
    "a classifier": ({"model": "bilstm1-classify"}, 422, "validation", "model: bilstm1-classify is for /classify"),
    "no state": ({"state": "abc"}, 422, "validation", "state: is none that this service gave"),
}


@asking
@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_that_cannot_be_is_refused_by_a_status_and_never_begins(
    path: str, extra: dict[str, Any], case: str, service: TestClient
) -> None:
    changes, status, error_type, sentence = REFUSED[case]
    response = service.post(path, json=question() | extra | changes)
    assert refusal(response, status, error_type).startswith(sentence)
    assert stream(service, max_new_tokens=1)


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": "a", "stream": true', b"\xff"])
@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_a_body_that_is_no_json_is_refused_by_a_status(path: str, body: bytes, service: TestClient) -> None:
    assert refusal(service.post(path, content=body), 422, "validation").startswith("the body is not JSON: ")


@asking
def test_a_state_of_another_model_is_a_status(path: str, extra: dict[str, Any], service: TestClient) -> None:
    state = generate(service, PROMPT, "gru2-generate", return_state=True)["state"]
    refusal(service.post(path, json=question("", state=state) | extra), 409, "state_mismatch")


@pytest.fixture
def busy(service_settings: Settings) -> Iterator[TestClient]:
    """A service with places for two inputs; a test may take them."""
    with TestClient(create_app(service_settings.model_copy(update=LONG | {"max_waiting": 2}))) as client:
        yield client


@asking
def test_a_full_queue_is_a_status(path: str, extra: dict[str, Any], busy: TestClient) -> None:
    with taken(busy.app, 2):
        response = busy.post(path, json=question() | extra)
        refusal(response, 429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
    assert stream(busy, max_new_tokens=1)


@asking
def test_a_deadline_in_the_queue_is_a_status(path: str, extra: dict[str, Any], busy: TestClient) -> None:
    with standing_still(busy.app):
        refusal(busy.post(path, json=question() | extra, headers={"x-request-timeout": "0.1"}), 504, "deadline")
    assert stream(busy, max_new_tokens=1)


def test_a_model_that_fails_on_the_first_word_is_a_status(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _break(patch)
        refusal(client.post("/generate_stream", json=question()), 500, "internal")
    assert stream(client)


# ------------------------------------------------------------------------------------------------------ while it is written


def blocks_of(response: httpx2.Response) -> Iterator[str]:
    """The blocks of a stream, each as soon as it is there."""
    rest = b""
    for chunk in response.iter_raw():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            yield block.decode()
    assert rest == b""


def open_stream(server: Server, stack: ExitStack, body: Any, **headers: str) -> Iterator[str]:
    """The blocks of a stream that must begin."""
    response = stack.enter_context(server.client.stream("POST", "/generate_stream", json=body, headers=headers))
    assert response.status_code == 200, response.read()
    return blocks_of(response)


def test_words_come_while_others_are_still_to_be_written(server: Process) -> None:
    with ExitStack() as stack:
        blocks = open_stream(server, stack, drawn(1, FOREVER))
        told = [json.loads(next(blocks).removeprefix("data:")) for _ in range(100)]
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 1)
    assert written(told) == server.client.post("/generate", json=drawn(1, 100)).json()["generated_text"]
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_a_client_that_leaves_in_the_middle_frees_its_row_and_is_counted(server: Process) -> None:
    def cancelled() -> float:
        return server.metric("seqserve_inputs_total", model=ENDLESS, outcome="cancelled")

    before = cancelled()
    with ExitStack() as stack:
        assert not is_comment(next(open_stream(server, stack, drawn(1, FOREVER))))
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    assert cancelled() == before + 1
    with connect(server) as leaver:
        send(leaver, drawn(1, FOREVER), "/generate_stream")
        assert leaver.recv(100).startswith(b"HTTP/1.1 200 ")
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    assert cancelled() == before + 2


def test_a_client_that_leaves_before_the_first_word_takes_no_row(service_settings: Settings) -> None:
    app = create_app(service_settings.model_copy(update=LONG))
    with serving(app) as server:
        with standing_still(app):
            with connect(server) as leaver:
                send(leaver, drawn(1, FOREVER), "/generate_stream")
                eventually(lambda: server.metric("seqserve_waiting", model=ENDLESS) == 0 and accepted(app) == 2)
            eventually(lambda: server.metric("seqserve_requests_total", route="/generate_stream", status="499") == 1)
        assert generate_over(server, drawn(1, 3))
        eventually(lambda: server.metric("seqserve_queue_seconds_count", model=ENDLESS) == 2)
        eventually(lambda: server.metric("seqserve_inputs_total", model=ENDLESS, outcome="cancelled") == 2)


def generate_over(server: Server, body: Any) -> bytes:
    response = server.client.post("/generate", json=body)
    assert response.status_code == 200
    return response.content


def test_who_waits_is_told_by_comments_that_the_service_is_there(service_settings: Settings) -> None:
    app = create_app(service_settings.model_copy(update=LONG | {"keep_alive_s": 0.05}))
    with serving(app) as server, ExitStack() as stack:
        with standing_still(app):
            blocks = open_stream(server, stack, question())
            assert [next(blocks) for _ in range(3)] == [": keep-alive"] * 3
        rest = "".join(f"{block}\n\n" for block in blocks)
    with TestClient(create_app(service_settings)) as client:
        assert events(rest.encode()) == stream(client)


def test_a_stream_in_which_words_come_has_no_comments(service: TestClient) -> None:
    assert ": keep-alive" not in service.post("/generate_stream", json=question(max_new_tokens=500)).text


def test_a_deadline_after_a_comment_is_an_event_and_the_end(service_settings: Settings) -> None:
    app = create_app(service_settings.model_copy(update=LONG | {"keep_alive_s": 0.05}))
    with serving(app) as server, standing_still(app), ExitStack() as stack:
        blocks = open_stream(server, stack, question(), **{"x-request-timeout": "0.5"})
        said = [block for block in blocks if not is_comment(block)]
    assert [json.loads(block.removeprefix("data:"))["error_type"] for block in said] == ["deadline"]


def test_a_deadline_in_the_middle_is_an_event_and_the_end_and_frees_the_row(server: Process) -> None:
    def ended() -> float:
        return server.metric("seqserve_inputs_total", model=ENDLESS, outcome="deadline")

    before = ended()
    response = server.client.post("/generate_stream", json=drawn(2, FOREVER), headers={"x-request-timeout": "1"})
    assert response.status_code == 200
    *told, last = events(response.content)
    assert set(last) == {"error", "error_type"}
    assert last["error_type"] == "deadline"
    assert written(told) == server.client.post("/generate", json=drawn(2, len(told))).json()["generated_text"]
    assert all(event["generated_text"] is None for event in told)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)
    assert ended() == before + 1


def _break(patch: pytest.MonkeyPatch) -> None:
    """From now on no model works."""

    def breaking(*_: Any) -> Any:
        raise RuntimeError("the password is 1234")

    patch.setattr(Runtime, "step", breaking)


def test_a_model_that_fails_in_the_middle_is_an_event_and_the_end(
    service_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(service_settings.model_copy(update=LONG))
    with serving(app) as server:
        with monkeypatch.context() as patch, ExitStack() as stack:
            blocks = open_stream(server, stack, drawn(1, FOREVER))
            first = next(blocks)
            _break(patch)
            *told, last = [json.loads(block.removeprefix("data:")) for block in (first, *blocks)]
        assert last == {"error": "the model failed on this request", "error_type": "internal"}
        assert "the password is 1234" in caplog.text
        assert server.metric(WRITING, model=ENDLESS) == 0
        eventually(lambda: server.metric("seqserve_inputs_total", model=ENDLESS, outcome="error") == 1)
        again = server.client.post("/generate_stream", json=drawn(1, len(told)))
        assert [event["token"] for event in events(again.content)] == [event["token"] for event in told]


def test_a_loop_that_is_stopped_in_the_middle_is_an_event_and_the_end(service_settings: Settings) -> None:
    app = create_app(service_settings.model_copy(update=LONG))
    with serving(app) as server, ExitStack() as stack:
        blocks = open_stream(server, stack, drawn(1, FOREVER))
        next(blocks)
        registry_of(app).generator(None)[1].close(0.01)
        *_, last = blocks
    assert json.loads(last.removeprefix("data:"))["error_type"] == "unavailable"


# ------------------------------------------------------------------------------------------------- who reads slowly

UNREAD = 1_000  # words; with these details more than a megabyte, of which the system takes a small part
LARGE: dict[str, Any] = {"details": True, "top_n_tokens": 15, "max_new_tokens": UNREAD}
STREAMED = {"route": "/generate_stream", "status": "200"}


@pytest.fixture
def narrow(service_settings: Settings) -> Iterator[Server]:
    """A service whose words wait in it, and not in the system, until they are read."""
    with serving(create_app(service_settings.model_copy(update=LONG)), send_buffer=8192) as server:
        yield server


def unread_stream(server: Server, stack: ExitStack, timeout_s: float) -> socket.socket:
    """A stream that has begun, and of which nobody reads more than the status."""
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    send(connection, question(**LARGE), "/generate_stream", f"x-request-timeout: {timeout_s}\r\n")
    assert connection.recv(15) == b"HTTP/1.1 200 OK"
    return connection


def read_on(connection: socket.socket) -> bytes:
    """What comes until the end, however that comes."""
    content = b""
    while True:
        try:
            chunk = connection.recv(1_000_000)
        except ConnectionResetError:
            return content
        if not chunk:
            return content
        content += chunk


def test_a_slow_reader_holds_nobody_up_and_its_row_is_free_when_its_last_word_is_written(narrow: Server) -> None:
    alone = [generate_over(narrow, drawn(seed, 100)) for seed in range(5)]
    with ExitStack() as stack:
        slow = unread_stream(narrow, stack, timeout_s=60)
        assert [generate_over(narrow, drawn(seed, 100)) for seed in range(5)] == alone
        eventually(lambda: narrow.metric(WRITING, model=ENDLESS) == 0)
        # All was written, and not all of it was sent.
        eventually(lambda: narrow.metric("seqserve_inputs_total", model=ENDLESS, outcome="answer") == 11)
        assert narrow.metric("seqserve_requests_total", **STREAMED) == 0
        told = events(chunks_joined(read_on(slow).partition(b"\r\n\r\n")[2]))
    assert len(told) == UNREAD
    assert written(told) == told[-1]["generated_text"]


def test_a_reader_that_never_reads_is_given_up_a_while_after_its_deadline(narrow: Server) -> None:
    with ExitStack() as stack:
        slow = unread_stream(narrow, stack, timeout_s=1)
        eventually(lambda: narrow.metric("seqserve_requests_total", **STREAMED) == 1, within_s=20)
        assert narrow.metric(WRITING, model=ENDLESS) == 0
        content = read_on(slow)
    assert not content.endswith(b"0\r\n\r\n"), "it was cut off, and nobody can see it"


def test_of_a_reader_that_was_given_up_no_socket_stays_open(narrow: Server) -> None:
    def sockets() -> int:
        return sum("socket" in name for name in names())

    def names() -> Iterator[str]:
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                yield str(link.readlink())

    with ExitStack() as stack:
        unread_stream(narrow, stack, timeout_s=0.5)
        assert narrow.metric("seqserve_requests_total", **STREAMED) == 0  # and so the client's own connection is open
        before = sockets()
        eventually(lambda: narrow.metric("seqserve_requests_total", **STREAMED) == 1, within_s=20)
        eventually(lambda: sockets() == before - 1, within_s=3)


def test_a_stream_that_ends_before_it_begins_has_the_status_of_a_deadline_and_no_other(service: TestClient) -> None:
    body = question(max_new_tokens=5) | {"inputs": PROMPT * 500}
    for timeout_s in ("0.0003", "0.0005", "0.001", "0.002", "0.003"):
        for _ in range(4):
            response = service.post("/generate_stream", json=body, headers={"x-request-timeout": timeout_s})
            assert response.status_code in (200, 504)
