"""POST /generate: what is written, and what is told about it."""

import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifact import Artifact, load
from service.inference.runtime import Runtime
from tests.builders import WORDS
from tests.conftest import GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT, generate

MODELS = [small.name for small in GENERATORS]
PROMPTS = [PROMPT, "the cat sat on a mat", "music", "집 앞 공원에 사람들이 모여 있다 some music", "고래 whale 좋다"]
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prompts = st.lists(st.sampled_from([*WORDS, "고래", "."]), min_size=1, max_size=8).map(" ".join)
seeds = st.integers(0, 2**64 - 1)


class Written(NamedTuple):
    id: int
    logprob: float


def by_hand(folder: Path, text: str, words: int) -> list[Written]:
    """The likeliest words one by one, by nothing but the runtime: no batch, no scheduler, no sampling."""
    artifact = load(folder)
    runtime, tokenizer = Runtime(artifact), artifact.tokenizer
    state, ids, written = runtime.initial_state(1), tokenizer.encode_prompt(text).ids, list[Written]()
    assert {tokenizer.padding_id, tokenizer.unknown_id} == {0, 1}
    while len(written) < words and not (written and written[-1].id == tokenizer.end_id):
        logits, state = runtime.step(np.array([ids], np.int64), np.array([len(ids)], np.int32), state)
        logprobs = logits[0].astype(np.float64)
        logprobs -= np.log(np.exp(logprobs).sum())
        best = int(np.delete(logprobs, [tokenizer.padding_id, tokenizer.unknown_id]).argmax()) + 2
        written.append(Written(best, float(logprobs[best])))
        ids = [best]
    return written


@pytest.fixture(scope="module")
def artifact(service_models: Path) -> Artifact:
    """The model that serves by default."""
    return load(service_models / ENDLESS / "1")


@pytest.fixture(scope="module")
def long_text(service: TestClient) -> str:
    """Twenty drawn words, so that they differ; the same for every test."""
    text: str = generate(service, seed=11, do_sample=True)["generated_text"]
    assert len(set(text.split())) > 5
    return text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_without_options_the_likeliest_words_are_written(
    model: str, prompt: str, service: TestClient, service_models: Path
) -> None:
    expected = by_hand(service_models / model / "1", prompt, 20)
    details = generate(service, prompt, model, details=True)["details"]
    assert [token["id"] for token in details["tokens"]] == [word.id for word in expected]
    assert [token["logprob"] for token in details["tokens"]] == pytest.approx([word.logprob for word in expected], abs=1e-5)
    assert details["seed"] is None


def test_do_sample_false_is_what_happens_anyway(service: TestClient) -> None:
    assert generate(service, do_sample=False) == generate(service)


def test_twenty_words_are_written_where_no_number_is_given(service: TestClient) -> None:
    assert len(generate(service)["generated_text"].split()) == 20


def test_a_text_in_gives_an_object_out_with_the_text_alone(service: TestClient) -> None:
    assert set(generate(service)) == {"generated_text"}


def test_a_list_in_gives_a_list_out_in_order(service: TestClient) -> None:
    options: dict[str, Any] = {"details": True, "seed": 5, "temperature": 1.5}
    assert generate(service, PROMPTS, **options) == [generate(service, prompt, **options) for prompt in PROMPTS]
    assert generate(service, [PROMPT]) == [generate(service, PROMPT)]


def test_the_model_that_is_named_answers_and_says_so(service: TestClient) -> None:
    for model in MODELS:
        response = service.post("/generate", json={"inputs": PROMPT, "model": model})
        assert response.headers["x-model"] == f"{model}/1"
    assert service.post("/generate", json={"inputs": PROMPT}).headers["x-model"] == f"{ENDLESS}/1"


