"""POST /v1/completions and GET /v1/models: what OpenAI's form says beside the words, which test_forms.py compares."""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifact import load
from service.http.app import create_app
from service.http.completion_schemas import Completion, CompletionError, CompletionModel, CompletionModels
from service.settings import Settings
from tests.builders import WORDS
from tests.conftest import GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT, generate, registry_of
from tests.service.http.forms import CLASSIFIER, data

MODELS = [*(small.name for small in GENERATORS), ENDLESS]
ENDING = "lstm1-generate"  # knows an end of a sentence, and puts one before every text
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prompts = st.lists(st.sampled_from([*WORDS, "고래", ".", "whale!", "é", "E\u0301"]), min_size=1, max_size=8).map(" ".join)
stops = st.lists(st.sampled_from(["좋다", " a", "cat ", "람들", "다 집", "원에 사", "me m", "있", "the cat sat", "t"]), max_size=4)


def post(client: TestClient, prompt: Any = PROMPT, **fields: Any) -> Response:
    response: Response = client.post("/v1/completions", json={"prompt": prompt} | fields)
    return response


def complete(client: TestClient, prompt: Any = PROMPT, **fields: Any) -> Any:
    """The answer to a request that must succeed, after a look at its form."""
    response = post(client, prompt, **fields)
    assert response.status_code == 200, response.text
    answer = response.json()
    Completion.model_validate(answer, strict=True)
    assert answer["id"] == f"cmpl-{response.headers['x-request-id']}"
    assert f"{answer['model']}/1" == answer["system_fingerprint"] == response.headers["x-model"]
    assert abs(answer["created"] - datetime.now(UTC).timestamp()) < 60
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(answer["choices"])))
    return answer


def choice(client: TestClient, prompt: Any = PROMPT, **fields: Any) -> Any:
    """The only choice."""
    (only,) = complete(client, prompt, **fields)["choices"]
    return only


def texts(client: TestClient, prompt: Any, **fields: Any) -> list[str]:
    return [choice["text"] for choice in complete(client, prompt, **fields)["choices"]]


def stream(client: TestClient, prompt: Any = PROMPT, **fields: Any) -> list[Any]:
    """The events of a stream, after a look at their form."""
    response = post(client, prompt, stream=True, **fields)
    assert response.status_code == 200, response.text
    assert response.text.endswith("\n\ndata: [DONE]\n\n")
    events = data(response.content)
    for event in events:
        Completion.model_validate(event, strict=True)
        assert {name: event[name] for name in ("id", "created", "model")} == {
            name: events[0][name] for name in ("id", "created", "model")
        }
    return events


def joined(events: list[Any], index: int = 0) -> Any:
    """One choice of a stream, as it would have come at once."""
    parts = [part for event in events for part in event["choices"] if part["index"] == index]
    assert [part["finish_reason"] for part in parts[:-1]] == [None] * (len(parts) - 1)
    logprobs = [part["logprobs"] for part in parts]
    whole: Any = {name: [one for told in logprobs for one in told[name] or []] for name in logprobs[0]} if logprobs[0] else None
    if whole and all(told["top_logprobs"] is None for told in logprobs):
        whole["top_logprobs"] = None
    return parts[-1] | {"text": "".join(part["text"] for part in parts), "logprobs": whole}


def fault(response: Response, status: int) -> Any:
    assert response.status_code == status, response.text
    return CompletionError.model_validate(response.json(), strict=True).error


# ------------------------------------------------------------------------------------------------------------------ prompts


@pytest.mark.parametrize("model", MODELS)
def test_a_list_of_texts_is_answered_text_by_text(model: str, service: TestClient) -> None:
    asked = [PROMPT, "the cat sat", "고래"]
    assert texts(service, asked, model=model, temperature=0) == [
        choice(service, text, model=model, temperature=0)["text"] for text in asked
    ]


