"""service.inference.generator: what is promised of many requests at once, with real models and a real thread."""

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Artifact, load
from service.errors import InternalError, Overloaded, RequestError, TooLarge, Unavailable
from service.inference.bookmark import Bookmark, Seal
from service.inference.generator import Generator
from service.inference.pace import Pace
from service.inference.prompt import Prompt
from service.inference.runtime import Runtime, pad
from service.inference.sampling import SamplingOptions
from service.inference.scheduler import RIDE_WORDS, TURN_WORDS, WRITERS_PER_READER
from service.inference.sequence import Generated, GenerationOptions
from service.inference.ticket import Ticket
from service.metrics import Metrics
from service.settings import Settings
from tests.builders import Small, publish_small
from tests.conftest import GENERATORS

Make = Callable[..., Generator]

SMALLS = (*GENERATORS, Small(cell="rnn", layers=2), Small(cell="gru"), Small(cell="lstm", layers=2))
SEAL = Seal(b"a key of sixteen and more bytes")
MANY = WRITERS_PER_READER + 1  # so many write that a prompt rides along


class Fragile(Runtime):
    """The real runtime, which can be told to wait, to break, to answer a word without numbers, or never to end a sentence.

    calls: rows, words of the longest and wanted rows of every call; on_call: is told of a call before it is made.
    """

    gate: threading.Event | None = None
    fails_at_rows: int | None = None
    spoilt_word: int | None = None
    endless = False
    on_call: Callable[[int, int, int], None] | None = None

    def __init__(self, artifact: Artifact, **more: Any) -> None:
        self.calls: list[tuple[int, int, int]] = []
        super().__init__(artifact, **more)
        self.calls.clear()

    def step(self, ids: Any, lengths: Any, state: Any, wanted: Any = None) -> Any:
        if self.gate is not None:
            assert self.gate.wait(20)
        self.calls.append((*ids.shape, len(ids) if wanted is None else len(wanted)))
        if self.on_call is not None:
            self.on_call(*self.calls[-1])
        if self.fails_at_rows == len(ids):
            raise RuntimeError("broken")
        logits, after = super().step(ids, lengths, state, wanted)
        logits[(ids if wanted is None else ids[wanted])[:, 0] == self.spoilt_word] = np.nan
        if self.endless and self.manifest.special_ids.end is not None:
            logits[:, self.manifest.special_ids.end] = -np.inf
        return logits, after


class Shelf(dict[str, Artifact]):
    """Artifacts by name, with a name of its own that is short enough for hypothesis to tell."""

    def __repr__(self) -> str:
        return "the small models"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("generators")
    made = {small.name: load(publish_small(folder / "models", small, folder / "scratch")) for small in SMALLS}
    return Shelf(made)


@pytest.fixture(scope="module", params=[small.name for small in SMALLS])
def artifact(request: Any, artifacts: Shelf) -> Artifact:
    """Every cell, with one layer and with two: for promises about answers."""
    return artifacts[request.param]


@pytest.fixture(scope="module")
def lstm(artifacts: Shelf) -> Artifact:
    """One model: for promises about requests."""
    return artifacts["lstm1-generate"]


@contextmanager
def serving(
    artifact: Artifact, runtime: Runtime | None = None, metrics: Metrics | None = None, **options: Any
) -> Iterator[Generator]:
    """A generator with any settings and any runtime; closed afterwards."""
    generator = Generator(runtime or Runtime(artifact), artifact.tokenizer, Settings(**options), metrics or Metrics())
    try:
        yield generator
    finally:
        generator.close(20)
        assert not generator.alive


def ask(generator: Generator, ids: list[int], options: GenerationOptions, start: Bookmark | None = None) -> Generated:
    return generator.submit([Prompt(ids, [options], start)]).future.result(20)[0]


def alone(artifact: Artifact, prompts: list[Prompt], runtime: Runtime | None = None) -> list[Generated]:
    """What every prompt gets in every way by itself, its prompt read whole and nothing remembered."""
    with serving(artifact, runtime, prefix_cache_bytes=0, max_prefill_words=10_000) as generator:
        return [ask(generator, ids, options, start) for ids, ways, start in prompts for options in ways]


def words_of(artifact: Artifact) -> range:
    """The ids of words that are no special ones."""
    return range(len(artifact.tokenizer.special_ids), artifact.tokenizer.vocabulary_size)


def bold(seed: int, **more: Any) -> SamplingOptions:
    """Draws all sorts of words."""
    return SamplingOptions(do_sample=True, temperature=3.0, seed=seed, **more)


def mixed(artifact: Artifact, count: int, seed: int = 0) -> list[Prompt]:
    """Short, long, greedy, drawn, with details, with penalties, scored, with a state to keep: all sorts."""
    chance = random.Random(seed)
    made = []
    for index in range(count):
        sampling = SamplingOptions(
            do_sample=index % 2 == 1,
            temperature=1.5 if index % 2 else None,
            top_p=0.9 if index % 4 == 1 else None,
            typical_p=0.8 if index % 8 == 3 else None,
            repetition_penalty=1.2 if index % 5 == 0 else None,
            seed=index,
        )
        options = GenerationOptions(
            chance.randint(0 if index % 10 == 7 else 1, 30),
            sampling,
            stop=("있다", "the") if index % 6 == 1 else (),
            log_probabilities=index % 3 == 0,
            top_n_tokens=index % 3,
            score_prompt=index % 9 == 4,
            keep_state=index % 4 == 2,
        )
        made.append(Prompt(chance.choices(words_of(artifact), k=chance.choice([1, 2, 5, 12, 30])), [options]))
    return made


def plain(result: Generated) -> Any:
    """An answer as what can be compared, to the bit."""
    kept = result.bookmark
    if kept is None:
        return result
    bits = [part.tobytes() for part in kept.state]
    return result._replace(bookmark=None), bits, kept.pending, kept.position, kept.seed, dict(kept.history), kept.tail


def same(results: list[Generated], expected: list[Generated]) -> bool:
    return [plain(one) for one in results] == [plain(one) for one in expected]


def sample(metrics: Metrics, name: str, artifact: Artifact, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"model": artifact.manifest.name, **labels}) or 0.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def until_empty(metrics: Metrics, artifact: Artifact, generator: Generator) -> None:
    """Nobody has a row or waits for one, and nothing is held for anybody."""
    until(lambda: (generator._door.taken, generator._door.work, generator._tickets) == (0, 0, set()))
    until(lambda: generator._idle and generator._batch.rows == [] and generator._batch._state == ())
    until(lambda: sample(metrics, "seqserve_rows_in_use", artifact) == sample(metrics, "seqserve_waiting", artifact) == 0)


# An answer depends on nothing but its request


