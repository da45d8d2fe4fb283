"""service.inference.generator: what is promised of many requests at once, with real models and a real thread."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.artifact import Artifact, load
from service.errors import InternalError, Overloaded, Unavailable
from service.inference.generator import Generator
from service.inference.runtime import Runtime
from service.inference.sampling import SamplingOptions
from service.inference.sequence import Generated, GenerationOptions
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import GENERATORS

Make = Callable[..., Generator]


@pytest.fixture(scope="module", params=[small.name for small in GENERATORS])
def artifact(request: Any, small_models: Path) -> Artifact:
    return load(small_models / request.param / "1")


class Fragile(Runtime):
    """The real runtime, which can be told to wait, to break, to answer a word without numbers, or never to end a sentence."""

    gate: threading.Event | None = None
    fails_at_rows: int | None = None
    spoilt_word: int | None = None
    endless = False

    def step(self, ids: Any, lengths: Any, state: Any) -> Any:
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.fails_at_rows == len(ids):
            raise RuntimeError("broken")
        logits, after = super().step(ids, lengths, state)
        logits[ids[:, 0] == self.spoilt_word] = np.nan
        if self.endless and self.manifest.special_ids.end is not None:
            logits[:, self.manifest.special_ids.end] = -np.inf
        return logits, after


@pytest.fixture
def make(artifact: Artifact) -> Iterator[Make]:
    """Generators over one model, with any settings and any runtime; closed afterwards."""
    made: list[Generator] = []

    def factory(runtime: Runtime | None = None, metrics: Metrics | None = None, **settings: Any) -> Generator:
        made.append(Generator(runtime or Runtime(artifact), artifact.tokenizer, Settings(**settings), metrics or Metrics()))
        return made[-1]

    yield factory
    for generator in made:
        generator.close(20)
        assert not generator.alive


def prompts(artifact: Artifact, count: int, seed: int = 0) -> list[tuple[list[int], GenerationOptions]]:
    """Short, long, greedy, drawn, with details, with penalties: all sorts."""
    chance = random.Random(seed)
    words = range(len(artifact.tokenizer.special_ids), artifact.tokenizer.vocabulary_size)
    made = []
    for index in range(count):
        sampling = SamplingOptions(
            do_sample=index % 2 == 1,
            temperature=1.5 if index % 2 else None,
            top_p=0.9 if index % 4 == 1 else None,
            top_k=5 if index % 4 == 3 else None,
            repetition_penalty=1.2 if index % 5 == 0 else None,
            seed=index,
        )
        options = GenerationOptions(chance.randint(1, 30), sampling, log_probabilities=index % 3 == 0, top_n_tokens=index % 3)
        made.append((chance.choices(words, k=chance.choice([1, 2, 5, 30])), options))
    return made


def alone(generator: Generator, inputs: list[tuple[list[int], GenerationOptions]]) -> list[Generated]:
    return [generator.submit([one]).future.result(20)[0] for one in inputs]


def rows_in_use(metrics: Metrics, artifact: Artifact) -> float | None:
    return metrics.registry.get_sample_value("seqserve_rows_in_use", {"model": artifact.manifest.name})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_64_mixed_requests_at_once_get_what_they_get_alone(artifact: Artifact, make: Make) -> None:
    inputs = prompts(artifact, 64)
    generator = make(max_rows=17, max_prefill_words=40)
    expected = alone(make(), inputs)
    order = random.Random(3).sample(range(64), 64)
    tickets = {}
    for index in order:
        tickets[index] = generator.submit([inputs[index]])
        if index % 5 == 0:
            time.sleep(0.001)
    assert [tickets[index].future.result(20)[0] for index in range(64)] == expected


def test_a_list_is_answered_in_order_as_each_alone(artifact: Artifact, make: Make) -> None:
    inputs = prompts(artifact, 9, seed=1)
    generator = make()
    assert generator.submit(inputs).future.result(20) == alone(generator, inputs)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_prompt_read_in_chunks_is_answered_as_one_read_at_once(artifact: Artifact, make: Make, chunk: int) -> None:
    inputs = prompts(artifact, 6, seed=2)
    assert alone(make(max_prefill_words=chunk), inputs) == alone(make(), inputs)


def test_a_request_joins_and_leaves_a_batch_that_is_running(artifact: Artifact, make: Make) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    runtime.endless = True
    generator = make(runtime, metrics)
    long = generator.submit([([3], GenerationOptions(10**9))])
    until(lambda: rows_in_use(metrics, artifact) == 1)
    for _ in range(3):
        assert generator.submit([([4], GenerationOptions(2))]).future.result(20)
    assert not long.ended
    long.future.cancel()
    until(lambda: rows_in_use(metrics, artifact) == 0)


def test_one_of_four_clients_leaves_and_the_other_three_are_answered(artifact: Artifact, make: Make) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    inputs = [
        ([3 + index], GenerationOptions(25, SamplingOptions(do_sample=True, temperature=9.0, seed=index))) for index in range(4)
    ]
    expected = alone(make(), inputs)
    runtime.gate = threading.Event()  # nobody moves before all four have been accepted
    generator = make(runtime, metrics)
    tickets = [generator.submit([one]) for one in inputs]
    runtime.gate.set()
    assert tickets[1].future.cancel()
    assert [tickets[index].future.result(20)[0] for index in (0, 2, 3)] == [expected[index] for index in (0, 2, 3)]
    until(lambda: rows_in_use(metrics, artifact) == 0)
    assert (
        metrics.registry.get_sample_value("seqserve_inputs_total", {"model": artifact.manifest.name, "outcome": "cancelled"}) == 1
    )
    assert metrics.registry.get_sample_value("seqserve_inputs_total", {"model": artifact.manifest.name, "outcome": "answer"}) == 3


def test_a_client_that_leaves_the_queue_never_gets_a_row(artifact: Artifact, make: Make) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    runtime.gate = threading.Event()
    generator = make(runtime, metrics, max_rows=1)
    first = generator.submit([([3], GenerationOptions(2))])
    waiting = generator.submit([([4], GenerationOptions(2))])
    waiting.future.cancel()
    last = generator.submit([([5], GenerationOptions(2))])
    runtime.gate.set()
    assert first.future.result(20)
    assert last.future.result(20)
    assert waiting.started_s is None
    until(lambda: rows_in_use(metrics, artifact) == 0)


def test_a_batch_that_raises_ends_its_own_requests_and_the_loop_goes_on(artifact: Artifact, make: Make) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    generator = make(runtime, metrics)
    runtime.fails_at_rows = 3
    broken = generator.submit([([3 + index], GenerationOptions(4)) for index in range(3)])
    with pytest.raises(InternalError):
        broken.future.result(20)
    until(lambda: rows_in_use(metrics, artifact) == 0)
    assert generator.alive
    assert generator.submit([([3], GenerationOptions(4))]).future.result(20)


def test_a_row_without_numbers_fails_alone(artifact: Artifact, make: Make) -> None:
    runtime = Fragile(artifact)
    inputs = [([3 + index], GenerationOptions(1)) for index in range(4)]
    expected = alone(make(), inputs)
    runtime.spoilt_word = 4
    generator = make(runtime)
    tickets = [generator.submit([one]) for one in inputs]
    with pytest.raises(InternalError, match="no usable numbers"):
        tickets[1].future.result(20)
    assert [tickets[index].future.result(20)[0] for index in (0, 2, 3)] == [expected[index] for index in (0, 2, 3)]


def test_a_full_queue_refuses_at_the_door_and_counts_it(artifact: Artifact, make: Make) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    runtime.gate = threading.Event()
    generator = make(runtime, metrics, max_waiting=2)
    accepted = generator.submit([([3], GenerationOptions(1))] * 2)
    with pytest.raises(Overloaded):
        generator.submit([([3], GenerationOptions(1))])
    assert metrics.registry.get_sample_value("seqserve_refused_total", {"model": artifact.manifest.name}) == 1
    runtime.gate.set()
    assert len(accepted.future.result(20)) == 2
    assert generator.submit([([3], GenerationOptions(1))]).future.result(20)


def test_closing_answers_what_was_accepted_and_refuses_the_rest(artifact: Artifact, make: Make) -> None:
    generator = make()
    tickets = [generator.submit([([3], GenerationOptions(20))]) for _ in range(5)]
    generator.close(20)
    assert all(ticket.future.result(0) for ticket in tickets)
    with pytest.raises(Unavailable):
        generator.submit([([3], GenerationOptions(1))])


def test_what_does_not_end_in_time_ends_as_unavailable(artifact: Artifact, make: Make) -> None:
    runtime = Fragile(artifact)
    runtime.gate = threading.Event()
    generator = make(runtime)
    ticket = generator.submit([([3], GenerationOptions(20))])
    generator.close(0.05)
    with pytest.raises(Unavailable):
        ticket.future.result(0)
    runtime.gate.set()


def test_a_loop_that_dies_ends_every_request_and_says_that_it_is_dead(
    artifact: Artifact, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = make()

    def die() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(generator, "_round", die)
    ticket = generator.submit([([3], GenerationOptions(5))])
    with pytest.raises(Unavailable):
        ticket.future.result(20)
    until(lambda: not generator.alive)
    with pytest.raises(Unavailable):
        generator.submit([([3], GenerationOptions(5))])