@EXAMPLES
@given(prompt=prompts, seed=seeds, model=st.sampled_from([*MODELS, ENDLESS]), stop=st.sampled_from([[], ["좋다"], [" a", "cat "]]))
def test_the_words_of_details_join_to_the_generated_text(
    prompt: str, seed: int, model: str, stop: list[str], service: TestClient
) -> None:
    answer = generate(service, prompt, model, seed=seed, temperature=2.0, details=True, stop=stop)
    tokens = answer["details"]["tokens"]
    assert "".join(token["text"] for token in tokens if not token["special"]) == answer["generated_text"]
    assert not answer["generated_text"].startswith(" ")
    assert answer["details"]["generated_tokens"] == len(tokens)


@pytest.mark.parametrize("model", [ENDLESS, "lstm1-generate"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_prefill_is_the_prompt_as_the_model_reads_it(model: str, prompt: str, service: TestClient, service_models: Path) -> None:
    tokenizer = load(service_models / model / "1").tokenizer
    prefill = generate(service, prompt, model, details=True)["details"]["prefill"]
    assert [token["id"] for token in prefill] == tokenizer.encode_prompt(prompt).ids
    assert [token["text"] for token in prefill] == [tokenizer.piece(token["id"]) for token in prefill]
    assert len(prefill) == len(prompt.split()) + (model != ENDLESS)


def test_unknown_words_are_told_in_order_each_once(service: TestClient) -> None:
    details = generate(service, "고래 오늘 whale 고래 좋다 돌", details=True)["details"]
    assert details["unknown_words"] == ["고래", "whale", "돌"]
    assert generate(service, details=True)["details"]["unknown_words"] == []


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_likeliest_words_are_told_in_order_and_the_written_one_leads(count: int, service: TestClient) -> None:
    details = generate(service, details=True, top_n_tokens=count)["details"]
    assert len(details["top_tokens"]) == details["generated_tokens"]
    for token, top in zip(details["tokens"], details["top_tokens"], strict=True):
        logprobs = [other["logprob"] for other in top]
        assert logprobs == sorted(logprobs, reverse=True)
        assert len({other["id"] for other in top}) == len(top) == min(count, len(WORDS))
        assert sum(np.exp(logprobs)) < 1 + 1e-6
        assert (top[0]["id"], top[0]["logprob"]) == (token["id"], token["logprob"])


def test_all_words_that_may_be_written_have_what_padding_and_unknown_leave_of_the_probability(
    service: TestClient, artifact: Artifact
) -> None:
    runtime, ids = Runtime(artifact), artifact.tokenizer.encode_prompt(PROMPT).ids
    logits, _ = runtime.step(np.array([ids], np.int64), np.array([len(ids)], np.int32), runtime.initial_state(1))
    shares = np.exp(logits[0].astype(np.float64)) / np.exp(logits[0].astype(np.float64)).sum()
    (top,) = generate(service, details=True, top_n_tokens=20, max_new_tokens=1)["details"]["top_tokens"]
    assert len(top) == len(WORDS)  # fewer than asked for: there are no more
    barred = [artifact.tokenizer.padding_id, artifact.tokenizer.unknown_id]
    assert sum(np.exp(token["logprob"]) for token in top) == pytest.approx(1 - shares[barred].sum(), abs=1e-5)


def test_top_tokens_are_told_only_where_they_were_asked_for(service: TestClient) -> None:
    assert "top_tokens" not in generate(service, details=True)["details"]


def test_log_probabilities_are_the_models_own_whatever_the_options_bend(service: TestClient) -> None:
    def told(**options: Any) -> dict[int, float]:
        details = generate(service, details=True, top_n_tokens=20, max_new_tokens=1, **options)["details"]
        return {token["id"]: token["logprob"] for token in details["top_tokens"][0]}

    plain = told()
    assert told(temperature=9.0, seed=1) == plain
    assert told(repetition_penalty=5.0, frequency_penalty=2.0) == plain
    assert told(top_k=1, top_p=0.1, seed=1) == plain


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_at_the_asked_for_length_it_ends_and_says_length(count: int, service: TestClient) -> None:
    details = generate(service, max_new_tokens=count, details=True)["details"]
    assert (details["finish_reason"], details["generated_tokens"]) == ("length", count)


@pytest.mark.parametrize("model", MODELS)
def test_at_the_end_of_a_sentence_it_ends_and_the_end_is_no_part_of_the_text(model: str, service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 3.0, "max_new_tokens": 200, "details": True}
    answers = [generate(service, PROMPT, model, seed=seed, **options) for seed in range(8)]
    ended = [answer for answer in answers if answer["details"]["finish_reason"] == "eos_token"]
    assert ended, "none of eight sentences ended within 200 words"
    for answer in ended:
        *words, end = answer["details"]["tokens"]
        assert (end["text"], end["special"]) == ("</s>", True)
        assert not any(token["special"] for token in words)
        assert "</s>" not in answer["generated_text"]


def test_a_stop_sequence_over_a_word_border_ends_the_text_and_stands_in_it(service: TestClient, long_text: str) -> None:
    first, second, third = long_text.split()[4:7]
    stop = f"{first[-1]} {second} {third[0]}"
    answer = generate(service, seed=11, do_sample=True, stop=[stop], details=True)
    assert answer["generated_text"] == long_text[: long_text.index(stop) + len(stop)]
    assert answer["details"]["finish_reason"] == "stop_sequence"
    assert "".join(token["text"] for token in answer["details"]["tokens"]) == answer["generated_text"]


@EXAMPLES
@given(ends=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), min_size=1, max_size=4))
def test_the_text_ends_with_the_first_stop_sequence_that_it_comes_to(
    ends: list[tuple[int, int]], service: TestClient, long_text: str
) -> None:
    stops = [stop for start, length in ends if (stop := long_text[start : start + length])]
    answer = generate(service, seed=11, do_sample=True, stop=stops)["generated_text"]
    # The word that completes a stop sequence may complete several: the one that ends first counts.
    expected = min((long_text.index(stop) + len(stop) for stop in stops), default=len(long_text))
    assert answer == long_text[:expected]