def test_64_mixed_requests_at_once_get_what_they_get_alone(artifact: Artifact) -> None:
    prompts = mixed(artifact, 64)
    expected = alone(artifact, prompts)
    with serving(artifact, max_rows=17, max_prefill_words=40) as generator:
        order = random.Random(3).sample(range(64), 64)
        tickets = {index: generator.submit([prompts[index]]) for index in order}
        assert same([tickets[index].future.result(20)[0] for index in range(64)], expected)


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_any_requests_in_any_order_with_any_bounds_get_what_they_get_alone(artifacts: Shelf, data: st.DataObject) -> None:
    lstm = artifacts["lstm1-generate"]
    prompts = mixed(lstm, 30, seed=data.draw(st.integers(0, 99)))
    bounds: dict[str, Any] = data.draw(
        st.fixed_dictionaries(
            {
                "max_rows": st.integers(1, 40),
                "max_prefill_words": st.integers(1, 80),
                "prefix_cache_bytes": st.sampled_from([0, 2000, 10**6]),
            }
        )
    )
    together = data.draw(st.integers(1, 30))
    with serving(lstm, **bounds) as generator:
        tickets = [generator.submit(prompts[at : at + together]) for at in range(0, 30, together)]
        results = [result for ticket in tickets for result in ticket.future.result(20)]
    assert same(results, alone(lstm, prompts))


def test_a_list_is_answered_in_order_as_each_alone(artifact: Artifact) -> None:
    prompts = mixed(artifact, 9, seed=1)
    with serving(artifact) as generator:
        assert same(generator.submit(prompts).future.result(20), alone(artifact, prompts))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_prompt_read_in_chunks_is_answered_as_one_read_at_once(artifact: Artifact, chunk: int) -> None:
    prompts = mixed(artifact, 6, seed=2)
    with serving(artifact, max_prefill_words=chunk, prefix_cache_bytes=0) as generator:
        assert same(generator.submit(prompts).future.result(20), alone(artifact, prompts))


def test_a_bound_runtime_answers_as_one_that_is_not(artifact: Artifact) -> None:
    prompts = mixed(artifact, 20, seed=3)
    with serving(artifact, Runtime(artifact, bound=True), max_rows=7, max_prefill_words=40) as generator:
        assert same(generator.submit(prompts).future.result(20), alone(artifact, prompts))


def test_a_prompt_is_not_changed_by_being_answered(lstm: Artifact) -> None:
    ids = [3, 4, 5]
    with serving(lstm) as generator:
        ask(generator, ids, GenerationOptions(5))
    assert ids == [3, 4, 5]


# Riding along: reading word by word in the step of those that write


def riding(artifact: Artifact, written: int, rider: Prompt, max_new_tokens: int = 6) -> tuple[Any, list[Generated], Fragile]:
    """A prompt beside as many that write as let it ride; they all have the same number of words to write."""
    runtime = Fragile(artifact)
    runtime.endless = True
    prompts = [Prompt([3 + index], [GenerationOptions(written, bold(index))]) for index in range(MANY)] + [rider]
    expected = alone(artifact, prompts, runtime)
    runtime.calls.clear()
    with serving(artifact, runtime, prefix_cache_bytes=0) as generator:
        results = generator.submit(prompts).future.result(20)
    return results, expected, runtime


@pytest.mark.parametrize("words", [2, 5, RIDE_WORDS + 1])
def test_a_prompt_that_rides_along_is_answered_as_one_read_by_itself(artifact: Artifact, words: int) -> None:
    rider = Prompt(list(words_of(artifact))[:words], [GenerationOptions(6, bold(99), log_probabilities=True, keep_state=True)])
    results, expected, runtime = riding(artifact, 30, rider)
    assert same(results, expected)
    assert runtime.calls[0] == (MANY + 1, 1, MANY)
    assert all(longest == 1 for _, longest, _ in runtime.calls)


@pytest.mark.parametrize("written", [1, 3, 4, 5])
def test_a_prompt_with_which_nobody_rides_on_is_answered_as_one_read_by_itself(artifact: Artifact, written: int) -> None:
    """Those that write end while it rides: before its last words, at the last but one, at the last."""
    rider = Prompt([5, 6, 7, 8, 9], [GenerationOptions(6, bold(99), keep_state=True)])
    results, expected, _ = riding(artifact, written, rider)
    assert same(results, expected)


@pytest.mark.parametrize("written", [1, 3, 4, 5])
def test_what_is_remembered_of_a_prompt_that_rode_is_its_own_state(lstm: Artifact, written: int) -> None:
    writers = [Prompt([3 + index], [GenerationOptions(written, bold(index))]) for index in range(MANY)]
    rider = Prompt([5, 6, 7, 8, 9], [GenerationOptions(6, bold(99))])
    runtime = Fragile(lstm)
    runtime.endless = True
    (expected,) = alone(lstm, [rider], runtime)
    with serving(lstm, runtime) as generator:
        generator.submit([*writers, rider]).future.result(20)
        assert plain(ask(generator, rider.ids, rider.options[0])) == plain(expected)
        longer = Prompt([*rider.ids, 10, 11], rider.options)
        assert same(generator.submit([longer]).future.result(20), alone(lstm, [longer], runtime))


def test_a_prompt_to_which_others_come_while_it_rides_is_answered_as_alone(lstm: Artifact) -> None:
    """With more readers riding does not pay any more, and it goes on in calls of its own."""
    runtime = Fragile(lstm)
    runtime.endless = True
    rider = Prompt([5, 6, 7, 8, 9, 10, 11, 12], [GenerationOptions(6, bold(99))])
    late = Prompt(list(range(3, 15)), [GenerationOptions(3, bold(98))])
    writers = [Prompt([3 + index], [GenerationOptions(60, bold(index))]) for index in range(MANY)]
    expected = alone(lstm, [*writers, rider, late, late], runtime)
    runtime.calls.clear()
    with serving(lstm, runtime, prefix_cache_bytes=0) as generator:
        tickets: list[Ticket[Generated]] = []

        def come(rows: int, longest: int, wanted: int) -> None:
            if len(runtime.calls) == 3:
                tickets.append(generator.submit([late, late]))

        runtime.on_call = come
        results = generator.submit([*writers, rider]).future.result(20)
        results += tickets[0].future.result(20)
    assert same(results, expected)


# The prefix cache


def test_with_and_without_the_prefix_cache_the_answers_are_the_same(artifact: Artifact) -> None:
    prompts = mixed(artifact, 12, seed=4)
    typed = [Prompt(prompt.ids[: 1 + count], prompt.options) for prompt in prompts[:4] for count in range(len(prompt.ids))]
    metrics = Metrics()
    with serving(artifact, metrics=metrics) as generator:
        results = [generator.submit([prompt]).future.result(20)[0] for prompt in (*prompts, *prompts, *typed)]
    assert same(results, alone(artifact, [*prompts, *prompts, *typed]))
    assert sample(metrics, "seqserve_prefix_cache_words_total", artifact) > 0


