"""service.inference.classifier: what is waiting runs together, and nobody's answer depends on it."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Artifact, load
from service.errors import InternalError, Overloaded, Unavailable
from service.inference.classifier import CALL_WORDS, STEP_SHARE, Classifier, Text, plan, rank
from service.inference.pace import Pace
from service.inference.runtime import Runtime, pad
from service.inference.ticket import Ticket
from service.metrics import Metrics
from service.settings import Settings
from service.words import Words
from tests.conftest import CLASSIFIERS

TEXTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13], [3] * 30, [12, 13]]


@pytest.fixture(scope="module", params=[small.name for small in CLASSIFIERS])
def artifact(request: Any, small_models: Path) -> Artifact:
    return load(small_models / request.param / "1")


class Gated(Runtime):
    """The real runtime, which waits until it is let go, tells of every batch, and can be told to break."""

    def __init__(self, artifact: Artifact) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.breaks_at, self.spoilt_word = -1, -1
        self.batches: list[list[int]] = []
        super().__init__(artifact)
        self.batches.clear()

    def classify(self, ids: Any, lengths: Any, grams: Any = None) -> Any:
        self.batches.append(lengths.tolist())
        self.entered.set()
        assert self.gate.wait(20)
        if self.breaks_at in ids[:, 0]:
            raise RuntimeError("broken")
        logits = super().classify(ids, lengths, grams)
        logits[ids[:, 0] == self.spoilt_word] = np.nan
        return logits


@pytest.fixture
def runtime(artifact: Artifact) -> Gated:
    return Gated(artifact)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def classifier(artifact: Artifact, runtime: Gated, metrics: Metrics) -> Iterator[Classifier]:
    classifier = Classifier(runtime, artifact.tokenizer, Settings(max_waiting=64, max_batch_words=200), metrics)
    yield classifier
    runtime.gate.set()
    classifier.close(20)


def submit(classifier: Classifier, texts: list[list[int]]) -> Ticket[Any]:
    """A request for texts of known words."""
    return classifier.submit([Words(ids) for ids in texts])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def hold(classifier: Classifier, runtime: Gated) -> Ticket[Any]:
    """Something that keeps the loop busy until the gate opens: what comes now waits together."""
    runtime.gate.clear()
    runtime.entered.clear()
    ticket = submit(classifier, [[3]])
    assert runtime.entered.wait(20)
    return ticket


def count(metrics: Metrics, classifier: Classifier, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"model": classifier.name, **labels}) or 0.0


def reasons(metrics: Metrics, classifier: Classifier) -> dict[str, float]:
    counts = {why: count(metrics, classifier, "seqserve_batches_total", reason=why) for why in ("drained", "padding", "budget")}
    return {why: number for why, number in counts.items() if number}


def test_texts_at_once_get_what_they_get_alone_to_the_bit(classifier: Classifier, runtime: Gated) -> None:
    padding = runtime.manifest.special_ids.padding
    expected = [runtime.classify(*pad([text], padding))[0] for text in TEXTS]
    hold(classifier, runtime)
    tickets = [submit(classifier, [text]) for text in TEXTS]
    batch = submit(classifier, TEXTS)
    runtime.gate.set()
    for ticket, wanted in zip(tickets, expected, strict=True):
        assert np.array_equal(ticket.future.result(20)[0], wanted)
    assert all(np.array_equal(one, wanted) for one, wanted in zip(batch.future.result(20), expected, strict=True))


def test_unknown_words_keep_their_characters_among_those_of_other_texts(small_models: Path, metrics: Metrics) -> None:
    artifact = load(small_models / CLASSIFIERS[-1].name / "1")
    runtime, read = Gated(artifact), artifact.encode
    texts = ["고래", "오늘 날씨가", "고래 whale 고래", "whale 오늘", "whales", " ".join(["고래", "상어", "whale"] * 9)]
    alone = [runtime.classify_texts([read(text)])[0] for text in texts]
    assert len({row.tobytes() for row in alone}) == len(texts)
    classifier = Classifier(runtime, artifact.tokenizer, Settings(max_waiting=64, max_batch_words=200), metrics)
    hold(classifier, runtime)
    tickets = [classifier.submit([read(text)]) for text in texts] + [classifier.submit([read(text) for text in texts])]
    runtime.gate.set()
    together = [row for ticket in tickets for row in ticket.future.result(20)]
    classifier.close(20)
    assert max(map(len, runtime.batches)) > 1
    assert all(np.array_equal(row, wanted) for row, wanted in zip(together, alone * 2, strict=True))


def test_texts_of_like_lengths_that_wait_together_run_together(classifier: Classifier, runtime: Gated) -> None:
    held = hold(classifier, runtime)
    tickets = [submit(classifier, [[3 + index] * length]) for index, length in enumerate([5, 5, 6, 5, 6, 6])]
    runtime.gate.set()
    assert all(ticket.future.result(20) for ticket in (held, *tickets))
    assert runtime.batches == [[1], [5, 5, 5, 6, 6, 6]]


def test_a_lone_text_runs_at_once(classifier: Classifier, runtime: Gated, metrics: Metrics) -> None:
    assert submit(classifier, [[3, 4]]).future.result(20)
    assert runtime.batches == [[2]]
    assert reasons(metrics, classifier) == {"drained": 1}


@pytest.mark.parametrize(
    ("lengths", "batches", "expected"),
    [
        ([4, 4, 4], [[4, 4, 4]], {"drained": 1}),
        ([4, 90], [[4], [90]], {"padding": 1, "drained": 1}),
        ([90, 90, 90], [[90, 90], [90]], {"budget": 1, "drained": 1}),
    ],
    ids=["drained", "padding", "budget"],
)
def test_every_batch_is_counted_by_why_it_held_no_more(
    classifier: Classifier,
    runtime: Gated,
    metrics: Metrics,
    lengths: list[int],
    batches: list[list[int]],
    expected: dict[str, float],
) -> None:
    hold(classifier, runtime)
    tickets = [submit(classifier, [[3] * length]) for length in lengths]
    before = reasons(metrics, classifier)
    runtime.gate.set()
    assert all(ticket.future.result(20) for ticket in tickets)
    assert runtime.batches[1:] == batches
    assert before == {"drained": 1}
    assert reasons(metrics, classifier) == expected | {"drained": expected["drained"] + 1}


def test_words_are_counted_with_padding_and_without(classifier: Classifier, runtime: Gated, metrics: Metrics) -> None:
    assert submit(classifier, [[3, 4, 5, 6], [7, 8]]).future.result(20)
    assert count(metrics, classifier, "seqserve_real_words_total") == 6
    assert count(metrics, classifier, "seqserve_padded_words_total") == 8
    assert count(metrics, classifier, "seqserve_batch_rows_sum", phase="classify") == 2


def test_a_client_that_leaves_while_its_text_runs_does_not_disturb_its_batch(classifier: Classifier, runtime: Gated) -> None:
    runtime.gate.clear()
    texts = [submit(classifier, [text]) for text in ([3], [4], [5])]
    assert runtime.entered.wait(20)
    texts[0].leave()
    runtime.gate.set()
    assert all(ticket.future.result(20) for ticket in texts[1:])


def test_a_client_that_leaves_the_queue_is_not_worked_for(classifier: Classifier, runtime: Gated, metrics: Metrics) -> None:
    hold(classifier, runtime)
    tickets = [submit(classifier, [text, text]) for text in TEXTS[:3]]
    tickets[1].leave()
    runtime.gate.set()
    assert all(len(tickets[index].future.result(20)) == 2 for index in (0, 2))
    assert tickets[1].started_s is None
    assert sorted(length for batch in runtime.batches[1:] for length in batch) == [3, 3, 7, 7]
    assert count(metrics, classifier, "seqserve_inputs_total", outcome="cancelled") == 2


def test_where_all_that_waited_have_left_nothing_waits_and_no_batch_runs(
    classifier: Classifier, runtime: Gated, metrics: Metrics
) -> None:
    hold(classifier, runtime)
    short, long = submit(classifier, [[3]]), submit(classifier, [[4] * 90])
    runtime.entered.clear()
    runtime.gate.set()
    assert short.future.result(20)
    assert long.future.result(20)
    runtime.gate.clear()
    runtime.entered.clear()
    busy = submit(classifier, [[3], [4] * 90])  # one of them waits for the batch of the other
    assert runtime.entered.wait(20)
    assert count(metrics, classifier, "seqserve_waiting") == 1
    busy.leave()
    runtime.gate.set()
    until(lambda: classifier._idle and classifier._door.taken == 0)
    until(lambda: count(metrics, classifier, "seqserve_rows_in_use") == count(metrics, classifier, "seqserve_waiting") == 0)
    assert len(runtime.batches) == 4


def test_a_batch_that_raises_ends_its_own_requests_and_the_loop_goes_on(
    classifier: Classifier, runtime: Gated, metrics: Metrics
) -> None:
    held = hold(classifier, runtime)
    runtime.breaks_at = 9
    broken = submit(classifier, [[9], [4] * 50])
    beside = submit(classifier, [[5]])  # in the batch that breaks
    apart = submit(classifier, [[6] * 50])
    runtime.gate.set()
    for ticket in (broken, beside):
        with pytest.raises(InternalError):
            ticket.future.result(20)
    assert held.future.result(20)
    assert apart.future.result(20)
    assert runtime.batches[1:] == [[1, 1], [50]]  # the other text of the broken request is not worked on any more
    assert submit(classifier, TEXTS).future.result(20)
    assert count(metrics, classifier, "seqserve_inputs_total", outcome="error") == 3


def test_a_row_without_numbers_fails_alone(classifier: Classifier, runtime: Gated) -> None:
    hold(classifier, runtime)
    runtime.spoilt_word = TEXTS[1][0]
    tickets = [submit(classifier, [text]) for text in TEXTS]
    runtime.gate.set()
    with pytest.raises(InternalError, match="no usable numbers"):
        tickets[1].future.result(20)
    assert all(ticket.future.result(20) for index, ticket in enumerate(tickets) if index != 1)


def test_a_full_queue_refuses_at_the_door_by_words(classifier: Classifier, runtime: Gated) -> None:
    runtime.gate.clear()
    accepted = submit(classifier, [[3] * 5] * 64)
    classifier._pace = Pace()
    classifier._pace.observe(1, 0.1)
    with pytest.raises(Overloaded) as refused:
        submit(classifier, [[3]])
    assert refused.value.retry_after_s == 32  # 64 x 5 words at 0.1 s each
    runtime.gate.set()
    assert len(accepted.future.result(20)) == 64


def test_after_the_last_answer_nothing_is_in_use_or_held(classifier: Classifier, runtime: Gated, metrics: Metrics) -> None:
    hold(classifier, runtime)
    tickets = [submit(classifier, [text] * 3) for text in TEXTS]
    watched = [weakref.ref(ticket) for ticket in tickets]
    tickets[0].leave()
    runtime.gate.set()
    assert all(ticket.future.result(20) for ticket in tickets[1:])
    del tickets
    until(lambda: count(metrics, classifier, "seqserve_rows_in_use") == count(metrics, classifier, "seqserve_waiting") == 0)

    def forgotten() -> bool:
        gc.collect()
        return not any(reference() for reference in watched)

    until(forgotten)
    assert (classifier._door.taken, classifier._door.work, classifier._tickets) == (0, 0, set())


def test_closing_answers_what_was_accepted_and_refuses_the_rest(classifier: Classifier, runtime: Gated) -> None:
    hold(classifier, runtime)
    tickets = [submit(classifier, [text]) for text in TEXTS]
    runtime.gate.set()
    classifier.close(20)
    assert all(ticket.future.result(0) for ticket in tickets)
    with pytest.raises(Unavailable):
        submit(classifier, [[3]])


# Which texts run together

LENGTHS = st.lists(st.integers(1, 120), min_size=1, max_size=40)


def waiting_texts(lengths: list[int]) -> list[Text]:
    ticket: Ticket[Any] = Ticket(len(lengths))
    return [Text(ticket, part, Words([1] * length)) for part, length in enumerate(lengths)]


def all_batches(waiting: list[Text], budget: int) -> list[list[Text]]:
    return [batch for batch, _ in plan(waiting, budget)]


@given(lengths=LENGTHS, budget=st.integers(1, 600))
def test_every_text_is_in_one_batch_and_who_waits_longest_comes_first(lengths: list[int], budget: int) -> None:
    batches = all_batches(waiting_texts(lengths), budget)
    assert all(batches)
    assert sorted(text.part for batch in batches for text in batch) == list(range(len(lengths)))
    oldest = [min(text.part for text in batch) for batch in batches]
    assert oldest == sorted(oldest)
    assert oldest[0] == 0


@given(lengths=LENGTHS, budget=st.integers(1, 600))
def test_a_batch_holds_no_more_padded_words_than_the_budget_but_for_one_text(lengths: list[int], budget: int) -> None:
    for batch in all_batches(waiting_texts(lengths), budget):
        assert len(batch) == 1 or max(len(text.words.ids) for text in batch) * len(batch) <= budget


@given(lengths=LENGTHS, budget=st.integers(1, 600))
def test_no_text_makes_the_shorter_ones_pad_more_than_a_call_of_its_own_costs(lengths: list[int], budget: int) -> None:
    for batch in all_batches(waiting_texts(lengths), budget):
        sizes = [len(text.words.ids) for text in batch]
        assert sizes == sorted(sizes)
        for at in range(1, len(sizes)):
            assert (sizes[at] - sizes[at - 1]) * at < CALL_WORDS + STEP_SHARE * sizes[at - 1]


@given(lengths=LENGTHS, budget=st.integers(1, 600))
def test_a_batch_ends_only_where_the_next_longer_text_would_cost_more_and_says_why(lengths: list[int], budget: int) -> None:
    planned = plan(waiting_texts(lengths), budget)
    by_length = sorted(planned, key=lambda one: (len(one[0][0].words.ids), len(one[0][-1].words.ids)))
    for (batch, reason), (following, _) in pairwise(by_length):
        longest, longer = len(batch[-1].words.ids), len(following[0].words.ids)
        over = longer * (len(batch) + 1) > budget
        assert over or (longer - longest) * len(batch) >= CALL_WORDS + STEP_SHARE * longest
        assert reason == ("budget" if over else "padding")
    assert by_length[-1][1] == "drained"


@given(length=st.integers(1, 50), number=st.integers(1, 40), budget=st.integers(1, 600))
def test_texts_of_one_length_are_parted_by_nothing_but_the_budget(length: int, number: int, budget: int) -> None:
    planned = plan(waiting_texts([length] * number), budget)
    most = max(1, budget // length)
    assert [len(batch) for batch, _ in planned] == [most] * (number // most) + [number % most] * (number % most > 0)
    assert [reason for _, reason in planned] == ["budget"] * (len(planned) - 1) + ["drained"]


def test_nothing_is_planned_where_nothing_waits() -> None:
    assert plan([], 100) == []


def test_what_comes_later_never_overtakes_what_was_planned(classifier: Classifier, runtime: Gated) -> None:
    hold(classifier, runtime)
    first = submit(classifier, [[3] * 2, [3] * 60])
    runtime.entered.clear()
    runtime.gate.set()
    assert first.future.result(20)
    order: list[int] = []
    hold(classifier, runtime)
    long = submit(classifier, [[3] * 2, [3] * 60])
    late: list[Ticket[Any]] = []

    def come(_: object) -> None:
        late.append(submit(classifier, [[3] * 2]))
        late[0].future.add_done_callback(lambda _: order.append(2))

    long.future.add_done_callback(lambda _: order.append(1))
    short = submit(classifier, [[3] * 2])
    short.future.add_done_callback(come)  # while the long text is planned and has not run
    runtime.gate.set()
    assert long.future.result(20)
    assert late[0].future.result(20)
    assert order == [1, 2]


def test_a_list_of_many_batches_lets_those_with_a_text_or_two_go_between(classifier: Classifier, runtime: Gated) -> None:
    hold(classifier, runtime)
    long = submit(classifier, [[3] * 50] * 40)  # ten batches of 200 words
    short = submit(classifier, [[4] * 2])
    runtime.gate.set()
    assert short.future.result(20)
    assert len(long.future.result(20)) == 40
    ran = [lengths[0] for lengths in runtime.batches]
    assert ran.index(2) <= 1 + 1  # after what held the loop, and at most one batch of the long list
    assert sum(map(len, runtime.batches)) == 1 + 40 + 1


def test_a_list_of_many_batches_runs_by_length_and_is_answered_in_its_order(classifier: Classifier, runtime: Gated) -> None:
    padding = runtime.manifest.special_ids.padding
    texts = [[3 + place] * length for place, length in enumerate([60, 2, 60, 2, 60, 2, 60, 2, 60, 2])]
    expected = [runtime.classify(*pad([text], padding))[0] for text in texts]
    runtime.batches.clear()
    found = submit(classifier, texts).future.result(20)
    assert all(np.array_equal(one, wanted) for one, wanted in zip(found, expected, strict=True))
    assert runtime.batches[0] == [2] * 5


def test_a_client_that_leaves_its_long_list_is_not_worked_for(classifier: Classifier, runtime: Gated) -> None:
    hold(classifier, runtime)
    submit(classifier, [[3] * 50] * 40).leave()
    after = submit(classifier, [[4] * 2])
    runtime.gate.set()
    assert after.future.result(20)
    until(lambda: classifier._idle)
    assert runtime.batches == [[1], [2]]


@settings(deadline=None, max_examples=20)
@given(texts=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=40), min_size=1, max_size=20))
def test_however_texts_are_grouped_their_logits_have_the_bits_that_they_have_alone(
    small_models: Path, texts: list[list[int]]
) -> None:
    runtime = opened(small_models)
    padding = runtime.manifest.special_ids.padding
    ticket: Ticket[Any] = Ticket(len(texts))
    for batch in all_batches([Text(ticket, part, Words(ids)) for part, ids in enumerate(texts)], 300):
        together = runtime.classify(*pad([text.words.ids for text in batch], padding))
        for text, row in zip(batch, together, strict=True):
            assert np.array_equal(row, runtime.classify(*pad([text.words.ids], padding))[0])


OPENED: dict[Path, Runtime] = {}


def opened(models: Path) -> Runtime:
    """The bidirectional model, opened once for all examples."""
    if models not in OPENED:
        OPENED[models] = Runtime(load(models / "bilstm1-classify" / "1"))
    return OPENED[models]


# Logits become labels


LABELS = ["a", "b", "c"]


def test_labels_are_ranked_by_shares_by_themselves_or_as_they_are() -> None:
    logits = np.array([0.0, 2.0, -1.0], np.float32)
    shares = rank(logits, LABELS, "softmax", None)
    assert [label for label, _ in shares] == ["b", "a", "c"]
    assert [score for _, score in shares] == pytest.approx(sorted(np.exp(logits) / np.exp(logits).sum(), reverse=True))
    assert rank(logits, LABELS, "none", 1) == [("b", 2.0)]
    assert rank(logits, LABELS, "sigmoid", 2)[1] == ("a", 0.5)


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    function=st.sampled_from(["softmax", "sigmoid", "none"]),
    top_k=st.none() | st.integers(1, 5),
)
def test_the_best_labels_come_first_whatever_the_logits(values: list[float], function: Any, top_k: int | None) -> None:
    answer = rank(np.array(values, np.float32), LABELS, function, top_k)
    scores = [label.score for label in answer]
    assert len(answer) == min(3, top_k or 3)
    assert scores == sorted(scores, reverse=True)
    assert answer == rank(np.array(values, np.float32), LABELS, function, None)[: len(answer)]
    if function != "none":
        assert all(0 <= score <= 1 for score in scores)
    if function == "softmax" and len(answer) == 3:
        assert sum(scores) == pytest.approx(1)


def test_of_equal_scores_the_first_label_is_the_first() -> None:
    assert [label for label, _ in rank(np.zeros(3, np.float32), LABELS, "softmax", None)] == LABELS
