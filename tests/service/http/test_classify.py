"""POST /classify: labels with their scores, best first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifact import load
from service.inference.runtime import Runtime
from tests.builders import WORDS
from tests.conftest import CLASSIFIERS
from tests.service.http.ask import PROMPT, classify

MODELS = [small.name for small in CLASSIFIERS]
TEXTS = [PROMPT, "the cat sat on a mat", "music", "오늘 고래 좋다", "좋다 " * 50]
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.lists(st.sampled_from([*WORDS, "고래", "."]), min_size=1, max_size=12).map(" ".join)


def scores(ranked: Any) -> dict[str, float]:
    return {one["label"]: one["score"] for one in ranked}


def by_hand(folder: Path, text: str) -> dict[str, float]:
    """The logits by nothing but the runtime."""
    artifact = load(folder)
    logits = Runtime(artifact).classify_texts([artifact.encode(text)])
    return dict(zip(artifact.manifest.labels, logits[0].tolist(), strict=True))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", TEXTS)
def test_without_a_function_the_scores_are_the_models_logits(
    model: str, text: str, service: TestClient, service_models: Path
) -> None:
    answer = scores(classify(service, text, model, function_to_apply="none"))
    assert answer == pytest.approx(by_hand(service_models / model / "1", text), abs=1e-5)


@EXAMPLES
@given(text=texts, model=st.sampled_from(MODELS))
def test_the_three_functions_agree_with_one_another(text: str, model: str, service: TestClient) -> None:
    none, softmax, sigmoid = (
        classify(service, text, model, function_to_apply=function) for function in ("none", "softmax", "sigmoid")
    )
    logits = scores(none)
    total = sum(np.exp(logit) for logit in logits.values())
    assert scores(softmax) == pytest.approx({label: np.exp(logit) / total for label, logit in logits.items()})
    assert scores(sigmoid) == pytest.approx({label: 1 / (1 + np.exp(-logit)) for label, logit in logits.items()})
    order = [one["label"] for one in none]
    assert [one["label"] for one in softmax] == [one["label"] for one in sigmoid] == order
    assert [logits[label] for label in order] == sorted(logits.values(), reverse=True)


def test_softmax_is_what_is_applied_anyway(service: TestClient) -> None:
    answer = classify(service)
    assert answer == classify(service, function_to_apply="softmax")
    assert sum(scores(answer).values()) == pytest.approx(1)


def test_every_label_comes_with_its_score_and_nothing_else(service: TestClient) -> None:
    answer = classify(service)
    assert [set(one) for one in answer] == [{"label", "score"}] * 2
    assert {one["label"] for one in answer} == {"negative", "positive"}


@pytest.mark.parametrize("count", [1, 2, 3, 10**30])
def test_top_k_gives_so_many_labels_from_the_best(count: int, service: TestClient) -> None:
    assert classify(service, top_k=count) == classify(service)[:count]


@EXAMPLES
@given(inputs=st.lists(texts, min_size=1, max_size=20), model=st.sampled_from(MODELS))
def test_a_list_in_gives_a_list_of_lists_out_in_order(inputs: list[str], model: str, service: TestClient) -> None:
    assert classify(service, inputs, model) == [classify(service, text, model) for text in inputs]


def test_a_list_of_two_is_two_texts_and_never_a_pair(service: TestClient) -> None:
    first, second = classify(service, [TEXTS[0], TEXTS[1]])
    assert (first, second) == (classify(service, TEXTS[0]), classify(service, TEXTS[1]))


def test_the_model_that_is_named_answers_and_says_so(service: TestClient) -> None:
    answers = set()
    for model in MODELS:
        response = service.post("/classify", json={"inputs": PROMPT, "model": model})
        assert response.headers["x-model"] == f"{model}/1"
        answers.add(response.content)
    assert len(answers) == len(MODELS)
    assert service.post("/classify", json={"inputs": PROMPT}).headers["x-model"] == "bilstm1-classify/1"


def test_a_text_of_unknown_words_alone_is_still_a_text(service: TestClient) -> None:
    assert sum(scores(classify(service, "고래 whale")).values()) == pytest.approx(1)


def test_only_a_model_with_n_grams_tells_unknown_words_apart(service: TestClient) -> None:
    for model in MODELS:
        answers = [classify(service, f"오늘 {word}", model) for word in ("고래", "고래들", "whale")]
        told_apart = len({str(answer) for answer in answers})
        assert told_apart == (3 if model.endswith("-ngrams-int8") else 1)


def test_an_unknown_word_counts_as_one_word_however_long(service: TestClient) -> None:
    whale = "고래" * 200
    assert classify(service, f"{whale} {whale}", MODELS[-1]) == classify(service, f" {whale}\n{whale}", MODELS[-1])
    assert classify(service, [whale, "오늘"], MODELS[-1]) == [classify(service, text, MODELS[-1]) for text in (whale, "오늘")]


def test_words_decide_and_white_space_does_not(service: TestClient) -> None:
    assert classify(service, " 오늘\t\n날씨가 ") == classify(service, "오늘 날씨가")
    assert classify(service, "날씨가 오늘") != classify(service, "오늘 날씨가")
