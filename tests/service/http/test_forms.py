"""Every form in which clients that exist may ask: the words are those of /generate and /classify, and so is all around them."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.app import create_app
from service.settings import Settings
from tests.builders import WORDS
from tests.conftest import CLASSIFIERS, GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version
from tests.service.http.ask import FOREVER, PROMPT, classify, generate, registry_of, standing_still, taken
from tests.service.http.forms import ALL, CLASSIFIER, LABELLING, STREAMING, WRITING, Form, sentence
from tests.service.http.wire import connect, send
from tests.service.process import Process, eventually, sample

every_form = pytest.mark.parametrize("form", ALL.values(), ids=ALL)
every_writing_form = pytest.mark.parametrize("form", (WRITING | STREAMING).values(), ids=WRITING | STREAMING)
every_stream = pytest.mark.parametrize("form", STREAMING.values(), ids=STREAMING)
every_whole = pytest.mark.parametrize("form", (WRITING | LABELLING).values(), ids=WRITING | LABELLING)
every_labelling_form = pytest.mark.parametrize("form", LABELLING.values(), ids=LABELLING)
EXAMPLES = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prompts = st.lists(st.sampled_from([*WORDS, "고래", "."]), min_size=1, max_size=8).map(" ".join)

# ---------------------------------------------------------------------------------------------------------- the same words

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "long": {"max_new_tokens": 60},
    "drawn": {"temperature": 1.4, "top_p": 0.9, "seed": 7},
    "drawn as it comes": {"do_sample": True, "seed": 2**64 - 1},
    "penalised": {"frequency_penalty": 1.5, "max_new_tokens": 30},
}


@every_writing_form
@pytest.mark.parametrize("model", [*(small.name for small in GENERATORS), ENDLESS])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_words_are_those_of_generate(form: Form, model: str, options: dict[str, Any], service: TestClient) -> None:
    for prompt in (PROMPT, "고래 the cat"):
        assert form.answer(service, prompt, model, **options) == generate(service, prompt, model, **options)["generated_text"]


@every_writing_form
@EXAMPLES
@given(prompt=prompts, seed=st.integers(0, 2**64 - 1))
def test_the_words_of_any_prompt_and_seed_are_those_of_generate(form: Form, prompt: str, seed: int, service: TestClient) -> None:
    options: dict[str, Any] = {"seed": seed, "temperature": 2.0, "max_new_tokens": 12}
    assert form.answer(service, prompt, **options) == generate(service, prompt, **options)["generated_text"]


@every_labelling_form
@pytest.mark.parametrize("model", [small.name for small in CLASSIFIERS])
@pytest.mark.parametrize("options", [{}, {"function_to_apply": "none"}, {"function_to_apply": "sigmoid", "top_k": 1}])
def test_the_labels_are_those_of_classify(form: Form, model: str, options: dict[str, Any], service: TestClient) -> None:
    for text in (PROMPT, "고래 the cat"):
        expected = [(one["label"], one["score"]) for one in classify(service, text, model, **options)]
        assert form.answer(service, text, model, **options) == expected


def test_an_answer_does_not_depend_on_who_else_asks(service: TestClient) -> None:
    asked = [(form, index) for index, form in enumerate(ALL.values()) for _ in range(4)]

    def ask(form: Form, index: int) -> Any:
        options: dict[str, Any] = {"seed": index, "temperature": 1.5, "max_new_tokens": 25}
        return form.answer(service, f"{PROMPT} {WORDS[index]}", **({} if form.model == CLASSIFIER else options))

    alone = [ask(*one) for one in asked]
    with ThreadPoolExecutor(len(asked)) as clients:
        assert list(clients.map(lambda one: ask(*one), asked)) == alone


# ------------------------------------------------------------------------------------------------------------ around them


@every_form
def test_who_answered_and_how_long_it_took_is_told_in_headers(form: Form, service: TestClient) -> None:
    headers = form.post(service, headers={"x-request-id": "mine"}).headers
    assert headers["x-request-id"] == "mine"
    assert headers["x-model"] == f"{form.model}/1"
    queue, inference, total = (float(headers[f"x-{name}-time"]) for name in ("queue", "inference", "total"))
    assert queue >= 0
    assert inference > 0
    assert queue + inference <= total


@every_form
def test_a_request_is_counted_by_its_route_and_the_model_that_answered(form: Form, service: TestClient) -> None:
    labels = {"route": form.route, "model": form.model}

    def counted() -> list[float]:
        metrics = service.get("/metrics").text
        of_route = sample(metrics, "seqserve_requests_total", status="200", outcome="answer", **labels)
        return [of_route, sample(metrics, "seqserve_encode_seconds_count", model=form.model)]

    before = counted()
    form.answer(service)
    assert counted() == [count + 1 for count in before]


@pytest.fixture(scope="module")
def guarded(service_settings: Settings) -> Iterator[TestClient]:
    keys = {"api_keys": "a-key-of-some-length"}
    with TestClient(create_app(Settings.model_validate(service_settings.model_dump(exclude_unset=True) | keys))) as client:
        yield client


@every_form
def test_nobody_asks_without_a_key_where_there_are_keys(form: Form, guarded: TestClient) -> None:
    response = form.post(guarded)
    assert "authorization: Bearer" in sentence(form, response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert form.post(guarded, headers={"authorization": "Bearer a-key-of-some-length"}).status_code == 200


@pytest.fixture
def busy(service_settings: Settings) -> Iterator[TestClient]:
    """A service with places for two inputs; a test may take them."""
    limits = {"max_waiting": 2, "max_new_tokens": FOREVER, "max_answer_tokens": FOREVER}
    with TestClient(create_app(service_settings.model_copy(update=limits))) as client:
        yield client


@every_writing_form
def test_a_full_service_says_when_to_come_back(form: Form, busy: TestClient) -> None:
    with taken(busy.app, 2):
        response = form.post(busy)
        assert "try again in" in sentence(form, response, 429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
    assert form.answer(busy, max_new_tokens=1)


@every_writing_form
def test_a_deadline_ends_a_request_and_its_rows_are_free(form: Form, busy: TestClient) -> None:
    with standing_still(busy.app):
        response = form.post(busy, headers={"x-request-timeout": "0.1"})
        assert "longer than it may" in sentence(form, response, 504, "deadline")
    eventually(lambda: sample(busy.get("/metrics").text, "seqserve_rows_in_use", model=ENDLESS) == 0)


@every_form
@pytest.mark.parametrize("seconds", ["soon", "-1"])
def test_a_deadline_that_is_none_is_refused(form: Form, seconds: str, service: TestClient) -> None:
    response = form.post(service, headers={"x-request-timeout": seconds})
    assert sentence(form, response, 422, "validation") == "x-request-timeout: must be a number of seconds"


BODIES = {
    "nothing": b"",
    "half a body": b'{"inputs": "a',
    "no UTF-8": b'{"inputs": "\xff"}',
    "deep": b"[" * 100_000,
    "a list": b"[]",
}


@every_form
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_none_is_refused_and_the_next_one_answered(form: Form, body: bytes, service: TestClient) -> None:
    assert "the body" in sentence(form, service.post(form.path(), content=body), 422, "validation")
    assert form.answer(service)


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    0.5,
    2**64,
    10**30,
    1e308,
    "",
    "\x00",
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
    ["a", 1],
    [["a"], ["b"]],
]


def places(value: Any, within: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every part of a body, itself included."""
    yield within
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield from places(part, (*within, name))