@pytest.mark.parametrize("model", MODELS)
@EXAMPLES
@given(prompt=prompts)
def test_the_ids_of_a_text_are_answered_as_the_text(model: str, prompt: str, service: TestClient) -> None:
    """As /generate tells them, with the end of a sentence before them where the model wants it, or as the tokenizer gives them."""
    tokenizer = registry_of(service.app).generator(model)[0].tokenizer
    expected = choice(service, prompt, model=model, temperature=0)["text"]
    for ids in (tokenizer.encode_prompt(prompt).ids, tokenizer.encode(prompt).ids):
        assert texts(service, ids, model=model, temperature=0) == [expected]
        assert texts(service, [ids, ids], model=model, temperature=0) == [expected] * 2


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "prompt: is empty"),
        ([PROMPT, " "], "prompt[1]: is empty"),
        ([], "prompt: must be a text, a list of texts, "),
        ([[]], "prompt: must be "),
        ([PROMPT, 5], "prompt: must be "),
        ([5, [5]], "prompt: must be "),
        ([True], "prompt: must be "),
        ([-1], "prompt: must be "),
        ([1.0], "prompt: must be "),
        ({"text": "a"}, "prompt: must be "),
        ([10**9], "prompt: 1000000000 is no word; the model has ids from 0 to "),
        ([0], "prompt: 0 is no word; "),  # padding
        (["a"] * 257, "prompt: 257 texts are more than the 256 of one request"),
    ],
)
def test_a_prompt_that_is_none_is_refused(prompt: Any, sentence: str, service: TestClient) -> None:
    told = fault(post(service, prompt), 413 if "more than" in sentence else 400)
    assert told.message.startswith(sentence)
    assert (told.type, told.param) == ("invalid_request_error", "prompt")


def test_the_end_of_a_sentence_alone_is_no_prompt(service: TestClient) -> None:
    end = registry_of(service.app).generator(ENDING)[0].tokenizer.end_id
    assert "has no word" in fault(post(service, [end], model=ENDING), 400).message


def test_a_prompt_must_be_there(service: TestClient) -> None:
    for body in ({}, {"prompt": None}):
        assert fault(service.post("/v1/completions", json=body), 400).message == "prompt: Field required"


# ------------------------------------------------------------------------------------------------------ several, and usage


def test_n_gives_so_many_choices_a_prompt_with_the_following_seeds(service: TestClient) -> None:
    answer = complete(service, [PROMPT, "the cat"], n=3, seed=7, max_tokens=9)
    alone = [choice(service, prompt, seed=seed, max_tokens=9) for prompt in (PROMPT, "the cat") for seed in (7, 8, 9)]
    assert answer["choices"] == [one | {"index": index} for index, one in enumerate(alone)]
    assert len({one["text"] for one in alone}) > 4


def test_best_of_gives_the_likeliest(service: TestClient) -> None:
    likeliest = generate(service, seed=7, temperature=1.0, n=2, best_of=6, max_new_tokens=9)
    answer = complete(service, seed=7, n=2, best_of=6, max_tokens=9)
    assert [one["text"] for one in answer["choices"]] == [one["generated_text"] for one in likeliest]
    assert answer["usage"]["completion_tokens"] == 6 * 9  # what was drawn, not what was told


@pytest.mark.parametrize(("model", "read"), [(ENDING, 2), (ENDLESS, 2)])
def test_usage_counts_words_without_the_end_before_a_text(model: str, read: int, service: TestClient) -> None:
    usage = complete(service, [PROMPT, "집"], model=model, temperature=0, max_tokens=3)["usage"]
    assert usage["prompt_tokens"] == read + 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 2 <= usage["completion_tokens"] <= 6


@pytest.mark.parametrize("model", [ENDING, ENDLESS])
def test_usage_counts_ids_as_they_came(model: str, service: TestClient) -> None:
    """Whether they begin with the end of a sentence, as every text is read, or not; as many as echo tells of."""
    tokenizer = registry_of(service.app).generator(model)[0].tokenizer
    for ids in (tokenizer.encode_prompt(PROMPT).ids, tokenizer.encode(PROMPT).ids):
        answer = complete(service, [ids, ids], model=model, temperature=0, max_tokens=0, echo=True, logprobs=0)
        assert answer["usage"]["prompt_tokens"] == 2 * len(ids)
        assert [len(one["logprobs"]["tokens"]) for one in answer["choices"]] == [len(ids)] * 2


