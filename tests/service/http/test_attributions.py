"""service.http.attributions: what every word does to the label, which is what leaving it out oneself would tell."""

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.app import create_app
from service.http.attributions import leave_out
from service.settings import Settings
from service.words import Reader
from tests.builders import WORDS
from tests.conftest import CLASSIFIERS
from tests.service.http.ask import PROMPT, classify, question, refusal
from tests.service.process import eventually, sample
from training.config import TextConfig
from training.vocabulary import build_vocabulary

MODELS = [small.name for small in CLASSIFIERS]
FUNCTIONS = ["softmax", "sigmoid", "none"]
EXAMPLES = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Words and what stands between them: every kind of space, unknown words, signs, letters of two characters, and of two code units.
pieces = st.sampled_from([*WORDS, "고래", "whale!", "😀", unicodedata.normalize("NFD", "날씨가"), ".", "x" * 45])
spaces = st.sampled_from([" ", "  ", "\n", "\t ", "\u3000", "\xa0", "▁", "\0"])
texts = st.lists(st.tuples(spaces, pieces), min_size=1, max_size=10).map(lambda parts: "".join(map("".join, parts)))
TEXTS = [PROMPT, "the cat sat on a mat", " 고래가\t정말 whale!  좋다 ", "좋다 " * 20]


def explained(client: TestClient, text: str, model: str | None = None, **parameters: Any) -> tuple[Any, Any]:
    """The labels of a text, and its words."""
    answer = classify(client, text, model, details=True, **parameters)
    assert set(answer) == {"labels", "details"}
    assert set(answer["details"]) == {"attributions"}
    return answer["labels"], answer["details"]["attributions"]


def log_odds(score: float) -> float:
    return math.log(score) - math.log1p(-score)


@EXAMPLES
@given(text=texts, model=st.sampled_from(MODELS), function=st.sampled_from(FUNCTIONS))
def test_a_words_score_is_exactly_what_the_text_without_it_gets(text: str, model: str, function: str, service: TestClient) -> None:
    labels, words = explained(service, text, model, function_to_apply=function)
    for word in words:
        left = text[: word["start"]] + text[word["end"] :]
        if len(words) > 1:
            scores = {one["label"]: one["score"] for one in classify(service, left, model, function_to_apply=function)}
            assert word["score"] == scores[labels[0]["label"]]


@EXAMPLES
@given(text=texts, model=st.sampled_from(MODELS))
def test_words_are_told_with_their_places_in_the_text(text: str, model: str, service: TestClient) -> None:
    _, words = explained(service, text, model)
    assert [text[word["start"] : word["end"]] for word in words] == [word["text"] for word in words]
    assert [word["text"] for word in words] == text.replace("\0", " ").replace("▁", " ").split()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", TEXTS)
def test_influence_is_how_much_larger_the_log_odds_are_with_the_word(model: str, text: str, service: TestClient) -> None:
    labels, words = explained(service, text, model)
    for word in words:
        assert word["influence"] == pytest.approx(log_odds(labels[0]["score"]) - log_odds(word["score"]), abs=1e-6)


@pytest.mark.parametrize("function", ["sigmoid", "none"])
def test_of_a_label_that_stands_for_itself_influence_is_of_its_logit(function: str, service: TestClient) -> None:
    logits, bare = explained(service, PROMPT, function_to_apply="none")
    _, words = explained(service, PROMPT, function_to_apply=function)
    assert [word["influence"] for word in words] == [logits[0]["score"] - word["score"] for word in bare]


def test_influence_says_for_and_against(service: TestClient) -> None:
    """The signs are those of what happens to the score."""
    signs = set()
    for text in TEXTS:
        labels, words = explained(service, text)
        for word in words:
            assert (word["influence"] > 0) == (word["score"] < labels[0]["score"])
            signs.add(word["influence"] > 0)
    assert signs == {True, False}


