"""return_state and state: a text goes on where it stopped, on any replica with the same key and model, and on no other."""

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.http.app import create_app
from service.settings import Settings
from tests.builders import WORDS, Small, publish_small
from tests.conftest import GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT, generate, question, refusal, stream, written
from tests.service.process import Process, running

MODELS = [small.name for small in GENERATORS]
KEY = "the same on every replica"
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NOT_OURS = "state: is none that this service gave"
CHANGED = "state: was changed or cut short, or signed with another key"


@pytest.fixture(scope="module")
def state(service: TestClient) -> str:
    told: str = generate(service, PROMPT, "gru2-generate", max_new_tokens=5, return_state=True)["state"]
    return told


def refused(client: TestClient, state: Any, model: str = "gru2-generate") -> str:
    """The sentence with which a state is refused; the next request is answered."""
    sentence = refusal(client.post("/generate", json=question("", model, state)), 422, "validation")
    assert generate(client, max_new_tokens=1)
    return sentence


# -------------------------------------------------------------------------------------------------------------- going on

DRAWN: dict[str, Any] = {"temperature": 1.5, "top_p": 0.95}
WAYS: dict[str, dict[str, Any]] = {
    "greedily": {},
    "drawn": DRAWN,
    "with penalties": DRAWN | {"repetition_penalty": 1.3, "frequency_penalty": 0.4},
    "greedily with penalties": {"repetition_penalty": 1.7},
    "with top_k and typical_p": {"top_k": 9, "typical_p": 0.9},
}


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
@pytest.mark.parametrize("way", WAYS)
def test_a_text_in_parts_is_the_text_at_once(way: str, model: str, service: TestClient) -> None:
    """The seed is asked for once: it goes on with the text."""
    options = WAYS[way]
    seeded = options | ({"seed": 21} if set(options) & {"temperature", "top_k"} else {})
    whole = generate(service, PROMPT, model, max_new_tokens=24, return_state=True, **seeded)
    text, told = "", None
    for count in (1, 7, 16):
        part = generate(
            service, "" if told else PROMPT, model, told, max_new_tokens=count, return_state=True, **(options if told else seeded)
        )
        text, told = text + part["generated_text"], part["state"]
        if len(text) == len(whole["generated_text"]):
            break
    assert text == whole["generated_text"]
    assert told == whole["state"]