def test_why_a_text_ends_is_told(service: TestClient) -> None:
    assert choice(service, temperature=0)["finish_reason"] == "length"
    assert choice(service, temperature=0, stop=" ")["finish_reason"] == "stop"
    reasons = [one["finish_reason"] for one in complete(service, model=ENDING, n=8, max_tokens=200, temperature=3.0)["choices"]]
    assert "stop" in reasons


# --------------------------------------------------------------------------------------------------------------- sampling


def test_words_are_drawn_unless_the_temperature_is_0(service: TestClient) -> None:
    drawn = [choice(service) for _ in range(6)]
    assert len({one["text"] for one in drawn}) > 1
    assert choice(service, temperature=0)["text"] == generate(service, max_new_tokens=16)["generated_text"]
    assert choice(service, temperature=0)["seed"] is None


def test_the_seed_that_was_drawn_is_told_and_writes_the_same_again(service: TestClient) -> None:
    one = choice(service, temperature=1.5)
    assert choice(service, temperature=1.5, seed=one["seed"]) == one
    assert joined(stream(service, temperature=1.5, seed=one["seed"])) == one


def test_a_seed_below_0_is_a_seed(service: TestClient) -> None:
    assert choice(service, seed=-1) == choice(service, seed=2**64 - 1)


def test_what_is_off_is_as_good_as_left_out(service: TestClient) -> None:
    """As many clients send every option that they know."""
    off: dict[str, Any] = {
        "top_p": 1,
        "n": 1,
        "best_of": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "logit_bias": {},
        "suffix": "",
    }
    names = ["suffix", "logit_bias", "presence_penalty", "stop", "logprobs", "echo", "n", "user", "stream_options"]
    nothing: dict[str, Any] = dict.fromkeys(names)
    bare = choice(service, seed=3, temperature=1)
    others: list[dict[str, Any]] = [{"stop": []}, {"temperature": None}, {"max_tokens": None, "stream": None, "user": "me"}]
    for fields in (off, nothing, *others):
        assert choice(service, seed=3, **fields) == bare
    assert choice(service, temperature=0, top_p=0.5, seed=3)["text"] == choice(service, temperature=0)["text"]


def test_where_nothing_is_written_the_options_of_writing_are_taken_and_change_nothing(service: TestClient) -> None:
    asked: dict[str, Any] = {"max_tokens": 0, "echo": True, "logprobs": 1}
    writing = {"temperature": 0.5, "top_p": 0.5, "seed": 3, "stop": [PROMPT[:2]], "frequency_penalty": 1.5}
    assert choice(service, **asked, **writing) == choice(service, **asked)


def test_16_words_are_written_where_nobody_says_how_many_or_as_many_as_the_operator_allows(service_settings: Settings) -> None:
    for limit, words in ((512, 16), (6, 6)):
        with TestClient(create_app(service_settings.model_copy(update={"max_new_tokens": limit}))) as client:
            assert len(choice(client, temperature=0)["text"].split()) == words
            assert fault(post(client, max_tokens=limit + 1), 400).message == f"max_tokens: the largest is {limit}"


# ------------------------------------------------------------------------------------------------------------------- stop


@EXAMPLES
@given(prompt=prompts, seed=st.integers(0, 2**64 - 1), stop=stops, echo=st.booleans())
def test_the_text_ends_before_the_first_stop_sequence(
    prompt: str, seed: int, stop: list[str], echo: bool, service: TestClient
) -> None:
    options: dict[str, Any] = {"seed": seed, "temperature": 2.0, "max_tokens": 40}
    one, whole = choice(service, prompt, stop=stop, **options), choice(service, prompt, **options)["text"]
    text = one["text"]
    assert whole.startswith(text)
    assert not any(sequence in text for sequence in stop)
    if one["finish_reason"] == "stop":
        assert any(whole[len(text) :].startswith(sequence) for sequence in stop)
    else:
        assert text == whole
    assert joined(stream(service, prompt, stop=stop, **options)) == one
    echoed = choice(service, prompt, stop=stop, echo=True, **options)
    assert echoed["text"].endswith(text)
    assert joined(stream(service, prompt, stop=stop, echo=True, **options)) == echoed


