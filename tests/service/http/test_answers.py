"""service.http.answers: several answers, the best of them, and how likely a prompt is."""

import math
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.schemas import Details, GenerateAnswer
from tests.builders import WORDS
from tests.conftest import GENERATORS
from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT, generate

MODELS = [small.name for small in GENERATORS]
PROMPTS = [PROMPT, "the cat sat on a mat", "고래 whale 좋다"]
HOT: dict[str, Any] = {"temperature": 1.5, "details": True}
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prompts = st.lists(st.sampled_from([*WORDS, "고래", "."]), min_size=1, max_size=8).map(" ".join)


def mean_logprob(answer: Any) -> float:
    logprobs: list[float] = [token["logprob"] for token in answer["details"]["tokens"]]
    return sum(logprobs) / len(logprobs)


# ---------------------------------------------------------------------------------------------------------- several answers


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_n_gives_a_list_whose_answers_are_those_of_single_requests_with_the_following_seeds(
    count: int, model: str, service: TestClient
) -> None:
    answers = generate(service, PROMPT, model, n=count, seed=70, **HOT)
    assert answers == [generate(service, PROMPT, model, seed=70 + index, **HOT) for index in range(count)]


def test_n_of_a_list_gives_a_list_of_lists_in_order(service: TestClient) -> None:
    answers = generate(service, PROMPTS, n=3, seed=7, **HOT)
    assert answers == [generate(service, prompt, n=3, seed=7, **HOT) for prompt in PROMPTS]
    assert generate(service, [PROMPT], n=1, seed=7, **HOT) == [[generate(service, seed=7, **HOT)]]


def test_one_answer_needs_no_sampling_and_is_a_list_all_the_same(service: TestClient) -> None:
    assert generate(service, n=1) == [generate(service)]


def test_answers_of_one_request_differ_and_tell_seeds_that_write_them_again(service: TestClient) -> None:
    answers = generate(service, n=8, **HOT)
    seeds = [answer["details"]["seed"] for answer in answers]
    assert [seed - seeds[0] for seed in seeds] == list(range(8))
    assert len({answer["generated_text"] for answer in answers}) == 8
    assert [generate(service, seed=seed, **HOT) for seed in seeds] == answers


def test_the_seed_after_the_largest_is_0(service: TestClient) -> None:
    answers = generate(service, n=2, seed=2**64 - 1, **HOT)
    assert answers == [generate(service, seed=seed, **HOT) for seed in (2**64 - 1, 0)]


def test_answers_that_end_at_different_lengths_come_in_the_order_of_their_seeds(service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 3.0, "max_new_tokens": 40, "details": True}
    answers = generate(service, PROMPT, "lstm1-generate", n=8, seed=1, **options)
    assert len({answer["details"]["generated_tokens"] for answer in answers}) > 2
    assert [answer["details"]["seed"] for answer in answers] == list(range(1, 9))


def test_every_answer_has_its_own_state_from_which_it_goes_on(service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 1.5}
    firsts = generate(service, n=3, seed=5, max_new_tokens=6, return_state=True, **options)
    for index, first in enumerate(firsts):
        rest = generate(service, "", state=first["state"], max_new_tokens=6, **options)
        whole = generate(service, seed=5 + index, max_new_tokens=12, **options)
        assert first["generated_text"] + rest["generated_text"] == whole["generated_text"]


def test_several_answers_go_on_from_one_state_each_with_a_seed_of_its_own(service: TestClient) -> None:
    state = generate(service, max_new_tokens=5, return_state=True)["state"]
    answers = generate(service, "", state=state, n=4, seed=30, **HOT)
    assert answers == [generate(service, "", state=state, seed=30 + index, **HOT) for index in range(4)]
    assert len({answer["generated_text"] for answer in answers}) == 4


@pytest.mark.parametrize("count", [2, 5, 8])
def test_best_of_gives_the_answer_with_the_highest_mean_log_probability(count: int, service: TestClient) -> None:
    candidates = [generate(service, seed=40 + index, **HOT) for index in range(count)]
    assert generate(service, best_of=count, seed=40, **HOT) == max(candidates, key=mean_logprob)


def test_best_of_compares_words_not_lengths(service: TestClient) -> None:
    options: dict[str, Any] = {"temperature": 3.0, "max_new_tokens": 40, "details": True, "model": "lstm1-generate"}
    for seed in range(0, 40, 8):
        candidates = [generate(service, seed=seed + index, **options) for index in range(8)]
        assert len({candidate["details"]["generated_tokens"] for candidate in candidates}) > 1
        assert generate(service, best_of=8, seed=seed, **options) == max(candidates, key=mean_logprob)