def test_what_was_read_before_is_not_read_again(lstm: Artifact) -> None:
    metrics, options = Metrics(), GenerationOptions(0)
    with serving(lstm, metrics=metrics) as generator:

        def read(ids: list[int]) -> float:
            before = sample(metrics, "seqserve_real_words_total", lstm)
            ask(generator, ids, options)
            return sample(metrics, "seqserve_real_words_total", lstm) - before

        prompt = list(words_of(lstm))
        assert read(prompt[:8]) == 7
        assert read(prompt[:8]) == 0
        assert read(prompt[:12]) == 4
        assert read([9, *prompt[:7]]) == 7
        assert sample(metrics, "seqserve_prefix_cache_bytes", lstm) > 0
    assert sample(metrics, "seqserve_prefix_cache_lookups_total", lstm, result="hit") == 2
    assert sample(metrics, "seqserve_prefix_cache_lookups_total", lstm, result="miss") == 2
    assert sample(metrics, "seqserve_prefix_cache_words_total", lstm) == 7 + 7
    assert sample(metrics, "seqserve_prefix_cache_bytes", lstm) == 0  # it is closed


def test_typing_on_costs_a_word_a_word(lstm: Artifact) -> None:
    metrics = Metrics()
    prompt = list(words_of(lstm))[:10]
    runtime = Fragile(lstm)
    runtime.endless = True
    with serving(lstm, runtime, metrics) as generator:
        ask(generator, prompt[:2], GenerationOptions(1))
        before = sample(metrics, "seqserve_real_words_total", lstm)
        for count in range(3, 11):
            ask(generator, prompt[:count], GenerationOptions(1))
        assert sample(metrics, "seqserve_real_words_total", lstm) - before == 8


def test_a_cache_that_is_off_is_not_looked_into(lstm: Artifact) -> None:
    metrics = Metrics()
    with serving(lstm, metrics=metrics, prefix_cache_bytes=0) as generator:
        for _ in range(2):
            ask(generator, [3, 4, 5, 6], GenerationOptions(0))
    assert sample(metrics, "seqserve_prefix_cache_words_total", lstm) == 0
    assert sample(metrics, "seqserve_real_words_total", lstm) == 6
    assert sample(metrics, "seqserve_prefix_cache_bytes", lstm) == 0


# Several ways from one prompt


@pytest.mark.parametrize("max_rows", [64, 2])
def test_candidates_from_one_prompt_are_each_what_is_got_alone_and_it_is_read_once(artifact: Artifact, max_rows: int) -> None:
    metrics = Metrics()
    ways = [GenerationOptions(20, bold(seed), log_probabilities=seed % 2 == 0, keep_state=seed == 3) for seed in range(5)]
    prompt = Prompt(list(words_of(artifact))[:12], ways)
    with serving(artifact, metrics=metrics, max_rows=max_rows, prefix_cache_bytes=0) as generator:
        results = generator.submit([prompt]).future.result(20)
    assert same(results, alone(artifact, [prompt]))
    assert len({tuple(result.ids) for result in results}) > 1
    written = sum(len(result.ids) for result in results)
    assert sample(metrics, "seqserve_real_words_total", artifact) == 11 + written


def test_candidates_of_a_prompt_that_rode_are_each_what_is_got_alone(lstm: Artifact) -> None:
    rider = Prompt([5, 6, 7, 8], [GenerationOptions(20, bold(seed)) for seed in range(3)])
    results, expected, _ = riding(lstm, 30, rider)
    assert same(results, expected)


@pytest.mark.parametrize("words", [1, 2, 12])
@pytest.mark.parametrize("more", [{"score_prompt": True}, {"keep_state": True}, {"max_new_tokens": 0, "keep_state": True}], ids=str)
def test_candidates_of_any_kind_and_prompts_of_any_length_are_forked(lstm: Artifact, words: int, more: dict[str, Any]) -> None:
    ways = [replace(GenerationOptions(4, bold(seed)), **more) for seed in range(3)]
    prompts = [Prompt(list(words_of(lstm))[:words], ways), Prompt([4], ways)]
    with serving(lstm, max_rows=2) as generator:
        assert same(generator.submit(prompts).future.result(20), alone(lstm, prompts))


