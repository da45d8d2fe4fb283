"""openai's client, as it is, on /v1."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.ask import CLASSIFIER, ENDING, ENDLESS, FOREVER, KEY, PROMPT, WRITING, generate, url, written
from tests.service.http.ask import taken
from tests.service.process import Server, eventually

openai = pytest.importorskip("openai", reason="openai is not installed")


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=url(server, "/v1"), api_key="none", max_retries=0) as client:
        yield client


def test_a_text_is_completed(client: Any, server: Server) -> None:
    answer = client.completions.create(model=ENDLESS, prompt=PROMPT, temperature=0, max_tokens=6)
    assert answer.choices[0].text == written(server, max_new_tokens=6)
    assert answer.choices[0].finish_reason == "length"
    assert (answer.object, answer.model, answer.system_fingerprint) == ("text_completion", ENDLESS, f"{ENDLESS}/1")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 6, 8)
    assert answer.id == f"cmpl-{answer._request_id}"


def test_every_form_of_a_prompt_is_completed(client: Any, server: Server) -> None:
    ids = [token["id"] for token in generate(server, details=True)["details"]["prefill"]]
    expected = written(server, max_new_tokens=6)
    for prompt, count in ((PROMPT, 1), ([PROMPT, PROMPT], 2), (ids, 1), ([ids, ids, ids], 3)):
        answer = client.completions.create(model=ENDLESS, prompt=prompt, temperature=0, max_tokens=6)
        assert [(choice.index, choice.text) for choice in answer.choices] == [(index, expected) for index in range(count)]


def test_several_are_drawn_and_told_with_their_seeds(client: Any, server: Server) -> None:
    options: dict[str, Any] = {"temperature": 1.3, "top_p": 0.9, "seed": 7}
    answer = client.completions.create(model=ENDLESS, prompt=PROMPT, n=2, best_of=4, max_tokens=6, **options)
    expected = generate(server, n=2, best_of=4, max_new_tokens=6, details=True, **options)
    assert [choice.text for choice in answer.choices] == [one["generated_text"] for one in expected]
    assert [choice.seed for choice in answer.choices] == [one["details"]["seed"] for one in expected]


def test_log_probabilities_echo_and_stop(client: Any, server: Server) -> None:
    whole = generate(server, details=True, decoder_input_details=True, top_n_tokens=2)
    stop = whole["generated_text"].split()[3]
    (choice,) = client.completions.create(
        model=ENDLESS, prompt=PROMPT, temperature=0, max_tokens=20, logprobs=2, echo=True, stop=stop
    ).choices
    text = whole["generated_text"]
    assert choice.text == f"{PROMPT} {text[: text.index(stop)]}"
    assert choice.finish_reason == "stop"
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text
    details = whole["details"]
    scores = [token["logprob"] for token in (*details["prefill"], *details["tokens"])]
    assert told.token_logprobs == scores[: len(told.tokens)]
    assert told.top_logprobs[0] is None
    assert all(len(top) in (2, 3) for top in told.top_logprobs[1:])
    assert [choice.text[at:].startswith(token) for at, token in zip(told.text_offset, told.tokens, strict=True)] == [True] * len(
        told.tokens
    )


def test_a_prompt_is_scored(client: Any, server: Server) -> None:
    (choice,) = client.completions.create(model=ENDING, prompt=PROMPT, max_tokens=0, echo=True, logprobs=1).choices
    prefill = generate(server, model=ENDING, max_new_tokens=0, details=True)["details"]["prefill"]
    assert choice.logprobs.token_logprobs == [token["logprob"] for token in prefill[1:]]


def test_words_are_streamed_and_then_what_was_used(client: Any, server: Server) -> None:
    options: dict[str, Any] = {"model": ENDLESS, "prompt": [PROMPT, "the cat"], "n": 2, "seed": 4, "max_tokens": 9}
    *events, last = client.completions.create(stream=True, stream_options={"include_usage": True}, **options)
    at_once = client.completions.create(**options)
    for choice in at_once.choices:
        parts = [part for event in events for part in event.choices if part.index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert parts[-1].finish_reason == choice.finish_reason == "length"
    assert last.choices == []
    assert last.usage == at_once.usage
    assert all(event.usage is None for event in events)


def test_a_client_that_leaves_a_stream_frees_its_row(client: Any, server: Server) -> None:
    with client.completions.create(model=ENDLESS, prompt=PROMPT, max_tokens=FOREVER, seed=1, stream=True) as stream:
        assert next(iter(stream)).choices[0].text
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 1)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_a_client_that_gives_up_frees_its_row(client: Any, server: Server) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.completions.create(model=ENDLESS, prompt=PROMPT, max_tokens=FOREVER, seed=1, timeout=0.3)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


def test_the_asynchronous_client_completes_and_streams(server: Server) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=url(server, "/v1"), api_key="none") as client:
            options: dict[str, Any] = {"model": ENDLESS, "prompt": PROMPT, "temperature": 0, "max_tokens": 6}
            words = [event.choices[0].text async for event in await client.completions.create(stream=True, **options)]
            return (await client.completions.create(**options)).choices[0].text, "".join(words)

    assert asyncio.run(ask()) == (written(server, max_new_tokens=6),) * 2


def test_the_models_that_complete_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [ENDLESS, ENDING]
    assert client.models.retrieve(ENDING).object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(CLASSIFIER)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_fault_is_the_clients_own_exception(client: Any) -> None:
    faults: list[tuple[type[Exception], str | None, str | None, dict[str, Any]]] = [
        (openai.BadRequestError, "suffix", "validation", {"suffix": "x"}),
        (openai.BadRequestError, "logit_bias", "validation", {"logit_bias": {"5": 1}}),
        (openai.BadRequestError, "n", "validation", {"n": 2, "temperature": 0}),
        (openai.BadRequestError, "prompt", "validation", {"prompt": ""}),
        (openai.NotFoundError, "model", "model_not_found", {"model": "gpt-5"}),
        (openai.APIStatusError, "prompt", "too_large", {"prompt": "a " * 1025}),
    ]
    for kind, param, code, fields in faults:
        for stream in (False, True):
            with pytest.raises(kind) as caught:
                client.completions.create(**({"model": ENDLESS, "prompt": PROMPT, "stream": stream} | fields))
            fault: Any = caught.value
            assert (fault.param, fault.code, fault.type) == (param, code, "invalid_request_error")
            assert fault.request_id == fault.response.headers["x-request-id"]
    with pytest.raises(openai.NotFoundError, match="there is no /v1/chat/completions"):
        client.chat.completions.create(model=ENDLESS, messages=[{"role": "user", "content": PROMPT}])


def test_a_full_service_is_the_clients_own_exception_and_is_asked_again(full: Any) -> None:
    server, app = full
    with openai.OpenAI(base_url=url(server, "/v1"), api_key="none", max_retries=0) as client, taken(app, 1):
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model=ENDLESS, prompt=PROMPT)
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        assert int(caught.value.response.headers["retry-after"]) >= 1


def test_a_deadline_is_the_clients_own_exception(client: Any) -> None:
    options: dict[str, Any] = {"model": ENDLESS, "prompt": PROMPT, "max_tokens": FOREVER, "seed": 1}
    with pytest.raises(openai.InternalServerError, match="longer than it may") as caught:
        client.completions.create(**options, extra_headers={"x-request-timeout": "0.2"})
    assert (caught.value.status_code, caught.value.type, caught.value.code) == (504, "server_error", "deadline")
    with pytest.raises(openai.APIError, match="longer than it may") as caught:
        list(client.completions.create(**options, stream=True, extra_headers={"x-request-timeout": "0.3"}))
    assert (caught.value.type, caught.value.code) == ("server_error", "deadline")


def test_an_api_key_is_a_key(guarded: Server) -> None:
    with openai.OpenAI(base_url=url(guarded, "/v1"), api_key="another-key-that-is-long", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.completions.create(model=ENDLESS, prompt=PROMPT)
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    with openai.OpenAI(base_url=url(guarded, "/v1"), api_key=KEY, max_retries=0) as client:
        assert client.completions.create(model=ENDLESS, prompt=PROMPT, max_tokens=3).choices[0].text
        assert client.models.list().data