def test_one_stop_sequence_is_a_list_of_one(service: TestClient) -> None:
    assert choice(service, temperature=0, stop="the") == choice(service, temperature=0, stop=["the"])


def test_a_stop_sequence_is_compared_after_normalisation(service: TestClient) -> None:
    whole = choice(service, seed=1, temperature=3.0)["text"]
    word = next(word for word in whole.split() if unicodedata.normalize("NFD", word) != word)
    stop = unicodedata.normalize("NFD", word)
    assert choice(service, seed=1, temperature=3.0, stop=stop)["text"] == whole[: whole.index(word)]


def test_a_word_is_not_held_back_unless_a_stop_sequence_may_begin_in_it(service: TestClient) -> None:
    words = len(stream(service, temperature=0, max_tokens=12))
    assert words == 12
    assert len(stream(service, temperature=0, max_tokens=12, stop=["고래"])) == words


# --------------------------------------------------------------------------------------------------------------- logprobs


@pytest.mark.parametrize("model", MODELS)
@EXAMPLES
@given(prompt=prompts, seed=st.integers(0, 2**64 - 1), stop=stops, echo=st.booleans(), count=st.integers(0, 3))
def test_the_words_with_their_log_probabilities_are_those_of_generate_and_join_to_the_text(
    model: str, prompt: str, seed: int, stop: list[str], echo: bool, count: int, service: TestClient
) -> None:
    options: dict[str, Any] = {"seed": seed, "temperature": 1.5}
    one = choice(service, prompt, model=model, stop=stop, echo=echo, logprobs=count, max_tokens=12, **options)
    told, text = one["logprobs"], one["text"]
    assert "".join(told["tokens"]) == text
    assert all(text[at:].startswith(word) for at, word in zip(told["text_offset"], told["tokens"], strict=True))
    details = generate(
        *(service, prompt, model), **options, stop=stop, max_new_tokens=12, details=True, decoder_input_details=True
    )["details"]
    written = [token["logprob"] for token in details["tokens"] if not token["special"]]
    read = [token["logprob"] for token in details["prefill"]][1 if model != ENDLESS else 0 :] if echo else []
    assert told["token_logprobs"] == (read + written)[: len(told["tokens"])]
    _check_top(told, bool(read) and read[0] is None, count)
    if not echo:
        assert joined(stream(service, prompt, model=model, stop=stop, logprobs=count, max_tokens=12, **options)) == one


def _check_top(told: Any, unscored: bool, count: int) -> None:
    """The likeliest in every place, the prompt's too, and the word itself; unscored: the first has none."""
    if not count:
        assert told["top_logprobs"] is None
        return
    places = list(zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True))
    if unscored:
        assert places.pop(0)[1:] == (None, None)
    for place, (word, logprob, top) in enumerate(places):
        own = [other for other in top if other == word or (place == len(places) - 1 and other.startswith(word))]
        assert logprob in [top[other] for other in own]
        assert count <= len(top) <= count + 1
        likeliest = list(top.values())[:count]
        assert likeliest == sorted(likeliest, reverse=True)


@pytest.mark.parametrize("model", MODELS)
@EXAMPLES
@given(prompt=prompts)
def test_a_prompt_is_echoed_as_the_model_reads_it_and_before_its_answer(model: str, prompt: str, service: TestClient) -> None:
    told = generate(service, f"  {prompt}\n", model, return_full_text=True)["generated_text"]
    assert choice(service, f"  {prompt}\n", model=model, echo=True, temperature=0, max_tokens=20)["text"] == told