def test_a_stop_sequence_that_does_not_come_stops_nothing(service: TestClient, long_text: str) -> None:
    answer = generate(service, seed=11, do_sample=True, stop=["고래", "whale"], details=True)
    assert answer["generated_text"] == long_text
    assert answer["details"]["finish_reason"] == "length"


def test_a_stop_sequence_in_the_prompt_stops_nothing(service: TestClient) -> None:
    options: dict[str, Any] = {"return_full_text": True, "seed": 3, "do_sample": True, "max_new_tokens": 1}
    stopped = generate(service, "고래 whale", stop=["whale", "고래 "], details=True, **options)
    assert stopped["generated_text"] == generate(service, "고래 whale", **options)["generated_text"]
    assert stopped["details"]["finish_reason"] == "length"


def test_a_stop_sequence_typed_in_decomposed_letters_is_the_same_one(service: TestClient, long_text: str) -> None:
    typed = {word: unicodedata.normalize("NFD", word) for word in long_text.split()}
    stop, decomposed = next((word, nfd) for word, nfd in typed.items() if nfd != word)
    options: dict[str, Any] = {"seed": 11, "do_sample": True}
    assert generate(service, stop=[decomposed], **options) == generate(service, stop=[stop], **options)
    assert generate(service, stop=[stop], **options)["generated_text"].endswith(stop)


def test_a_stop_sequence_and_the_end_of_the_length_in_one_word_is_a_stop_sequence(service: TestClient, long_text: str) -> None:
    words = list(dict.fromkeys(long_text.split()))
    count = long_text.split().index(words[-1]) + 1
    answer = generate(service, seed=11, do_sample=True, max_new_tokens=count, stop=[words[-1]], details=True)
    assert answer["details"]["finish_reason"] == "stop_sequence"


