"""service.inference.classifier: what is waiting runs together, and nobody's answer depends on it."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifact import Artifact, load
from service.errors import InternalError, Overloaded
from service.inference.classifier import Classifier, Text, rank, take_batch
from service.inference.runtime import Runtime
from service.inference.ticket import Ticket
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import CLASSIFIERS

TEXTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13], [3] * 30, [14, 15]]


@pytest.fixture(scope="module", params=[small.name for small in CLASSIFIERS])
def artifact(request: Any, small_models: Path) -> Artifact:
    return load(small_models / request.param / "1")


class Gated(Runtime):
    """The real runtime, which waits until it is let go, and can be told to break."""

    def __init__(self, artifact: Artifact) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.breaks, self.spoilt_word = False, -1
        super().__init__(artifact)

    def classify(self, ids: Any, lengths: Any) -> Any:
        assert self.gate.wait(20)
        if self.breaks:
            raise RuntimeError("broken")
        logits = super().classify(ids, lengths)
        logits[ids[:, 0] == self.spoilt_word] = np.nan
        return logits


@pytest.fixture
def runtime(artifact: Artifact) -> Gated:
    return Gated(artifact)


@pytest.fixture
def classifier(artifact: Artifact, runtime: Gated) -> Iterator[Classifier]:
    classifier = Classifier(runtime, artifact.tokenizer.padding_id, Settings(max_waiting=64), Metrics())
    yield classifier
    runtime.gate.set()
    classifier.close(20)


def test_texts_at_once_get_what_they_get_alone(classifier: Classifier, runtime: Gated) -> None:
    expected = [classifier.submit([text]).future.result(20)[0] for text in TEXTS]
    runtime.gate.clear()
    tickets = [classifier.submit([text]) for text in TEXTS]
    batch = classifier.submit(TEXTS)
    runtime.gate.set()
    for ticket, wanted in zip(tickets, expected, strict=True):
        assert np.array_equal(ticket.future.result(20)[0], wanted)
    assert all(np.array_equal(one, wanted) for one, wanted in zip(batch.future.result(20), expected, strict=True))


def test_a_client_that_leaves_does_not_disturb_its_batch(classifier: Classifier, runtime: Gated) -> None:
    runtime.gate.clear()
    tickets = [classifier.submit([text]) for text in TEXTS]
    tickets[2].future.cancel()
    runtime.gate.set()
    assert all(ticket.future.result(20) for index, ticket in enumerate(tickets) if index != 2)


def test_a_batch_that_raises_ends_its_own_requests_and_the_loop_goes_on(classifier: Classifier, runtime: Gated) -> None:
    runtime.breaks = True
    with pytest.raises(InternalError):
        classifier.submit(TEXTS).future.result(20)
    runtime.breaks = False
    assert classifier.submit(TEXTS).future.result(20)


def test_a_row_without_numbers_fails_alone(classifier: Classifier, runtime: Gated) -> None:
    runtime.spoilt_word = TEXTS[1][0]
    runtime.gate.clear()
    tickets = [classifier.submit([text]) for text in TEXTS]
    runtime.gate.set()
    with pytest.raises(InternalError, match="no usable numbers"):
        tickets[1].future.result(20)
    assert all(ticket.future.result(20) for index, ticket in enumerate(tickets) if index != 1)


def test_a_full_queue_refuses_at_the_door(classifier: Classifier, runtime: Gated) -> None:
    runtime.gate.clear()
    accepted = classifier.submit([[3]] * 64)
    with pytest.raises(Overloaded):
        classifier.submit([[3]])
    runtime.gate.set()
    assert len(accepted.future.result(20)) == 64


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), budget=st.integers(1, 200))
def test_batches_keep_the_order_the_budget_and_every_text(lengths: list[int], budget: int) -> None:
    ticket: Ticket[Any] = Ticket(len(lengths))
    waiting = deque(Text(ticket, part, [1] * length) for part, length in enumerate(lengths))
    seen: list[int] = []
    while waiting:
        batch = take_batch(waiting, budget)
        assert len(batch) == 1 or max(len(text.ids) for text in batch) * len(batch) <= budget
        seen += [text.part for text in batch]
    assert seen == list(range(len(lengths)))


def test_texts_whose_client_has_left_are_thrown_away() -> None:
    gone: Ticket[Any] = Ticket(1)
    gone.future.cancel()
    here: Ticket[Any] = Ticket(1)
    waiting = deque([Text(gone, 0, [1] * 100), Text(here, 0, [1]), Text(gone, 0, [1])])
    assert [text.ticket for text in take_batch(waiting, 10)] == [here]
    assert not waiting


def test_labels_are_ranked_by_shares_by_themselves_or_as_they_are() -> None:
    logits = np.array([0.0, 2.0, -1.0], np.float32)
    labels = ["a", "b", "c"]
    shares = rank(logits, labels, "softmax", None)
    assert [label for label, _ in shares] == ["b", "a", "c"]
    assert sum(score for _, score in shares) == pytest.approx(1)
    assert rank(logits, labels, "none", 1) == [("b", 2.0)]
    assert rank(logits, labels, "sigmoid", 2)[1] == ("a", 0.5)