@pytest.mark.parametrize("text", ["music", "  고래 ", "😀"])
def test_of_a_word_alone_nothing_is_told_since_nothing_would_be_left(text: str, service: TestClient) -> None:
    _, (word,) = explained(service, text)
    assert (word["text"], word["influence"], word["score"]) == (text.strip(), None, None)


def test_a_word_that_the_model_does_not_read_does_nothing_and_is_not_left_alone() -> None:
    reader = Reader(build_vocabulary([" ".join(WORDS)], TextConfig(punctuation="drop"), False), None)
    omissions = leave_out("좋다 ...", reader)
    assert omissions.asked == [reader.read("좋다")]
    logits = np.array([1, 2], np.float32)
    read, unread = omissions.attributions(logits, iter([logits]), ["bad", "good"], "softmax")
    assert (read["text"], read["influence"], read["score"]) == ("좋다", None, None)
    assert (unread["text"], unread["influence"]) == ("...", 0)


def test_a_label_without_any_other_is_never_unsure() -> None:
    omissions = leave_out("오늘 좋다", Reader(build_vocabulary([" ".join(WORDS)], TextConfig(), False), None))
    rows = iter(np.array([[3], [4]], np.float32))
    words = omissions.attributions(np.array([1], np.float32), rows, ["only"], "softmax")
    assert [(word["influence"], word["score"]) for word in words] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("model", MODELS)
def test_labels_are_those_without_details(model: str, service: TestClient) -> None:
    for text in TEXTS:
        for parameters in ({}, {"top_k": 1}, {"function_to_apply": "sigmoid"}):
            labels, _ = explained(service, text, model, **parameters)
            assert labels == classify(service, text, model, **parameters)


def test_without_details_nothing_is_said_of_words(service: TestClient) -> None:
    bare = service.post("/classify", json=question())
    refused = service.post("/classify", json=question(details=False))
    assert bare.content == refused.content


@pytest.mark.parametrize("model", MODELS)
def test_a_list_is_answered_as_each_of_its_texts(model: str, service: TestClient) -> None:
    texts = [*TEXTS, "music", PROMPT]
    assert classify(service, texts, model, details=True) == [classify(service, text, model, details=True) for text in texts]


# -------------------------------------------------------------------------------------------------------------------- bounds


@pytest.fixture
def bounded(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings.model_copy(update={"max_inputs": 8, "max_waiting": 8}))) as client:
        yield client


def test_a_text_of_so_many_words_counts_as_so_many_inputs_and_one(bounded: TestClient) -> None:
    for fits in ("a " * 7, ["a " * 3, "a " * 3]):
        assert bounded.post("/classify", json=question(fits, details=True)).status_code == 200
    for more in ("a " * 8, ["a " * 3, "a " * 4], ["a"] * 5, " " * 5_000 + "a " * 5_000):
        sentence = refusal(bounded.post("/classify", json=question(more, details=True)), 413, "too_large")
        assert sentence == "parameters.details: texts and words together are more than the 8 inputs of one request"
    assert bounded.post("/classify", json=question("a " * 8)).status_code == 200


def test_places_are_taken_for_all_of_them_or_for_none(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_inputs": 8, "max_waiting": 7}))) as client:
        sentence = refusal(client.post("/classify", json=question("a " * 7, details=True)), 413, "too_large")
        assert "8 sequences in one request are more than the 7" in sentence
        assert client.post("/classify", json=question("a " * 6, details=True)).status_code == 200


def test_texts_that_nobody_wrote_tell_the_metrics_nothing_of_what_people_write(client: TestClient, settings: Settings) -> None:
    def told() -> list[float]:
        metrics, model = client.get("/metrics").text, settings.classify_model
        names = ("read_words_total", "unknown_words_total", "score_entropy_ratio_count", "inputs_total")
        return [sample(metrics, f"seqserve_{name}", model=model) for name in names]

    classify(client, "the whale sat", details=True)
    eventually(lambda: told() == [3, 1, 1, 4])
    classify(client, "the whale sat")
    eventually(lambda: told() == [6, 2, 2, 5])