@pytest.mark.parametrize("model", MODELS)
def test_a_prompt_is_scored_without_writing_anything(model: str, service: TestClient) -> None:
    """As those do who measure models."""
    text = "the cat 고래 sat 좋다."
    answer = complete(service, [text, PROMPT], model=model, max_tokens=0, echo=True, logprobs=1, temperature=0)
    prefill = generate(service, text, model, max_new_tokens=0, details=True)["details"]["prefill"]
    if model != ENDLESS:
        prefill = prefill[1:]
    one = answer["choices"][0]
    _check_top(one["logprobs"], model == ENDLESS, 1)
    assert one["text"] == text
    assert one["logprobs"]["tokens"] == ["the", " cat", " 고래", " sat", *one["logprobs"]["tokens"][4:]]
    assert one["logprobs"]["token_logprobs"] == [token["logprob"] for token in prefill]
    assert one["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize("model", MODELS)
def test_the_words_of_ids_stand_one_to_one_with_them(model: str, service: TestClient) -> None:
    """What a model does not know, and the end of a sentence, add nothing to a text."""
    tokenizer = registry_of(service.app).generator(model)[0].tokenizer
    words, unknown, end = tokenizer.encode("the cat").ids, tokenizer.unknown_id, tokenizer.end_id
    asked = [([*words, unknown, *words], ["the", " cat", "", " the", " cat"]), ([unknown, *words], ["", "the", " cat"])]
    if end is not None:
        asked.append(([end, *words, end], ["", "the", " cat", ""]))
    for ids, told in asked:
        one = choice(service, ids, model=model, max_tokens=0, echo=True, logprobs=0)
        assert one["logprobs"]["tokens"] == told
        assert one["text"] == tokenizer.decode(ids) == choice(service, ids, model=model, max_tokens=0, echo=True)["text"]


# ---------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("echo", [True, False])
def test_several_choices_are_streamed_together_and_each_is_what_comes_at_once(echo: bool, service: TestClient) -> None:
    options: dict[str, Any] = {"n": 2, "seed": 5, "temperature": 2.0, "model": ENDING, "max_tokens": 60, "echo": echo}
    asked = [PROMPT, "the cat", "고래"]
    events = stream(service, asked, **options)
    at_once = complete(service, asked, **options)["choices"]
    assert [joined(events, index) for index in range(6)] == at_once
    assert {one["finish_reason"] for one in at_once} == {"stop", "length"}
    order = [event["choices"][0]["index"] for event in events]
    assert order != sorted(order), "one came after another"


def test_usage_is_streamed_where_it_is_asked_for_in_an_event_of_its_own(service: TestClient) -> None:
    options: dict[str, Any] = {"seed": 5, "n": 2, "max_tokens": 7}
    plain = stream(service, **options)
    asked = stream(service, stream_options={"include_usage": True}, **options)
    assert not any("usage" in event for event in plain)
    assert [event["usage"] for event in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"] == complete(service, **options)["usage"]
    assert len(asked) == len(plain) + 1


# ---------------------------------------------------------------------------------------------------------------- refusals

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "suffix": ({"suffix": "x"}, "suffix: is not supported: "),
    "logit_bias": ({"logit_bias": {"5": 1}}, "logit_bias: is not supported"),
    "presence_penalty": ({"presence_penalty": 0.5}, "presence_penalty: is not supported; frequency_penalty is"),
    "an unknown field": ({"messages": []}, "messages: there is no such field"),
    "a hot temperature": ({"temperature": 101}, "temperature: "),
    "no top_p": ({"top_p": 0}, "top_p: "),
    "many stop sequences": ({"stop": ["a"] * 9}, "stop: "),
    "an empty stop sequence": ({"stop": [""]}, "stop.0: "),
    "a long stop sequence": ({"stop": "a" * 201}, "stop.0: "),
    "many words": ({"max_tokens": 513}, "max_tokens: the largest is 512"),
    "many choices": ({"n": 9}, "n: the largest is 8"),
    "many to choose from": ({"best_of": 9}, "best_of: the largest is 8"),
    "few to choose from": ({"n": 2, "best_of": 1}, "best_of: cannot be less than n"),
    "several greedy choices": ({"n": 2, "temperature": 0}, "n: without sampling all answers would be the same; set temperature"),
    "the best of greedy ones": ({"best_of": 2, "temperature": 0}, "best_of: without sampling "),
    "many log-probabilities": ({"logprobs": 21}, "logprobs: "),
    "nothing": ({"max_tokens": 0}, "max_tokens: 0 writes nothing; set echo"),
    "a stream of nothing": ({"max_tokens": 0, "echo": True, "stream": True}, "max_tokens: a stream has at least one word"),
    "a stream of the best": ({"best_of": 2, "stream": True}, "best_of: the best is known at the end alone"),
    "a stream of prompts' scores": ({"echo": True, "logprobs": 1, "stream": True}, "logprobs: those of the prompt"),
    "options without a stream": ({"stream_options": {"include_usage": True}}, "stream_options: go with stream alone"),
    "hidden lengths": ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation: "),
    "a classifier": ({"model": CLASSIFIER}, f"model: {CLASSIFIER} is for /classify, not for /generate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_by_its_name(case: str, service: TestClient) -> None:
    fields, sentence = REFUSED[case]
    told = fault(post(service, **fields), 400)
    assert told.message.startswith(sentence)
    assert told.param == sentence.partition(":")[0].partition(".")[0]
    assert (told.type, told.code) == ("invalid_request_error", "validation")


def test_more_work_than_a_request_may_ask_for_is_refused(service: TestClient) -> None:
    told = fault(post(service, ["a"] * 200, max_tokens=500), 413)
    assert told.message.startswith("prompt: 200 texts with these parameters ask for up to 100000 tokens")
    assert (told.type, told.param, told.code) == ("invalid_request_error", "prompt", "too_large")


def test_a_model_that_is_not_there_has_openais_word_for_it(service: TestClient) -> None:
    told = fault(post(service, model="gpt-5"), 404)
    assert (told.type, told.param, told.code) == ("invalid_request_error", "model", "model_not_found")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_is_not_there_is_told_in_openais_form(method: str, service: TestClient) -> None:
    for path in ("/v1/chat/completions", "/v1/nothing", "/v1/"):
        told = fault(service.request(method, path), 404)
        assert told.message == f"there is no {path}; /docs lists what there is"
        assert (told.type, told.param, told.code) == ("invalid_request_error", None, "not_found")
    told = fault(service.get("/v1/completions"), 405)
    assert (told.message, told.code) == ("/v1/completions takes POST, not GET", "method_not_allowed")


def test_a_model_that_fails_is_told_in_openais_form(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr("service.inference.runtime.Runtime.step", fails)
    for stream in (False, True):
        response = post(client, stream=stream)
        told = fault(response, 500)
        assert (told.type, told.param, told.code) == ("server_error", None, "internal")
        assert "password" not in response.text


# ----------------------------------------------------------------------------------------------------------------- models


@pytest.fixture
def listed(service: TestClient) -> list[CompletionModel]:
    response = service.get("/v1/models")
    assert response.status_code == 200
    return CompletionModels.model_validate(response.json(), strict=True).data


def test_the_models_that_continue_texts_are_listed(listed: list[CompletionModel], service: TestClient, settings: Settings) -> None:
    assert [model.id for model in listed] == sorted(MODELS)
    for model in listed:
        assert service.get(f"/v1/models/{model.id}").json() == json.loads(model.model_dump_json())
        created = load(settings.models / model.id / "1").manifest.training.created if model.id != ENDLESS else None
        if created is not None:
            assert datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == created


def test_a_model_that_is_not_listed_is_not_found(service: TestClient) -> None:
    for name in ("nothing", CLASSIFIER):
        told = fault(service.get(f"/v1/models/{name}"), 404)
        assert told.message == f"model: there is no {name!r}; there are {', '.join(sorted(MODELS))}"
        assert told.code == "model_not_found"