def test_the_full_text_is_the_prompt_as_it_is_read_and_the_answer(service: TestClient) -> None:
    typed = "  오늘\t날씨가 \n" + unicodedata.normalize("NFD", "좋다")
    alone = generate(service, typed)["generated_text"]
    full = generate(service, typed, return_full_text=True)["generated_text"]
    assert full == f"오늘 날씨가 좋다 {alone}"


def test_the_full_text_keeps_words_that_the_model_does_not_know_or_did_not_read(service: TestClient) -> None:
    full = generate(service, "고래 whale 오늘 좋다", return_full_text=True, truncate=1)["generated_text"]
    assert full.startswith("고래 whale 오늘 좋다 ")


@pytest.mark.parametrize("model", [ENDLESS, "lstm1-generate"])
@pytest.mark.parametrize("keep", [1, 2, 5, 100])
def test_truncate_is_the_same_as_sending_the_last_words(model: str, keep: int, service: TestClient) -> None:
    prompt = "집 앞 공원에 사람들이 모여 있다"
    shorter = " ".join(prompt.split()[-keep:])
    options: dict[str, Any] = {"details": True, "seed": 1, "temperature": 2.0}
    assert generate(service, prompt, model, truncate=keep, **options) == generate(service, shorter, model, **options)


def test_the_words_of_the_prompt_matter(service: TestClient) -> None:
    options: dict[str, Any] = {"details": True, "max_new_tokens": 1, "top_n_tokens": 5}
    answers = [generate(service, prompt, **options)["details"]["top_tokens"] for prompt in ("cat", "some cat", "the cat")]
    assert answers[0] != answers[1] != answers[2]


@EXAMPLES
@given(prompt=prompts, seed=seeds, model=st.sampled_from([*MODELS, ENDLESS]))
def test_a_seed_repeats_an_answer_and_is_told(prompt: str, seed: int, model: str, service: TestClient) -> None:
    first, second = (generate(service, prompt, model, seed=seed, do_sample=True, details=True) for _ in range(2))
    assert first == second
    assert first["details"]["seed"] == seed


def test_different_seeds_write_different_texts(service: TestClient) -> None:
    texts = {generate(service, seed=seed, temperature=2.0)["generated_text"] for seed in range(20)}
    assert len(texts) == 20


@pytest.mark.parametrize("option", [{"do_sample": True}, {"temperature": 1.5}, {"top_k": 10}, {"top_p": 0.9}, {"typical_p": 0.9}])
def test_a_drawn_seed_is_told_and_writes_the_same_again(option: dict[str, Any], service: TestClient) -> None:
    answers = [generate(service, details=True, **option) for _ in range(3)]
    for answer in answers:
        assert generate(service, details=True, seed=answer["details"]["seed"], **option) == answer
    assert len({answer["details"]["seed"] for answer in answers}) == 3


def test_every_text_of_a_list_draws_a_seed_of_its_own(service: TestClient) -> None:
    answers = generate(service, [PROMPT] * 5, do_sample=True, details=True)
    assert len({answer["details"]["seed"] for answer in answers}) == 5
    assert len({answer["generated_text"] for answer in answers}) == 5


def test_drawing_among_one_word_writes_the_likeliest(service: TestClient) -> None:
    greedy = generate(service)
    assert generate(service, top_k=1, seed=1) == greedy
    assert generate(service, top_p=1e-9, seed=1) == greedy


def test_penalties_keep_words_from_coming_again(service: TestClient) -> None:
    def variety(**options: Any) -> int:
        """Different words, over all prompts."""
        answers = generate(service, PROMPTS, max_new_tokens=15, **options)
        return sum(len(set(answer["generated_text"].split())) for answer in answers)

    plain = variety()
    assert variety(repetition_penalty=100.0) > plain
    assert variety(frequency_penalty=2.0) > plain
    assert variety(frequency_penalty=-2.0) <= plain
    assert variety(repetition_penalty=1.0) == variety(frequency_penalty=0.0) == plain