def test_n_of_best_of_are_the_likeliest_the_best_first(service: TestClient) -> None:
    candidates = [generate(service, seed=60 + index, **HOT) for index in range(8)]
    ranked = sorted(candidates, key=mean_logprob, reverse=True)
    for count in (1, 3, 8):
        assert generate(service, n=count, best_of=8, seed=60, **HOT) == ranked[:count]


def test_n_of_best_of_of_a_list_is_a_list_of_lists(service: TestClient) -> None:
    answers = generate(service, PROMPTS, n=2, best_of=4, seed=3, **HOT)
    assert answers == [generate(service, prompt, n=2, best_of=4, seed=3, **HOT) for prompt in PROMPTS]


def test_best_of_shows_no_log_probabilities_that_nobody_asked_for(service: TestClient) -> None:
    assert [set(answer) for answer in generate(service, n=2, best_of=3, do_sample=True)] == [{"generated_text"}] * 2


def test_an_answer_is_of_the_documented_form_and_has_nothing_beside_it(service: TestClient) -> None:
    options: dict[str, Any] = {"top_n_tokens": 2, "decoder_input_details": True, "return_state": True}
    for answer in (generate(service), generate(service, n=2, seed=1, **options, **HOT)[1]):
        assert GenerateAnswer.model_validate(answer, strict=True).model_dump(exclude_unset=True) == answer
        assert ("details" in answer) == ("state" in answer)


# ---------------------------------------------------------------------------------------------------------- scoring


def score(client: TestClient, text: str, model: str | None = None, **options: Any) -> Any:
    """Details of a prompt that is read and not continued."""
    answer = generate(client, text, model, max_new_tokens=0, details=True, **options)
    assert answer["generated_text"] == ""
    details = answer["details"]
    assert Details.model_validate(details, strict=True).model_dump(exclude_unset=True) == details
    assert (details["finish_reason"], details["generated_tokens"], details["tokens"]) == ("length", 0, [])
    return details


def logprobs(details: Any) -> list[float]:
    return [token["logprob"] for token in details["prefill"] if token["logprob"] is not None]


@EXAMPLES
@given(prompt=prompts, seed=st.integers(0, 2**32), model=st.sampled_from([*MODELS, ENDLESS]))
def test_words_are_as_likely_when_they_are_read_as_when_they_are_written(
    prompt: str, seed: int, model: str, service: TestClient
) -> None:
    answer = generate(service, prompt, model, seed=seed, max_new_tokens=15, **HOT)
    told = [token["logprob"] for token in answer["details"]["tokens"] if not token["special"]]
    scored = score(service, f"{prompt} {answer['generated_text']}", model)["prefill"]
    read = [token["logprob"] for token in scored[len(answer["details"]["prefill"]) :]]
    assert read == told
    assert sum(read) == sum(told)


@EXAMPLES
@given(prompt=prompts, seed=st.integers(0, 2**32), model=st.sampled_from([*MODELS, ENDLESS]))
def test_the_likeliest_words_where_one_is_read_are_those_where_it_is_written(
    prompt: str, seed: int, model: str, service: TestClient
) -> None:
    answer = generate(service, prompt, model, seed=seed, max_new_tokens=15, top_n_tokens=3, **HOT)
    told, first = answer["details"], len(answer["details"]["prefill"])
    written = [top for top, token in zip(told["top_tokens"], told["tokens"], strict=True) if not token["special"]]
    scored = score(service, f"{prompt} {answer['generated_text']}", model, top_n_tokens=3)["prefill"]
    assert [token["top_tokens"] for token in scored[first:]] == written
    assert scored[0]["top_tokens"] is None
    assert all(len(token["top_tokens"]) == 3 for token in scored[1:])


def test_the_likeliest_words_of_a_prompt_are_told_beside_an_answer_and_are_none_that_is_never_written(service: TestClient) -> None:
    text = "오늘 고래 좋다"
    options: dict[str, Any] = {"details": True, "decoder_input_details": True}
    details = generate(service, text, top_n_tokens=20, **options)["details"]
    assert details["prefill"] == score(service, text, top_n_tokens=20)["prefill"]
    offered = {other["text"] for token in details["prefill"][1:] for other in token["top_tokens"]}
    assert offered
    assert not offered & {"<unk>", "<pad>"}
    assert not any("top_tokens" in token for token in generate(service, text, **options)["details"]["prefill"])


