"""huggingface_hub's InferenceClient, as it is: at the root of the service, at a model's address and at the routes."""

import asyncio
from typing import Any

import pytest

from service.http.app import create_app
from service.settings import Settings
from tests.clients.ask import CLASSIFIER, ENDING, ENDLESS, FOREVER, KEY, PROMPT, WRITING, classify, generate, url, written
from tests.service.http.ask import taken
from tests.service.process import Server, eventually, serving

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
errors = pytest.importorskip("huggingface_hub.errors")

ADDRESSES = ["", f"/models/{ENDLESS}", "/generate"]
LABELLED = [f"/models/{CLASSIFIER}", "/predict"]


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would send one that is kept on this machine."""
    monkeypatch.setattr("huggingface_hub.inference._providers.hf_inference.get_token", lambda: None)


def client(server: Server, path: str = "", **options: Any) -> Any:
    return hub.InferenceClient(base_url=url(server, path), **options)


def labels(told: Any) -> list[dict[str, Any]]:
    return [{"label": one.label, "score": one.score} for one in told]


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_text_is_written(path: str, server: Server) -> None:
    for options in ({}, {"max_new_tokens": 5}, {"return_full_text": True}, {"temperature": 1.3, "top_p": 0.9, "seed": 4}):
        assert client(server, path).text_generation(PROMPT, **options) == written(server, **options)


@pytest.mark.parametrize("path", ADDRESSES)
def test_details_are_told(path: str, server: Server) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "top_n_tokens": 2, "do_sample": True, "seed": 7, "stop": ["고래"]}
    told = client(server, path).text_generation(PROMPT, details=True, decoder_input_details=True, **options)
    expected = generate(server, details=True, decoder_input_details=True, **options)
    assert told.generated_text == expected["generated_text"]
    details = expected["details"]
    assert (told.details.finish_reason, told.details.generated_tokens, told.details.seed) == ("length", 6, 7)
    assert [(token.id, token.text, token.logprob) for token in told.details.prefill] == [
        (token["id"], token["text"], token["logprob"]) for token in details["prefill"]
    ]
    assert [(token.id, token.text, token.logprob, token.special) for token in told.details.tokens] == [
        (token["id"], token["text"], token["logprob"], token["special"]) for token in details["tokens"]
    ]
    assert [[dict(token) for token in step] for step in told.details.top_tokens] == details["top_tokens"]


@pytest.mark.parametrize("path", ADDRESSES[:2])
def test_what_a_client_sends_that_always_says_how_to_draw_does_not_keep_it_from_an_answer(path: str, server: Server) -> None:
    told = client(server, path).text_generation(PROMPT, do_sample=False, temperature=0.8, top_p=0.95, typical_p=0.95, seed=42)
    assert told == written(server)


def test_the_best_of_several_is_written(server: Server) -> None:
    options: dict[str, Any] = {"best_of": 4, "do_sample": True, "seed": 7}
    assert client(server).text_generation(PROMPT, **options) == written(server, **options)


@pytest.mark.parametrize("path", ["", f"/models/{ENDLESS}", "/generate", "/generate_stream"])
def test_words_are_streamed(path: str, server: Server) -> None:
    one = client(server, path)
    assert "".join(one.text_generation(PROMPT, stream=True, seed=3, temperature=1.2)) == written(server, seed=3, temperature=1.2)


def test_a_stream_tells_its_details_at_the_end(server: Server) -> None:
    one = client(server)
    *words, last = one.text_generation(PROMPT, stream=True, details=True, max_new_tokens=5, top_n_tokens=2)
    assert all(word.details is None and word.generated_text is None for word in words)
    assert last.generated_text == written(server, max_new_tokens=5)
    assert (last.details.finish_reason, last.details.generated_tokens, last.details.input_length) == ("length", 5, 2)
    assert len(last.top_tokens) == 2


def test_a_client_that_leaves_a_stream_frees_its_row(server: Server) -> None:
    with client(server) as one:
        words = one.text_generation(PROMPT, stream=True, max_new_tokens=FOREVER, seed=1, do_sample=True)
        assert next(words)
        eventually(lambda: server.metric(WRITING, model=ENDLESS) == 1)
    eventually(lambda: server.metric(WRITING, model=ENDLESS) == 0, within_s=10)


@pytest.mark.parametrize("path", LABELLED)
def test_a_text_is_labelled(path: str, server: Server) -> None:
    for options in ({}, {"top_k": 1}, {"function_to_apply": "none"}, {"function_to_apply": "sigmoid", "top_k": 2}):
        assert labels(client(server, path).text_classification(PROMPT, **options)) == classify(server, **options)


def test_the_root_labels_what_says_how(server: Server) -> None:
    told = client(server).text_classification(PROMPT, function_to_apply="softmax")
    assert labels(told) == classify(server)


def test_the_root_labels_everything_that_could_be_either_where_the_operator_says_so(settings: Settings) -> None:
    with serving(create_app(settings.model_copy(update={"root_task": "classify"}))) as server:
        assert labels(client(server).text_classification(PROMPT)) == classify(server)
        assert client(server).text_generation(PROMPT, max_new_tokens=3) == written(server, max_new_tokens=3)


def test_the_asynchronous_client_writes_streams_and_labels(server: Server) -> None:
    async def ask() -> tuple[str, str, Any]:
        async with (
            hub.AsyncInferenceClient(base_url=url(server)) as one,
            hub.AsyncInferenceClient(url(server, "/predict")) as other,
        ):
            words = [word async for word in await one.text_generation(PROMPT, stream=True, max_new_tokens=6)]
            return await one.text_generation(PROMPT, max_new_tokens=6), "".join(words), await other.text_classification(PROMPT)

    at_once, streamed, labelled = asyncio.run(ask())
    assert at_once == streamed == written(server, max_new_tokens=6)
    assert labels(labelled) == classify(server)


def test_the_end_of_a_sentence_is_the_end_of_a_stream(server: Server) -> None:
    one = client(server, f"/models/{ENDING}")
    told = list(one.text_generation(PROMPT, stream=True, details=True, max_new_tokens=500, temperature=3.0, seed=2))
    assert told[-1].details.finish_reason == "eos_token"
    assert told[-1].token.special
    assert "".join(word.token.text for word in told[:-1]) == told[-1].generated_text


def test_a_fault_is_the_clients_own_exception(server: Server) -> None:
    for fields, sentence in (
        ({"max_new_tokens": -1}, "parameters.max_new_tokens: "),
        ({"top_p": 2}, "parameters.top_p: "),
        ({"watermark": True}, "parameters.watermark: there is no such field"),
        ({"grammar": {"type": "regex", "value": "a"}}, "parameters.grammar: there is no such field"),
    ):
        with pytest.raises(errors.ValidationError, match=sentence):
            client(server).text_generation(PROMPT, **fields)
    with pytest.raises(errors.ValidationError, match="inputs: is empty"):
        client(server).text_generation(" ", stream=True)
    with pytest.raises(errors.HfHubHTTPError, match="inputs: is empty"):
        client(server, "/predict").text_classification(" ")


def test_a_full_service_is_the_clients_own_exception(full: Any) -> None:
    server, app = full
    with taken(app, 1), pytest.raises(errors.OverloadedError, match="try again in"):
        client(server).text_generation(PROMPT)


def test_a_deadline_is_told(server: Server) -> None:
    with pytest.raises(errors.UnknownError, match="longer than it may"):
        client(server, headers={"x-request-timeout": "0.2"}).text_generation(PROMPT, max_new_tokens=FOREVER, seed=1, do_sample=True)
    one = client(server, headers={"x-request-timeout": "0.2"})
    with pytest.raises(errors.UnknownError, match="longer than it may"):
        list(one.text_generation(PROMPT, max_new_tokens=FOREVER, seed=1, do_sample=True, stream=True))


def test_a_token_is_a_key(guarded: Server) -> None:
    with pytest.raises(errors.UnknownError, match="needs a key"):
        client(guarded).text_generation(PROMPT, max_new_tokens=3)
    for options in ({"token": KEY}, {"api_key": KEY}):
        assert client(guarded, **options).text_generation(PROMPT, max_new_tokens=3)
        assert client(guarded, "/predict", **options).text_classification(PROMPT)
