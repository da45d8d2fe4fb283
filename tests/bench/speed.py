"""Words a second of our loop and of the example's, in turn, in one process. Knows no command line and no table."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

import torch
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile

from tests.bench.example import CLIP, DROPOUT, LANES, LAYERS, LEARNING_RATE, WIDTH, WINDOW, Example
from training.batches import Batch
from training.config import Config, FitConfig, ModelConfig
from training.corpus import Corpus
from training.feeds import fitting_feed
from training.loop import Feed, fit
from training.model import LanguageModel

EQUAL = ModelConfig(cell="lstm", layers=LAYERS, embedding=WIDTH, hidden=WIDTH, dropout=DROPOUT, tied=False)
THE_SAME = FitConfig(
    mode="stream", window=WINDOW, epochs=1, batch_size=LANES, optimiser="sgd", learning_rate=LEARNING_RATE, clip=CLIP
)
PROFILED = 20  # batches
SHOWN = 8  # operations

Slice = Callable[[int], "Pace"]  # runs so many batches


@dataclass(frozen=True)
class Pace:
    """Words that were predicted, how long it took, and how much of that a processor worked for it and for no other program."""

    words: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.words / self.seconds

    @property
    def per_cpu_s(self) -> float:
        return self.words / self.cpu_s


@dataclass(frozen=True)
class Speed:
    """Medians over all rounds. ratio, cpu_ratio: to the example just before and just after, by either clock; None for itself."""

    what: str
    per_s: float
    per_cpu_s: float
    ratio: float | None = None
    cpu_ratio: float | None = None


class Clock:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def pace(self, words: int) -> Pace:
        return Pace(words, time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Ours:
    """Our loop over our feed, a number of batches at a time: every slice is one call of fit()."""

    def __init__(self, config: Config, corpus: Corpus) -> None:
        torch.manual_seed(config.seed)
        tokenizer = corpus.tokenizer
        self._config, self._feed = config, fitting_feed(config, corpus)
        self._model = LanguageModel(config.model, tokenizer.vocabulary_size, tokenizer.padding_id)
        self._accelerator = Accelerator(cpu=True)
        self._batches = chain.from_iterable(self._feed.train(epoch, 0) for epoch in count(1))

    def __call__(self, batches: int) -> Pace:
        timed = _Timed(islice(self._batches, batches))
        feed = Feed(lambda epoch, start: timed, batches, carries_state=self._feed.carries_state)
        fit(self._model, feed, self._config.fit, self._accelerator, self._config.seed)
        assert timed.pace is not None
        return timed.pace


class _Timed:
    """Batches, and how long it took from asking for the first until nobody wanted one more: making them and learning from them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.pace: Pace | None = None

    def __iter__(self) -> Iterator[Batch]:
        clock, words = Clock(), 0
        for batch in self._batches:
            words += int(batch.lengths.sum())
            yield batch
        self.pace = clock.pace(words)


def run_example(example: Example) -> Slice:
    def run(batches: int) -> Pace:
        clock = Clock()
        return clock.pace(sum(example.step()[1] for _ in range(batches)))

    return run


def measure(example: Slice, others: dict[str, Slice], seconds: float, rounds: int) -> list[Speed]:
    """Every other one between two slices of the example, in every round: a machine that is now fast and now slow is so for both."""
    slices = {name: _batches_for(other, seconds) for name, other in others.items()}
    length = _batches_for(example, seconds)
    of_example: list[Pace] = []
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in others}
    for _ in range(rounds):
        before = example(length)
        for name, other in others.items():
            own, after = other(slices[name]), example(length)
            found[name].append((own.per_s, own.per_cpu_s, *_ratios(own, before, after)))
            of_example.append(before)
            before = after
    own_speed = statistics.median(p.per_s for p in of_example), statistics.median(p.per_cpu_s for p in of_example)
    return [
        Speed("the example", *own_speed),
        *(Speed(name, *map(statistics.median, zip(*rows, strict=True))) for name, rows in found.items()),
    ]


def _ratios(own: Pace, before: Pace, after: Pace) -> tuple[float, float]:
    return own.per_s / ((before.per_s + after.per_s) / 2), own.per_cpu_s / ((before.per_cpu_s + after.per_cpu_s) / 2)


def _batches_for(run: Slice, seconds: float) -> int:
    """How many batches take so long, once it is warm."""
    run(2)
    trial = run(4)
    return max(2, round(4 * seconds / trial.seconds))


def where_time_goes(run: Slice) -> list[tuple[str, float]]:
    """The operations that take longest, in ms a batch, what they call not counted; all others together come last."""
    run(4)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        pace = run(PROFILED)
    spent = sorted(
        ((event.key, event.self_cpu_time_total / 1000 / PROFILED) for event in profiled.key_averages()), key=lambda e: -e[1]
    )
    longest = spent[:SHOWN]
    return [*longest, ("all else", pace.seconds * 1000 / PROFILED - sum(ms for _, ms in longest))]