@EXAMPLES
@given(prompt=prompts, model=st.sampled_from([*MODELS, ENDLESS]))
def test_perplexity_is_exp_of_minus_the_mean_log_probability(prompt: str, model: str, service: TestClient) -> None:
    details = score(service, prompt, model)
    values = logprobs(details)
    if values:
        assert details["perplexity"] == pytest.approx(math.exp(-sum(values) / len(values)))
        assert details["perplexity"] > 1
    else:
        assert details["perplexity"] is None


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_only_what_stands_before_everything_else_has_no_log_probability(model: str, service: TestClient) -> None:
    """That is the end of a sentence, where a sentence begins with one, and otherwise the first word."""
    first, *others = score(service, PROMPT, model)["prefill"]
    assert first["text"] == ("</s>" if model != ENDLESS else " 오늘")
    assert first["logprob"] is None
    assert all(token["logprob"] < 0 for token in others)
    assert len(others) == (1 if model == ENDLESS else 2)


def test_after_a_state_every_word_has_a_log_probability(service: TestClient) -> None:
    state = generate(service, "오늘", max_new_tokens=0, return_state=True)["state"]
    whole, after = score(service, "오늘 날씨가 좋다"), score(service, "날씨가 좋다", state=state)
    assert after["prefill"] == whole["prefill"][1:]
    assert after["perplexity"] == whole["perplexity"]


def test_after_a_state_without_a_text_nothing_is_scored(service: TestClient) -> None:
    state = generate(service, return_state=True)["state"]
    details = score(service, "", state=state)
    assert (details["prefill"], details["perplexity"]) == ([], None)


def test_unknown_words_are_scored_as_the_unknown_word(service: TestClient) -> None:
    details = score(service, "오늘 고래 좋다 whale")
    assert [token["text"] for token in details["prefill"]] == [" 오늘", "<unk>", " 좋다", "<unk>"]
    assert len(logprobs(details)) == 3
    assert details["unknown_words"] == ["고래", "whale"]


def test_a_prompt_of_one_word_alone_has_no_perplexity_where_nothing_stands_before_it(service: TestClient) -> None:
    assert score(service, "오늘")["perplexity"] is None
    assert score(service, "오늘", "lstm1-generate")["perplexity"] > 1


def test_the_prompt_of_a_text_that_goes_on_is_scored_where_that_is_asked_for(service: TestClient) -> None:
    details = generate(service, "오늘 날씨가 좋다", details=True, decoder_input_details=True)["details"]
    plain, scored = generate(service, "오늘 날씨가 좋다", details=True)["details"], score(service, "오늘 날씨가 좋다")
    assert (details["prefill"], details["perplexity"]) == (scored["prefill"], scored["perplexity"])
    assert details["tokens"] == plain["tokens"]
    assert not any("logprob" in token for token in plain["prefill"])
    assert "perplexity" not in plain


def test_a_list_is_scored_text_by_text_in_order(service: TestClient) -> None:
    answers = generate(service, PROMPTS, max_new_tokens=0, details=True)
    assert [answer["details"] for answer in answers] == [score(service, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("model", [*MODELS, ENDLESS])
def test_a_long_prompt_is_scored_to_its_end(model: str, service: TestClient) -> None:
    words = " ".join(WORDS * 15)
    details = score(service, words, model)
    assert len(logprobs(details)) == len(WORDS) * 15 - (model == ENDLESS)
    assert score(service, words, model, truncate=10)["prefill"][-9:] != details["prefill"][-9:]


def test_a_prompt_that_was_read_before_is_scored_all_the_same(service: TestClient) -> None:
    text = "some music on a mat with the cat"
    first = score(service, text)
    generate(service, text)
    assert score(service, text) == first


def test_every_answer_of_several_has_the_same_scores_of_its_prompt(service: TestClient) -> None:
    answers = generate(service, n=3, seed=2, decoder_input_details=True, **HOT)
    assert [answer["details"]["prefill"] for answer in answers] == [score(service, PROMPT)["prefill"]] * 3


def test_words_that_the_model_would_write_are_likelier_than_others(service: TestClient) -> None:
    written = generate(service, PROMPT, max_new_tokens=8)["generated_text"].split()
    likely = score(service, f"{PROMPT} {' '.join(written)}")["perplexity"]
    others = [word for word in WORDS if word not in written][: len(written)]
    assert likely < score(service, f"{PROMPT} {' '.join(others)}")["perplexity"]