@EXAMPLES
@given(cut=st.integers(1, 19), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_a_stop_sequence_over_the_cut_ends_the_text_as_it_does_at_once(
    cut: int, seed: int, data: st.DataObject, service: TestClient
) -> None:
    whole = generate(service, seed=seed, **DRAWN)["generated_text"]
    middle = len(" ".join(whole.split()[:cut]))
    begin = data.draw(st.integers(max(0, middle - 6), middle - 1))
    stop = [whole[begin : data.draw(st.integers(middle + 1, min(middle + 6, len(whole) + 1)))]]
    expected = generate(service, seed=seed, stop=stop, **DRAWN)["generated_text"]
    first = generate(service, seed=seed, max_new_tokens=cut, stop=stop, return_state=True, **DRAWN)
    text = first["generated_text"]
    if len(text) == middle:  # it has not come to an end before
        text += generate(service, "", state=first["state"], max_new_tokens=20 - cut, stop=stop, **DRAWN)["generated_text"]
    assert text == expected


def test_the_details_of_the_second_part_are_those_of_the_whole(service: TestClient) -> None:
    whole = generate(service, seed=8, details=True, max_new_tokens=12, top_n_tokens=2, **DRAWN)["details"]
    first = generate(service, seed=8, max_new_tokens=5, return_state=True, **DRAWN)
    second = generate(service, "", state=first["state"], details=True, max_new_tokens=7, top_n_tokens=2, **DRAWN)["details"]
    assert (second["tokens"], second["top_tokens"]) == (whole["tokens"][5:], whole["top_tokens"][5:])
    assert (second["seed"], second["prefill"], second["unknown_words"]) == (8, [], [])


def test_a_state_may_be_used_again_and_again(service: TestClient, state: str) -> None:
    answers = [generate(service, "", "gru2-generate", state, return_state=True) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]


def test_another_seed_goes_on_differently(service: TestClient, state: str) -> None:
    texts = {generate(service, "", "gru2-generate", state, seed=seed, **DRAWN)["generated_text"] for seed in range(5)}
    assert len(texts) == 5


@pytest.mark.parametrize("model", ["gru2-generate", ENDLESS])
@pytest.mark.parametrize("added", ["좋다", "고래 on a mat", " ".join(WORDS * 3)])
def test_a_text_added_to_a_state_is_read_after_it(added: str, model: str, service: TestClient) -> None:
    first = generate(service, PROMPT, model, max_new_tokens=4, return_state=True, details=True)
    assert first["details"]["finish_reason"] == "length"
    after = generate(service, added, model, first["state"], details=True)
    at_once = generate(service, f"{PROMPT} {first['generated_text']} {added}", model, details=True)
    assert after["generated_text"] == at_once["generated_text"]
    assert after["details"]["tokens"] == at_once["details"]["tokens"]
    assert after["details"]["unknown_words"] == (["고래"] if "고래" in added else [])


def test_white_space_added_to_a_state_adds_nothing(service: TestClient, state: str) -> None:
    assert generate(service, " \n", "gru2-generate", state) == generate(service, "", "gru2-generate", state)


def test_an_added_text_of_no_word_is_refused(service: TestClient, state: str) -> None:
    response = service.post("/generate", json=question("▁", "gru2-generate", state))
    assert refusal(response, 422, "validation").startswith("inputs: has no word that ")


def test_the_full_text_after_a_state_begins_with_what_was_added(service: TestClient, state: str) -> None:
    alone = generate(service, "좋다", "gru2-generate", state)["generated_text"]
    assert generate(service, "좋다", "gru2-generate", state, return_full_text=True)["generated_text"] == f"좋다 {alone}"


def test_a_prompt_that_is_only_read_gives_a_state_from_which_it_is_continued(service: TestClient) -> None:
    for model in (*MODELS, ENDLESS):
        read = generate(service, PROMPT, model, max_new_tokens=0, return_state=True)
        assert set(read) == {"generated_text", "state"}
        assert read["generated_text"] == ""
        assert generate(service, "", model, read["state"]) == generate(service, PROMPT, model)


def test_a_state_may_be_handed_on_without_a_word(service: TestClient, state: str) -> None:
    same = generate(service, "", "gru2-generate", state, max_new_tokens=0, return_state=True)["state"]
    assert generate(service, "", "gru2-generate", same) == generate(service, "", "gru2-generate", state)


def test_to_ask_for_a_state_changes_no_answer(service: TestClient) -> None:
    for way, options in WAYS.items():
        seeded = options | ({"seed": 1} if way != "greedily" and set(options) & {"temperature", "top_k"} else {})
        answer = generate(service, return_state=True, details=True, **seeded)
        assert answer.pop("state")
        assert answer == generate(service, details=True, **seeded)


def test_every_text_of_a_list_has_its_own_state(service: TestClient) -> None:
    prompts = [PROMPT, "the cat", "music"]
    answers = generate(service, prompts, return_state=True)
    assert answers == [generate(service, prompt, return_state=True) for prompt in prompts]


def test_a_state_is_text_that_needs_no_quoting(state: str) -> None:
    assert state.isascii()
    assert not set(state) & set("+/ \n\"'\\%&")


# -------------------------------------------------------------------------------------------------------------- refusals


def test_a_state_that_was_cut_short_is_refused(service: TestClient, state: str) -> None:
    for length in (1, 4, 40, 64, len(state) // 2, len(state) - 8, len(state) - 4, len(state) - 1):
        assert refused(service, state[:length]).startswith((NOT_OURS, CHANGED))


def test_a_state_with_one_character_changed_is_refused_wherever_it_stands(service: TestClient, state: str) -> None:
    last = len(state.rstrip("=")) - 1
    for place in [0, 1, 20, 21, 22, 42, 43, 44, 64, 100, last // 2, last - 50, last - 43, last - 1]:
        other = "A" if state[place] != "A" else "B"
        assert refused(service, state[:place] + other + state[place + 1 :]).startswith((NOT_OURS, CHANGED))


def test_a_state_is_written_in_one_way_only(service: TestClient, state: str) -> None:
    """The last character has bits that say nothing: they cannot be used to make two states of one."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    states = {
        generate(service, PROMPT, "gru2-generate", return_state=True, max_new_tokens=count)["state"] for count in (1, 2, 3, 4)
    }
    padded = next(text for text in states | {state} if text.endswith("="))
    body = padded.rstrip("=")
    other = body[:-1] + alphabet[alphabet.index(body[-1]) ^ 1] + padded[len(body) :]
    assert base64.urlsafe_b64decode(other) == base64.urlsafe_b64decode(padded)
    assert refused(service, other)


STRANGE: dict[str, Any] = {
    "nothing": "",
    "white space": " ",
    "a word": "state",
    "letters of another script": "상태",
    "a zero character": "\0",
    "padding alone": "====",
    "no base64": "!!!!",
    "base64 of something else": base64.urlsafe_b64encode(b"x" * 300).decode(),
    "less than a signature": base64.urlsafe_b64encode(b"seqserve-state-1").decode(),
    "our first words and nothing else": base64.urlsafe_b64encode(b"seqserve-state-1" + b"\0" * 60).decode(),
    "a very long one": "A" * 900_000,
    "a very long one that begins well": base64.urlsafe_b64encode(b"seqserve-state-1" + b"\0" * 600_000).decode(),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_state_is_refused_by_the_fields_name(name: str, service: TestClient) -> None:
    assert refused(service, STRANGE[name]).startswith((NOT_OURS, CHANGED))


def test_a_state_with_line_ends_in_it_is_refused(service: TestClient, state: str) -> None:
    assert refused(service, state + "\n") == NOT_OURS
    assert refused(service, state[:76] + "\n" + state[76:]) == NOT_OURS


def test_a_state_that_was_made_by_hand_is_refused(service: TestClient, state: str) -> None:
    """Other numbers under the old signature: nobody feeds a model a state of his own making."""
    content = bytearray(base64.urlsafe_b64decode(state))
    content[-36:-32] = np.float32(0.25).tobytes()
    assert refused(service, base64.urlsafe_b64encode(bytes(content)).decode()).startswith(CHANGED)


@pytest.mark.parametrize("extra", [{"inputs": [""]}, {"inputs": [PROMPT]}, {"inputs": [PROMPT, PROMPT]}])
def test_a_state_goes_with_one_text(extra: Any, service: TestClient, state: str) -> None:
    body = question("", "gru2-generate", state) | extra
    assert refusal(service.post("/generate", json=body), 422, "validation") == "state: goes with one text, not with a list"


@pytest.mark.parametrize("other", ["rnn1-generate", "lstm1-generate", ENDLESS])
def test_a_state_of_another_model_is_told_to_be_so(other: str, service: TestClient, state: str) -> None:
    sentence = refusal(service.post("/generate", json=question("", other, state)), 409, "state_mismatch")
    assert sentence == f"state: is not of {other}/1; begin anew with inputs"


def test_a_state_of_another_version_of_the_model_is_told_to_be_so(tmp_path: Path) -> None:
    names: dict[str, Any] = {"models": tmp_path / "models", "generate_model": "lstm1-generate", "state_key": SecretStr(KEY)}
    states = []
    for seed in (1, 2):
        publish_small(tmp_path / "models", Small(seed=seed), tmp_path / f"scratch{seed}")
        with TestClient(create_app(Settings(**names))) as client:
            states.append(generate(client, return_state=True)["state"])
            assert generate(client, "", state=states[-1])
            if seed == 2:
                sentence = refusal(client.post("/generate", json=question("", state=states[0])), 409, "state_mismatch")
                assert sentence == "state: is not of lstm1-generate/2; begin anew with inputs"


# ------------------------------------------------------------------------------------------------------------------ keys


@pytest.fixture(scope="module")
def replicas(service_models: Path) -> Iterator[tuple[Process, Process]]:
    """Two services with one key, in processes of their own."""
    with (
        running(models=service_models, generate_model=ENDLESS, state_key=KEY) as one,
        running(models=service_models, generate_model=ENDLESS, state_key=KEY, prefix_cache_bytes=0, max_rows=3) as other,
    ):
        yield one, other


def over(process: Process, body: Any) -> Any:
    response = process.client.post("/generate", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_a_text_goes_on_in_another_process_with_the_same_key(model: str, replicas: tuple[Process, Process]) -> None:
    one, other = replicas
    options: dict[str, Any] = DRAWN | {"repetition_penalty": 1.2}
    whole = over(one, question(PROMPT, model, seed=5, max_new_tokens=20, return_state=True, **options))
    text, told, end = "", None, None
    for count, process in ((3, one), (4, other), (13, one)):
        seed = {} if told else {"seed": 5}
        part = over(
            process, question("" if told else PROMPT, model, told, max_new_tokens=count, return_state=True, **seed, **options)
        )
        text, told, end = text + part["generated_text"], part["state"], part
        if len(text) == len(whole["generated_text"]):
            break
    assert text == whole["generated_text"]
    assert end is not None
    assert end["state"] == whole["state"]


def test_replicas_give_the_same_state_byte_for_byte(replicas: tuple[Process, Process]) -> None:
    body = question(seed=3, return_state=True, **DRAWN)
    assert over(replicas[0], body) == over(replicas[1], body)


def test_a_service_with_another_key_refuses_the_state_and_says_what_may_be_wrong(service_settings: Settings) -> None:
    keys = [SecretStr(KEY), SecretStr(KEY + "!")]
    apps = [create_app(service_settings.model_copy(update={"state_key": key})) for key in keys]
    with TestClient(apps[0]) as one, TestClient(apps[1]) as other:
        told = generate(one, return_state=True)["state"]
        sentence = refusal(other.post("/generate", json=question("", state=told)), 422, "validation")
        assert generate(one, "", state=told)
    assert "SEQSERVE_STATE_KEY must be the same on every replica" in sentence


def test_without_a_key_each_process_has_its_own_and_says_so_once(
    service_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert service_settings.state_key is None
    with TestClient(create_app(service_settings)) as one:
        told = generate(one, return_state=True)["state"]
        written(stream(one, "", state=told, return_state=True))
        warnings = [record for record in caplog.records if "SEQSERVE_STATE_KEY" in record.getMessage()]
        assert [record.levelno for record in warnings] == [logging.WARNING]
    with TestClient(create_app(service_settings)) as other:
        assert refused(other, told, ENDLESS).startswith(CHANGED)


def test_with_a_key_nothing_is_warned_of(service_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(create_app(service_settings.model_copy(update={"state_key": SecretStr(KEY)}))):
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_key_is_told_to_nobody(service_models: Path) -> None:
    key = "hush-hush-hush-hush"
    with running(models=service_models, generate_model=ENDLESS, state_key=key, log_level="debug") as process:
        told = [process.client.get(path).text for path in ("/info", "/models", "/metrics", "/openapi.json", "/readyz")]
        told.append(json.dumps(over(process, question(return_state=True))))
        told += [process.client.post("/generate", json=question("", state=text)).text for text in ("x", "", "A" * 400)]
        _, log = process.stop()
    assert not any("hush" in text for text in [*told, log])