def test_candidates_from_a_bookmark_are_each_what_is_got_alone(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        start = ask(generator, [3, 4, 5], GenerationOptions(3, bold(1), keep_state=True)).bookmark
        for ids in ([], [6], [6, 7, 8]):
            prompt = Prompt(ids, [GenerationOptions(8, bold(seed)) for seed in range(4)], start)
            assert same(generator.submit([prompt]).future.result(20), alone(lstm, [prompt]))


# Turns: rows are taken from long generations for those that wait


def test_generations_that_are_parked_and_go_on_are_answered_as_alone(artifact: Artifact) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    runtime.endless = True
    long = [
        Prompt(
            [3 + index, 4, 5],
            [
                GenerationOptions(
                    3 * TURN_WORDS + index, bold(index, frequency_penalty=0.5), log_probabilities=True, keep_state=True
                )
            ],
        )
        for index in range(8)
    ]
    scored = [Prompt([3, 4, 5] * TURN_WORDS, [GenerationOptions(5, bold(index), score_prompt=True)]) for index in range(3)]
    with serving(artifact, runtime, metrics, max_rows=2) as generator:
        results = generator.submit([*long, *scored]).future.result(20)
        until_empty(metrics, artifact, generator)
    assert same(results, alone(artifact, [*long, *scored], runtime))
    assert sample(metrics, "seqserve_parked_total", artifact) >= 8 * 2


def test_a_short_request_does_not_wait_for_long_ones_to_end(lstm: Artifact) -> None:
    runtime = Fragile(lstm)
    runtime.endless = True
    with serving(lstm, runtime, max_rows=2) as generator:
        long = [generator.submit([Prompt([3], [GenerationOptions(10**9)])]) for _ in range(5)]
        assert ask(generator, [4], GenerationOptions(2)).finish_reason == "length"
        assert not any(ticket.ended for ticket in long)
        for ticket in long:
            ticket.leave()


def test_nobody_is_parked_where_there_are_rows_for_all(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    with serving(lstm, runtime, metrics, max_rows=8) as generator:
        generator.submit([Prompt([3], [GenerationOptions(5 * TURN_WORDS)])] * 8).future.result(20)
    assert sample(metrics, "seqserve_parked_total", lstm) == 0


# Scoring, and nothing to write


def log_softmax(logits: Any) -> Any:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


@pytest.mark.parametrize("new", [0, 3])
def test_a_prompt_is_scored_as_by_hand(artifact: Artifact, new: int) -> None:
    runtime = Runtime(artifact)
    prompt = list(words_of(artifact))[:9]
    with serving(artifact, runtime) as generator:
        scored = ask(generator, prompt, GenerationOptions(new, score_prompt=True))
    by_hand = []
    for count in range(1, len(prompt)):
        logits, _ = runtime.step(*pad([prompt[:count]], artifact.tokenizer.padding_id), runtime.initial_state(1))
        by_hand.append(log_softmax(logits[0])[prompt[count]])
    assert scored.prompt_logprobs == pytest.approx(by_hand, abs=1e-5)
    assert len(scored.ids) <= new


def test_written_words_are_as_likely_as_the_same_words_of_a_prompt(artifact: Artifact) -> None:
    prompt = list(words_of(artifact))[:4]
    with serving(artifact) as generator:
        written = ask(generator, prompt, GenerationOptions(12, bold(5, top_p=0.9), log_probabilities=True))
        scored = ask(generator, [*prompt, *written.ids], GenerationOptions(0, score_prompt=True))
    assert [token.logprob for token in written.tokens] == scored.prompt_logprobs[len(prompt) - 1 :]


def test_scoring_changes_nothing_of_what_is_written(artifact: Artifact) -> None:
    prompt = list(words_of(artifact))[:7]
    options = GenerationOptions(10, bold(5), log_probabilities=True)
    with serving(artifact) as generator:
        scored = ask(generator, prompt, replace(options, score_prompt=True))
        assert scored._replace(prompt_logprobs=[]) == ask(generator, prompt, options)


@pytest.mark.parametrize("words", [1, 2, 9])
def test_where_no_new_word_is_asked_for_none_is_written(artifact: Artifact, words: int) -> None:
    metrics = Metrics()
    with serving(artifact, metrics=metrics) as generator:
        result = ask(generator, list(words_of(artifact))[:words], GenerationOptions(0, log_probabilities=True))
        scored = ask(generator, list(words_of(artifact))[:words], GenerationOptions(0, score_prompt=True))
        until_empty(metrics, artifact, generator)
    assert (result.text, result.ids, result.tokens, result.finish_reason) == ("", [], [], "length")
    assert (scored.ids, len(scored.prompt_logprobs), scored.finish_reason) == ([], words - 1, "length")
    assert sample(metrics, "seqserve_real_words_total", artifact) == 2 * (words - 1)


def test_the_likeliest_words_are_told_with_their_own_probabilities(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        result = ask(generator, [3, 4], GenerationOptions(6, top_n_tokens=4))
    for token, others in zip(result.tokens, result.top_tokens, strict=True):
        assert len(others) == 4
        assert (others[0].id, others[0].logprob) == (token.id, token.logprob)  # greedy
        assert [other.logprob for other in others] == sorted((other.logprob or 0.0 for other in others), reverse=True)
        assert not {other.id for other in others} & {lstm.tokenizer.padding_id, lstm.tokenizer.unknown_id}


def test_padding_and_unknown_are_never_written(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        prompt = Prompt([3], [GenerationOptions(30, SamplingOptions(do_sample=True, temperature=50.0, seed=s)) for s in range(20)])
        written = {word for result in generator.submit([prompt]).future.result(20) for word in result.ids}
    assert not written & {lstm.tokenizer.padding_id, lstm.tokenizer.unknown_id}
    assert len(written) > 10


# Bookmarks: to stop and go on, in another process for all the generator knows


def kept(result: Generated) -> Bookmark:
    assert result.bookmark is not None
    return result.bookmark


def go_on(
    artifact: Artifact, runtime: Runtime, before: Generated, options: GenerationOptions, ids: list[int] | None = None
) -> Generated:
    """In a fresh generator, from what a client was given as text."""
    start = SEAL.open(SEAL.close(kept(before), artifact.manifest), artifact.manifest)
    with serving(artifact, runtime) as generator:
        return ask(generator, ids or [], options, start)


SORTS = {
    "greedy": SamplingOptions(),
    "seeded": bold(11),
    "top_p": bold(12, top_p=0.8),
    "penalties": bold(13, repetition_penalty=1.7, frequency_penalty=0.9),
    "greedy penalties": SamplingOptions(repetition_penalty=1.7, frequency_penalty=0.9),
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("first", [0, 1, 7])
def test_words_in_two_goes_are_those_of_one(artifact: Artifact, sort: str, first: int) -> None:
    runtime = Fragile(artifact)
    runtime.endless = True
    options = GenerationOptions(16, SORTS[sort], log_probabilities=True, keep_state=True)
    with serving(artifact, runtime) as generator:
        whole = ask(generator, [3, 4, 5], options)
        begun = ask(generator, [3, 4, 5], replace(options, max_new_tokens=first))
    rest = go_on(artifact, runtime, begun, replace(options, max_new_tokens=16 - first))
    assert begun.ids + rest.ids == whole.ids
    assert begun.text + rest.text == whole.text
    assert begun.tokens + rest.tokens == whole.tokens
    assert plain(rest)[1:] == plain(whole)[1:]


@settings(deadline=None, max_examples=15)
@given(
    goes=st.lists(st.integers(0, 6), min_size=2, max_size=6),
    prompt=st.lists(st.integers(3, 20), min_size=1, max_size=6),
    sort=st.sampled_from(sorted(SORTS)),
    stop=st.text("오늘 날씨thecaonm", min_size=1, max_size=5),
)
def test_words_in_any_number_of_goes_are_those_of_one(
    artifacts: Shelf, goes: list[int], prompt: list[int], sort: str, stop: str
) -> None:
    lstm = artifacts["lstm1-generate"]
    runtime = Runtime(lstm)
    options = GenerationOptions(sum(goes), SORTS[sort], stop=(stop,), keep_state=True)
    with serving(lstm, runtime) as generator:
        whole = ask(generator, prompt, options)
        parts = [ask(generator, prompt, replace(options, max_new_tokens=goes[0]))]
    for count in goes[1:]:
        if parts[-1].finish_reason != "length":
            break
        parts.append(go_on(lstm, runtime, parts[-1], replace(options, max_new_tokens=count)))
    assert [word for part in parts for word in part.ids] == whole.ids
    assert "".join(part.text for part in parts) == whole.text
    assert parts[-1].finish_reason == whole.finish_reason
    assert plain(parts[-1])[1:] == plain(whole)[1:]


def test_a_stop_sequence_that_begins_before_the_break_is_found_after_it(artifact: Artifact) -> None:
    runtime = Fragile(artifact)
    runtime.endless = True
    found = 0
    for seed in range(12):
        options = GenerationOptions(12, bold(seed), keep_state=True)
        with serving(artifact, runtime) as generator:
            free = ask(generator, [3, 4], replace(options, log_probabilities=True))
            before = "".join(token.text for token in free.tokens[:5])
            stop = free.text[len(before) - 1 : len(before) + 2]
            options = replace(options, stop=(stop,))
            whole = ask(generator, [3, 4], options)
            begun = ask(generator, [3, 4], replace(options, max_new_tokens=5))
        if begun.finish_reason == "stop_sequence":
            continue  # it stood there before by chance
        rest = go_on(artifact, runtime, begun, replace(options, max_new_tokens=7))
        assert rest.finish_reason == whole.finish_reason == "stop_sequence"
        assert begun.text + rest.text == whole.text
        assert whole.text.endswith(stop)
        assert begun.ids + rest.ids == whole.ids
        found += 1
    assert found > 3


@pytest.mark.parametrize("sampling", [SamplingOptions(), bold(3), bold(3, repetition_penalty=1.5, frequency_penalty=0.5)])
def test_words_added_to_a_bookmark_are_read_as_if_they_had_stood_there(artifact: Artifact, sampling: SamplingOptions) -> None:
    """Where nothing was written in between; on a model that knows an end, the prompt begins with it, as over HTTP."""
    runtime = Runtime(artifact)
    end = artifact.tokenizer.end_id
    assert end is not None
    options = GenerationOptions(10, sampling, log_probabilities=True, keep_state=True)
    for head, tail in (([end], [3]), ([end, 3, 4], [5, 6]), ([3], [4, 5, 6, 7]), ([end, 5], [5, end, 5])):
        with serving(artifact, runtime) as generator:
            whole = ask(generator, [*head, *tail], options)
            begun = ask(generator, head, GenerationOptions(0, keep_state=True))
        assert plain(go_on(artifact, runtime, begun, options, tail)) == plain(whole)


def test_what_was_written_before_a_bookmark_counts_for_penalties_after_it(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        begun = ask(generator, [3, 4, 4], GenerationOptions(4, keep_state=True))
        counts = dict(kept(begun).history)
    expected: dict[int, int] = {}
    for word in [3, 4, 4, *begun.ids]:
        if word != lstm.tokenizer.end_id:
            expected[word] = expected.get(word, 0) + 1
    assert counts == expected


def test_after_the_end_of_a_sentence_a_bookmark_begins_the_next(artifact: Artifact) -> None:
    end = artifact.tokenizer.end_id
    assert end is not None
    runtime = Runtime(artifact)
    ended = 0
    for seed in range(12):
        options = GenerationOptions(25, bold(seed), keep_state=True)
        with serving(artifact, runtime) as generator:
            first = ask(generator, [end, 3], options)
        if first.finish_reason != "eos_token":
            continue
        ended += 1
        assert kept(first).pending == end
        assert kept(first).tail == ""
        second = go_on(artifact, runtime, first, options)
        assert not second.text.startswith(" ")
        # What the model has read is all there is: the same words as one prompt, at the same places of the stream.
        with serving(artifact, runtime) as generator:
            moved = replace(
                kept(ask(generator, [end, 3, *first.ids], GenerationOptions(0, keep_state=True))), position=len(first.ids)
            )
            assert ask(generator, [], options, moved).ids == second.ids
    assert ended > 3


def test_a_bookmark_after_a_bookmark_without_sampling_keeps_the_seed(lstm: Artifact) -> None:
    runtime = Runtime(lstm)
    with serving(lstm, runtime) as generator:
        drawn = ask(generator, [3], GenerationOptions(2, bold(77), keep_state=True))
    assert kept(drawn).seed == 77
    assert kept(go_on(lstm, runtime, drawn, GenerationOptions(2, keep_state=True))).seed == 77


def test_one_bookmark_may_be_gone_on_from_many_times(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        start = kept(ask(generator, [3, 4], GenerationOptions(3, bold(1), keep_state=True)))
        options = GenerationOptions(9, bold(1))
        once = ask(generator, [], options, start)
        tickets = [generator.submit([Prompt([], [options], start)]) for _ in range(10)]
        assert all(ticket.future.result(20) == [once] for ticket in tickets)


def test_what_follows_a_bookmark_is_never_taken_from_the_prefix_cache_nor_put_there(lstm: Artifact) -> None:
    """The same words after another beginning are another state."""
    with serving(lstm) as generator:
        start = kept(ask(generator, [8, 9], GenerationOptions(0, keep_state=True)))
        words = [start.pending, 5, 6, 7]
        fresh = Prompt(words, [GenerationOptions(8, log_probabilities=True)])
        after = Prompt(words[1:], fresh.options, start)
        for prompt in (after, fresh, after, fresh):
            assert same(generator.submit([prompt]).future.result(20), alone(lstm, [prompt]))
    (one,), (other,) = alone(lstm, [fresh]), alone(lstm, [after])
    assert one != other


# Clients that leave


def test_a_request_joins_and_leaves_a_batch_that_is_running(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    with serving(lstm, runtime, metrics) as generator:
        long = generator.submit([Prompt([3], [GenerationOptions(10**9)])])
        until(lambda: sample(metrics, "seqserve_rows_in_use", lstm) == 1)
        for _ in range(3):
            assert ask(generator, [4], GenerationOptions(2))
        assert not long.ended
        long.leave()
        until_empty(metrics, lstm, generator)


def endings(metrics: Metrics, artifact: Artifact) -> dict[str, float]:
    outcomes = ("answer", "cancelled", "error", "deadline")
    return {name: count for name in outcomes if (count := sample(metrics, "seqserve_inputs_total", artifact, outcome=name))}


def test_one_of_four_clients_leaves_and_the_other_three_are_answered(artifact: Artifact) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    prompts = [Prompt([3 + index], [GenerationOptions(25, bold(index))]) for index in range(4)]
    expected = alone(artifact, prompts)
    runtime.gate = threading.Event()  # nobody moves before all four have been accepted
    with serving(artifact, runtime, metrics) as generator:
        tickets = [generator.submit([one]) for one in prompts]
        runtime.gate.set()
        tickets[1].leave()
        assert [tickets[index].future.result(20)[0] for index in (0, 2, 3)] == [expected[index] for index in (0, 2, 3)]
        until_empty(metrics, artifact, generator)
    assert endings(metrics, artifact) == {"answer": 3, "cancelled": 1}


def test_a_client_that_leaves_the_queue_never_gets_a_row(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.gate = threading.Event()
    with serving(lstm, runtime, metrics, max_rows=1) as generator:
        first = generator.submit([Prompt([3], [GenerationOptions(2)])])
        waiting = generator.submit([Prompt([4], [GenerationOptions(2)] * 3)])
        waiting.leave()
        last = generator.submit([Prompt([5], [GenerationOptions(2)])])
        runtime.gate.set()
        assert first.future.result(20)
        assert last.future.result(20)
        assert waiting.started_s is None
        until_empty(metrics, lstm, generator)
    assert endings(metrics, lstm) == {"answer": 2, "cancelled": 3}


class Leaving:
    """A client that leaves at a call of the runtime: the first that when() is true of, or the at-th."""

    def __init__(self, runtime: Fragile, when: Callable[[int, int, int], bool], at: int = 1) -> None:
        self.ticket: Ticket[Generated] | None = None
        self.seen, self.when, self.at = 0, when, at
        runtime.on_call = self

    def __call__(self, rows: int, longest: int, wanted: int) -> None:
        if self.when(rows, longest, wanted):
            self.seen += 1
            if self.seen == self.at:
                assert self.ticket is not None
                self.ticket.leave()


def leave(generator: Generator, runtime: Fragile, leaving: Leaving, prompts: list[Prompt], others: list[Prompt]) -> list[Generated]:
    """What the others get, who come at the same time as the one that leaves."""
    runtime.gate = threading.Event()
    stay = [generator.submit([prompt]) for prompt in others]
    leaving.ticket = generator.submit(prompts)
    runtime.gate.set()
    results = [result for ticket in stay for result in ticket.future.result(20)]
    with pytest.raises(CancelledError):
        leaving.ticket.future.result(20)
    return results


def test_a_client_that_leaves_while_its_prompt_is_read_is_read_no_further(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    others = [Prompt([5], [GenerationOptions(12, bold(1))])]
    expected = alone(lstm, others)
    leaving = Leaving(runtime, lambda rows, longest, wanted: longest > 1, at=3)
    with serving(lstm, runtime, metrics, max_prefill_words=10) as generator:
        long = Prompt([3, 4] * 500, [GenerationOptions(5)] * 3)
        assert leave(generator, runtime, leaving, [long], others) == expected
        until_empty(metrics, lstm, generator)
    assert leaving.seen == 3
    assert endings(metrics, lstm) == {"answer": 1, "cancelled": 3}


def test_a_client_that_leaves_while_its_prompt_rides_leaves_the_others_as_they_are(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    others = [Prompt([3 + index], [GenerationOptions(30, bold(index))]) for index in range(MANY)]
    expected = alone(lstm, others, runtime)
    leaving = Leaving(runtime, lambda rows, longest, wanted: wanted == rows - 1 == MANY, at=3)
    with serving(lstm, runtime, metrics) as generator:
        rider = Prompt(list(range(3, 15)), [GenerationOptions(5)])
        assert leave(generator, runtime, leaving, [rider], others) == expected
        until_empty(metrics, lstm, generator)
    assert leaving.seen == 3


def test_a_client_that_leaves_while_it_is_written_to_leaves_the_others_as_they_are(artifact: Artifact) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    runtime.endless = True
    others = [Prompt([3 + index, 5], [GenerationOptions(20, bold(index))]) for index in range(3)]
    expected = alone(artifact, others, runtime)
    leaving = Leaving(runtime, lambda rows, longest, wanted: wanted == 4, at=5)
    with serving(artifact, runtime, metrics) as generator:
        assert leave(generator, runtime, leaving, [Prompt([9], [GenerationOptions(10**6)])], others) == expected
        until_empty(metrics, artifact, generator)
    assert leaving.seen == 5


@pytest.mark.parametrize("max_rows", [2, 64])
def test_a_client_that_leaves_takes_all_its_candidates_along(lstm: Artifact, max_rows: int) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    others = [Prompt([3, 4], [GenerationOptions(40, bold(1))])]
    expected = alone(lstm, others, runtime)
    leaving = Leaving(runtime, lambda rows, longest, wanted: wanted > 0, at=TURN_WORDS + 5)
    with serving(lstm, runtime, metrics, max_rows=max_rows) as generator:
        family = Prompt([5, 6, 7], [GenerationOptions(10**6, bold(seed)) for seed in range(6)])
        assert leave(generator, runtime, leaving, [family], others) == expected
        until_empty(metrics, lstm, generator)
    assert endings(metrics, lstm) == {"answer": 1, "cancelled": 6}


def test_a_client_that_leaves_while_it_is_parked_gets_no_row_again(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    others = [Prompt([3 + index], [GenerationOptions(60, bold(index))]) for index in range(2)]
    expected = alone(lstm, others, runtime)
    leaving = Leaving(runtime, lambda *_: sample(metrics, "seqserve_parked_total", lstm) >= 3)
    with serving(lstm, runtime, metrics, max_rows=1) as generator:
        assert leave(generator, runtime, leaving, [Prompt([9], [GenerationOptions(10**6)])], others) == expected
        until_empty(metrics, lstm, generator)


def test_a_client_that_is_just_leaving_when_its_turn_is_over_does_not_stop_the_loop(lstm: Artifact) -> None:
    """It is marked as having left an instant before the loop is told so; here the instant lasts."""
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    runtime.gate = threading.Event()
    with serving(lstm, runtime, metrics, max_rows=2) as generator:
        leaving, staying, waiting = (generator.submit([Prompt([word], [GenerationOptions(40)])]) for word in (3, 4, 5))
        with generator._door._lock:
            client = threading.Thread(target=leaving.leave)
            client.start()
            until(lambda: leaving.ended)
            runtime.gate.set()
            until(lambda: len(runtime.calls) > TURN_WORDS + 5 or not generator.alive)
        client.join()
        assert staying.future.result(20)
        assert waiting.future.result(20)
        assert generator.alive


# Faults of a model


def test_a_batch_that_raises_ends_its_own_requests_and_the_loop_goes_on(artifact: Artifact) -> None:
    runtime, metrics = Fragile(artifact), Metrics()
    with serving(artifact, runtime, metrics) as generator:
        runtime.fails_at_rows = 3
        broken = generator.submit([Prompt([3 + index], [GenerationOptions(4)]) for index in range(3)])
        with pytest.raises(InternalError):
            broken.future.result(20)
        until_empty(metrics, artifact, generator)
        assert generator.alive
        assert ask(generator, [3], GenerationOptions(4))
    assert endings(metrics, artifact) == {"error": 3, "answer": 1}


def test_a_prompt_whose_reading_raises_fails_alone(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    writers = [Prompt([3 + index], [GenerationOptions(20, bold(index))]) for index in range(3)]
    expected = alone(lstm, writers, runtime)
    runtime.gate = threading.Event()

    def break_reading(rows: int, longest: int, wanted: int) -> None:
        if longest > 1:
            raise RuntimeError("broken")

    runtime.on_call = break_reading
    with serving(lstm, runtime, metrics) as generator:
        tickets = [generator.submit([writer]) for writer in writers]
        broken = generator.submit([Prompt([3, 4, 5], [GenerationOptions(5)] * 2), Prompt([6, 7, 8], [GenerationOptions(5)])])
        runtime.gate.set()
        with pytest.raises(InternalError):
            broken.future.result(20)
        assert [ticket.future.result(20)[0] for ticket in tickets] == expected
        until_empty(metrics, lstm, generator)
        runtime.on_call = None
        assert ask(generator, [3, 4, 5], GenerationOptions(5))
    assert endings(metrics, lstm) == {"error": 3, "answer": 4}


def test_a_step_that_raises_ends_those_in_it_and_not_those_that_wait_or_read(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    later = [Prompt([6, 7] * 30, [GenerationOptions(5, bold(1))]), Prompt([8], [GenerationOptions(5, bold(2))])]
    expected = alone(lstm, later)
    runtime.gate = threading.Event()
    broken: list[bool] = []

    def break_once(rows: int, longest: int, wanted: int) -> None:
        if wanted == 2 and not broken:
            broken.append(True)
            raise RuntimeError("broken")

    runtime.on_call = break_once
    with serving(lstm, runtime, metrics, max_rows=3, max_prefill_words=20) as generator:
        tickets = [generator.submit([Prompt([word], [GenerationOptions(5)])]) for word in (3, 4)]
        others = [generator.submit([prompt]) for prompt in later]
        runtime.gate.set()
        outcomes = [ticket.future.exception(20) for ticket in tickets]
        assert [ticket.future.result(20)[0] for ticket in others] == expected
        until_empty(metrics, lstm, generator)
    assert broken
    assert any(isinstance(error, InternalError) for error in outcomes)


def test_a_row_without_numbers_fails_alone(artifact: Artifact) -> None:
    runtime = Fragile(artifact)
    prompts = [Prompt([3 + index], [GenerationOptions(1)]) for index in range(4)]
    expected = alone(artifact, prompts)
    runtime.spoilt_word = 4
    runtime.gate = threading.Event()
    with serving(artifact, runtime) as generator:
        tickets = [generator.submit([one]) for one in prompts]
        runtime.gate.set()
        with pytest.raises(InternalError, match="no usable numbers"):
            tickets[1].future.result(20)
        assert [tickets[index].future.result(20)[0] for index in (0, 2, 3)] == [expected[index] for index in (0, 2, 3)]


# The door


def test_a_full_queue_refuses_at_the_door_and_counts_it(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.gate = threading.Event()
    with serving(lstm, runtime, metrics, max_waiting=4) as generator:
        accepted = generator.submit([Prompt([3], [GenerationOptions(1)] * 2)] * 2)
        with pytest.raises(Overloaded):
            generator.submit([Prompt([3], [GenerationOptions(1)])])
        with pytest.raises(TooLarge):
            generator.submit([Prompt([3], [GenerationOptions(1)] * 5)])
        assert sample(metrics, "seqserve_refused_total", lstm) == 1
        runtime.gate.set()
        assert len(accepted.future.result(20)) == 4
        assert ask(generator, [3], GenerationOptions(1))


def test_who_is_refused_is_told_to_come_again_when_the_backlog_is_done(lstm: Artifact) -> None:
    """Its measure are words: those of every prompt once, and those that may be written in every way."""
    runtime = Fragile(lstm)
    with serving(lstm, runtime, max_waiting=6, request_timeout_s=400) as generator:
        ask(generator, [3], GenerationOptions(1))
        until(lambda: generator._door.taken == 0 and generator._pace.seconds(1) > 0)
        runtime.gate = threading.Event()

        def told(seconds_a_word: float) -> int:
            generator._pace = Pace()
            generator._pace.observe(1, seconds_a_word)
            with pytest.raises(Overloaded) as refused:
                generator.submit([Prompt([3], [GenerationOptions(1)] * 6)])
            return refused.value.retry_after_s

        work = 0
        for ids, ways in (([3, 4, 5], 1), ([3], 2), ([3] * 50, 3)):
            generator.submit([Prompt(ids, [GenerationOptions(100)] * ways)])
            work += len(ids) + 100 * ways
            assert told(0.5) == round(work * 0.5)
            assert told(0.001) == 1
        # Nothing that was accepted takes longer than a request may: nobody need wait longer, however slow a round was.
        assert told(1000.0) == 400
        runtime.gate.set()


def test_every_request_ends_exactly_once_whatever_happens(lstm: Artifact) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    chance = random.Random(5)

    def trouble(rows: int, longest: int, wanted: int) -> None:
        if chance.random() < 0.03:
            raise RuntimeError("broken")

    prompts = mixed(lstm, 60, seed=6)
    ended: list[int] = []
    with serving(lstm, runtime, metrics, max_rows=7, max_prefill_words=20, max_waiting=100) as generator:
        runtime.on_call = trouble
        tickets = []
        for index, prompt in enumerate(prompts):
            try:
                ticket = generator.submit([Prompt(prompt.ids, [*prompt.options] * (1 + index % 3))])
            except RequestError:
                continue
            ticket.future.add_done_callback(lambda _, index=index: ended.append(index))  # type: ignore[misc]
            tickets.append(ticket)
            if index % 4 == 3:
                tickets[chance.randrange(len(tickets))].leave()
        until_empty(metrics, lstm, generator)
    assert len(ended) == len(set(ended)) == len(tickets)
    assert all(ticket.ended for ticket in tickets)
    assert sum(endings(metrics, lstm).values()) == sum(ticket.parts for ticket in tickets)


def test_nothing_is_held_of_requests_that_have_ended(lstm: Artifact) -> None:
    metrics = Metrics()
    with serving(lstm, metrics=metrics, max_rows=3) as generator:
        watched: list[weakref.ref[Any]] = []
        for prompt in mixed(lstm, 12, seed=7):
            ticket, sequence = generator.stream(prompt)
            watched += [weakref.ref(ticket), weakref.ref(sequence)]
        del ticket, sequence
        until_empty(metrics, lstm, generator)

        def forgotten() -> bool:
            gc.collect()
            return not any(reference() for reference in watched)

        until(forgotten)  # once the round that wrote the last word has ended


# Watching a generation


def test_a_watcher_is_told_of_every_word_that_comes_after_a_while(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.generator._TELL_EVERY_S", 0.0)
    runtime = Fragile(artifact)
    runtime.endless = True
    runtime.gate = threading.Event()
    with serving(artifact, runtime) as generator:
        ticket, sequence = generator.stream(Prompt([3, 4], [GenerationOptions(12, bold(3), log_probabilities=True)]))
        seen: list[tuple[int, str]] = []
        ticket.progress = lambda: seen.append((sequence.published, sequence.token(sequence.published - 1).text))
        runtime.gate.set()
        (result,) = ticket.future.result(20)
        until(lambda: len(seen) == 12)
    assert [count for count, _ in seen] == list(range(1, 13))
    assert "".join(text for _, text in seen) == result.text
    assert [sequence.token(index) for index in range(12)] == result.tokens


def test_a_watcher_is_told_of_the_first_word_at_once_and_sees_all_at_the_end(lstm: Artifact) -> None:
    """However fast the words come: what is not told of is there to be seen when the next is, or the end."""
    runtime = Fragile(lstm)
    runtime.endless = True
    runtime.gate = threading.Event()
    with serving(lstm, runtime) as generator:
        ticket, sequence = generator.stream(Prompt([3, 4], [GenerationOptions(12, bold(3))]))
        seen: list[int] = []
        ticket.progress = lambda: seen.append(sequence.published)
        at_the_end: list[int] = []
        ticket.future.add_done_callback(lambda _: at_the_end.append(sequence.published))
        runtime.gate.set()
        ticket.future.result(20)
    assert seen[0] == 1
    assert seen == sorted(set(seen))
    assert at_the_end == [12]


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    stop=st.lists(st.text("오늘 날씨가정말thecatson", min_size=1, max_size=4), max_size=3),
    count=st.integers(0, 20),
)
def test_the_words_that_are_watched_join_to_the_text_of_the_answer(
    artifacts: Shelf, seed: int, stop: list[str], count: int
) -> None:
    lstm = artifacts["lstm1-generate"]
    runtime = Fragile(lstm)
    runtime.gate = threading.Event()
    with serving(lstm, runtime) as generator:
        ticket, sequence = generator.stream(Prompt([3, 4], [GenerationOptions(count, bold(seed), tuple(stop))]))
        texts: list[str] = []

        def look() -> None:
            for index in range(len(texts), sequence.published):
                token = sequence.token(index)
                texts.append("" if token.special else token.text)

        ticket.progress = look
        runtime.gate.set()
        (result,) = ticket.future.result(20)
    look()
    assert "".join(texts) == result.text
    assert len(texts) == len(result.ids)


def test_a_bookmark_is_gone_on_from_in_a_stream_with_the_space_between_words(lstm: Artifact) -> None:
    runtime = Fragile(lstm)
    runtime.endless = True
    with serving(lstm, runtime) as generator:
        whole = ask(generator, [3], GenerationOptions(8, bold(2)))
        begun = ask(generator, [3], GenerationOptions(4, bold(2), keep_state=True))
        ticket, sequence = generator.stream(Prompt([], [GenerationOptions(4, bold(2))], begun.bookmark))
        ticket.future.result(20)
    assert begun.text + "".join(sequence.token(index).text for index in range(4)) == whole.text


# The end


def test_closing_answers_what_was_accepted_and_refuses_the_rest(lstm: Artifact) -> None:
    with serving(lstm, max_rows=2) as generator:
        tickets = [generator.submit([Prompt([3, 4, 5], [GenerationOptions(20)] * 3)]) for _ in range(5)]
        generator.close(20)
        assert all(len(ticket.future.result(0)) == 3 for ticket in tickets)
        with pytest.raises(Unavailable):
            generator.submit([Prompt([3], [GenerationOptions(1)])])


def test_what_does_not_end_in_time_ends_as_unavailable(lstm: Artifact) -> None:
    runtime = Fragile(lstm)
    runtime.gate = threading.Event()
    with serving(lstm, runtime) as generator:
        ticket = generator.submit([Prompt([3], [GenerationOptions(20)])])
        generator.close(0.05)
        with pytest.raises(Unavailable):
            ticket.future.result(0)
        runtime.gate.set()


def test_a_model_with_all_its_rows_taken_does_not_hold_up_another(artifacts: Shelf) -> None:
    busy, other = artifacts["lstm1-generate"], artifacts["gru1-generate"]
    runtime = Fragile(busy)
    runtime.endless = True
    with serving(busy, runtime) as crowded, serving(other) as free:
        endless = crowded.submit([Prompt([3 + row % 8], [GenerationOptions(10**9)]) for row in range(200)])
        for word in range(3, 13):
            assert ask(free, [word], GenerationOptions(8)).ids
        assert not endless.ended
        endless.leave()


def test_prompts_of_a_thousand_words_in_every_row_hold_up_a_short_one_for_a_few_rounds_only(lstm: Artifact) -> None:
    runtime = Fragile(lstm)
    with serving(lstm, runtime, max_rows=4, max_prefill_words=32) as generator:
        long = generator.submit([Prompt([3 + row % 8] * 1000, [GenerationOptions(1)]) for row in range(8)])
        until(lambda: len(runtime.calls) > 5)
        rounds = []
        for _ in range(3):  # where the machine has other things to do, rounds go by before the request is made
            before = len(runtime.calls)
            assert ask(generator, [3, 4], GenerationOptions(2)).ids
            rounds.append(len(runtime.calls) - before)
        assert min(rounds) < 40
        assert not long.ended
        assert len(long.future.result(60)) == 8


@pytest.mark.parametrize("options", [GenerationOptions(0, score_prompt=True), GenerationOptions(2, score_prompt=True)])
def test_a_prompt_that_is_scored_without_numbers_fails_alone(options: GenerationOptions, lstm: Artifact) -> None:
    runtime = Fragile(lstm)
    runtime.spoilt_word = 4
    with serving(lstm, runtime) as generator:
        tickets = [generator.submit([Prompt(ids, [options])]) for ids in ([3, 5, 6], [3, 4, 6], [5, 3])]
        with pytest.raises(InternalError, match="no usable numbers"):
            tickets[1].future.result(20)
        assert all(np.isfinite(tickets[index].future.result(20)[0].prompt_logprobs).all() for index in (0, 2))


def test_a_row_that_cannot_be_parked_ends_its_own_request_and_the_loop_goes_on(
    lstm: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, metrics = Fragile(lstm), Metrics()
    runtime.endless = True
    with serving(lstm, runtime, metrics, max_rows=1) as generator:
        endless = generator.submit([Prompt([3], [GenerationOptions(10**9)])])
        until(lambda: len(runtime.calls) > TURN_WORDS)

        def fail(_: object) -> None:
            raise RuntimeError("the device is gone")

        with monkeypatch.context() as patch:
            patch.setattr(generator._batch, "row", fail)
            waiting = generator.submit([Prompt([4], [GenerationOptions(1)])])
            with pytest.raises(InternalError):
                endless.future.result(20)
        assert waiting.future.result(20)
        assert generator.alive
        until(lambda: sample(metrics, "seqserve_rows_in_use", lstm) == 0)


def test_what_was_answered_is_gone_at_once_and_waits_for_no_garbage_collector(lstm: Artifact) -> None:
    with serving(lstm) as generator:
        gc.collect()
        gc.disable()
        try:
            ticket = generator.submit([Prompt([3, 4], [GenerationOptions(3)])])
            assert ticket.future.result(20)
            until(lambda: generator._door.taken == 0)
            watched = weakref.ref(ticket)
            del ticket
            ask(generator, [5], GenerationOptions(1))  # another round: the last one's names are forgotten
            until(lambda: watched() is None)
        finally:
            gc.enable()