def with_odd(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    if not place:
        return odd
    changed = value.copy()
    changed[place[0]] = with_odd(value[place[0]], place[1:], odd)
    return changed


@every_form
def test_whatever_stands_in_any_place_of_a_body_is_answered_or_refused_with_a_sentence(form: Form, service: TestClient) -> None:
    options: dict[str, Any] = {"max_new_tokens": 2, "temperature": 1.1, "seed": 3, "stop": ["집"], "n": 1}
    body = form.ask(form.model, PROMPT, {"top_k": 1} if form.model == CLASSIFIER else options)
    for place in places(body):
        for odd in ODD:
            content = json.dumps(with_odd(body, place, odd))
            response = service.post(form.path(), content=content, headers={"x-request-timeout": "10"})
            if response.status_code != 200:
                assert response.status_code in (400, 404, 413, 422), content
                assert response.json()["error"], content


@every_form
def test_a_body_that_is_too_large_is_refused_and_the_next_one_answered(form: Form, service: TestClient) -> None:
    assert "1000000 bytes" in sentence(form, service.post(form.path(), content=b" " * 1_000_001), 413, "too_large")
    assert form.answer(service)


@every_form
def test_a_text_that_is_too_long_or_empty_is_refused_by_the_clients_own_name(form: Form, service: TestClient) -> None:
    name = "prompt" if "/v1/" in form.route else "text_input" if "/v2/" in form.route else "inputs"
    for text, status, error_type in (("a" * 20_001, 413, "too_large"), (" ", 422, "validation"), ("a " * 1025, 413, "too_large")):
        told = sentence(form, form.post(service, text), status, error_type)
        assert told.startswith((f"{name}: ", f"{name}[0]: ")), told
        assert "[0]" not in told or form.route.endswith("/infer")


@every_form
def test_an_option_that_there_is_not_is_refused_by_its_name(form: Form, service: TestClient) -> None:
    told = sentence(form, form.post(service, wings=2), 422, "validation")
    assert told == ("wings" if "/v1/" in form.route else "parameters.wings") + ": there is no such field"


@every_form
def test_a_model_that_does_not_serve_is_told_with_those_that_do(form: Form, service: TestClient) -> None:
    told = sentence(form, form.post(service, model="nothing"), 404, "not_found")
    assert "there is no " in told
    assert ENDLESS in told


@every_form
def test_while_the_service_ends_nobody_is_taken_in(form: Form, service_settings: Settings) -> None:
    app = create_app(service_settings)
    with TestClient(app) as client:
        app.drain.begin()
        response = form.post(client)
        assert "shutting down" in sentence(form, response, 503, "unavailable")
        assert response.headers["connection"] == "close"


# ---------------------------------------------------------------------------------------------------- clients that leave


def long(form: Form) -> Any:
    return form.ask(form.model, PROMPT, {"max_new_tokens": FOREVER, "temperature": 1.0, "seed": 1})


@every_writing_form
def test_a_client_that_leaves_frees_its_row_and_is_counted(form: Form, server: Process) -> None:
    """In the middle of a stream, or before an answer."""
    labels = {"route": form.route, "outcome": "left"}
    before = server.metric("seqserve_requests_total", **labels)
    with connect(server) as leaver:
        send(leaver, long(form), form.path())
        eventually(lambda: server.metric("seqserve_rows_in_use", model=ENDLESS) == 1)
        if form in STREAMING.values():
            assert leaver.recv(100).startswith(b"HTTP/1.1 200 ")
    eventually(lambda: server.metric("seqserve_rows_in_use", model=ENDLESS) == 0, within_s=10)
    eventually(lambda: server.metric("seqserve_requests_total", **labels) == before + 1, within_s=10)


@every_stream
def test_words_come_while_others_are_still_to_be_written(form: Form, server: Process) -> None:
    with server.client.stream("POST", form.path(), json=long(form)) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        chunks = response.iter_raw()
        assert next(chunks).startswith(b"data:")
        eventually(lambda: server.metric("seqserve_rows_in_use", model=ENDLESS) == 1)
    eventually(lambda: server.metric("seqserve_rows_in_use", model=ENDLESS) == 0, within_s=10)


@every_stream
def test_a_deadline_in_the_middle_of_a_stream_is_an_event_of_its_form(form: Form, server: Process) -> None:
    response = server.client.post(form.path(), json=long(form), headers={"x-request-timeout": "0.3"})
    *words, last = [json.loads(block.removeprefix("data:")) for block in response.text.split("\n\n") if block.startswith("data:")]
    assert response.status_code == 200
    assert words
    told = last["error"]["message"] if "/v1/" in form.route else last["error"]
    assert "longer than it may" in told
    assert (last["error"]["code"] if "/v1/" in form.route else last["error_type"]) == "deadline"


# ---------------------------------------------------------------------------------------------------------- new versions


@every_form
def test_a_new_version_takes_the_place_of_the_old_one_without_a_failed_request(
    form: Form, service_models: Path, tmp_path: Path
) -> None:
    for name in (ENDLESS, CLASSIFIER):
        copy_version(service_models, name, tmp_path / "models")
    app = create_app(Settings(models=tmp_path / "models", generate_model=ENDLESS, classify_model=CLASSIFIER, poll_s=0))
    answered: list[tuple[int, str | None]] = []
    stop = threading.Event()
    with TestClient(app) as client:

        def ask() -> None:
            while not stop.is_set():
                response = form.post(client)
                answered.append((response.status_code, response.headers.get("x-model")))

        asker = threading.Thread(target=ask)
        asker.start()
        for version in (2, 3):
            copy_version(service_models, form.model, tmp_path / "models", version)
            registry_of(app).refresh(at_once=True)
            label = f"{form.model}/{version}"
            eventually(lambda label=label: client.get("/livez").is_success and answered[-1:] == [(200, label)])  # type: ignore[misc]
        stop.set()
        asker.join(30)
    assert {status for status, _ in answered} == {200}
    assert {label for _, label in answered} <= {f"{form.model}/{version}" for version in (1, 2, 3)}