def test_best_of_gives_the_likeliest_candidate_and_the_seed_that_writes_it_again(service: TestClient) -> None:
    best = generate(service, best_of=8, seed=100, temperature=1.5, details=True)
    candidates = [generate(service, seed=seed, temperature=1.5, details=True) for seed in range(100, 108)]
    assert best == max(candidates, key=mean_logprob)


def mean_logprob(answer: Any) -> float:
    logprobs: list[float] = [token["logprob"] for token in answer["details"]["tokens"]]
    return sum(logprobs) / len(logprobs)


def test_best_of_answers_every_text_of_a_list_from_its_own_candidates(service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "details": True}
    for prompt, answer in zip(PROMPTS, generate(service, PROMPTS, best_of=3, **options), strict=True):
        assert generate(service, prompt, seed=answer["details"]["seed"], **options) == answer


def test_best_of_does_not_show_details_that_were_not_asked_for(service: TestClient) -> None:
    assert set(generate(service, best_of=3, do_sample=True)) == {"generated_text"}


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_unknown_and_padding_are_never_written_not_even_thought_of(model: str, service: TestClient) -> None:
    barred = {0, 1}
    for seed in range(8):
        inputs = ["고래 고래 고래", PROMPT, "whale"]
        options: dict[str, Any] = {"temperature": 100.0, "max_new_tokens": 50, "details": True, "top_n_tokens": 20}
        for answer in generate(service, inputs, model, seed=seed, **options):
            details = answer["details"]
            assert not barred & {token["id"] for token in details["tokens"]}
            assert not barred & {token["id"] for top in details["top_tokens"] for token in top}
            assert "<unk>" not in answer["generated_text"]
            assert "<pad>" not in answer["generated_text"]


def test_at_a_very_high_temperature_every_word_comes_up(service: TestClient, artifact: Artifact) -> None:
    answer = generate(service, temperature=100.0, seed=1, max_new_tokens=500)
    assert set(answer["generated_text"].split()) == set(WORDS)
    assert artifact.tokenizer.vocabulary_size == len(WORDS) + 2


options_within_bounds = st.fixed_dictionaries(
    {},
    optional={
        "max_new_tokens": st.integers(1, 30),
        "do_sample": st.just(True),
        "temperature": st.floats(0, 100, exclude_min=True),
        "top_k": st.integers(1, 2**70),
        "top_p": st.floats(0, 1, exclude_min=True),
        "typical_p": st.floats(0, 1, exclude_min=True),
        "repetition_penalty": st.floats(0, 100, exclude_min=True),
        "frequency_penalty": st.floats(-2, 2),
        "stop": st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=3),
        "return_full_text": st.booleans(),
        "truncate": st.integers(1, 2**70),
        "details": st.booleans(),
    },
)


@settings(parent=EXAMPLES, max_examples=150)
@given(options=options_within_bounds, prompt=prompts)
def test_whatever_options_the_bounds_allow_are_answered(options: dict[str, Any], prompt: str, service: TestClient) -> None:
    """Or refused by name, where the service knows better; never with an error of our own."""
    response = service.post("/generate", json={"inputs": prompt, "parameters": options})
    assert response.status_code in (200, 422), response.text


@pytest.mark.parametrize("option", ["temperature", "top_p", "typical_p", "repetition_penalty"])
@pytest.mark.parametrize("value", [5e-324, 1e-320, 1e-300, 1e-45, 1e-30])
def test_an_option_next_to_nothing_is_answered_or_refused_by_name(option: str, value: float, service: TestClient) -> None:
    response = service.post("/generate", json={"inputs": PROMPT, "parameters": {option: value}})
    assert response.status_code in (200, 422), response.text
    assert response.status_code == 200 or response.json()["error"].startswith(f"parameters.{option}: ")
