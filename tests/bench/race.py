"""What perplexity the example reaches in a given time. Knows no command line."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.example import EPOCHS, SLOWER, Example, carried_loss, sentence_loss, text_of
from training.batches import batches
from training.corpus import Corpus

CHECKS = 10  # at the least; where so many epochs fit into the time, one after every epoch, as the example has it
MOST_NATS = 100.0
ROWS = 64  # sentences of the test split that are read at a time


@dataclass(frozen=True)
class Check:
    """How the example stands after so many epochs and seconds of training; validation is not counted, as it is not in ours."""

    epochs: float
    seconds: float
    rate: float
    train_loss: float
    valid_perplexity: float


@dataclass(frozen=True)
class Finish:
    """The best weights on the test split: sentence by sentence, as our scores count, and as one text, as the example does."""

    checks: list[Check]
    best: Check
    by_sentence: float
    carried_on: float


def race(corpus: Corpus, seconds: float, tell: Callable[[Check], None]) -> Finish:
    """Trains the example for so many seconds, or for the epochs of its defaults where they take less.

    The learning rate falls where a check is no better than the best before, which the example does after every epoch. corpus: made
    of sentences (fit.mode=sentence), each of which knows its end.
    """
    example = Example(corpus.tokenizer.vocabulary_size, text_of(corpus.train))
    valid = text_of(corpus.valid)
    clock = _Clock(seconds)
    checks: list[Check] = []
    best, kept = None, example.model.state_dict()
    while not clock.done and example.steps < EPOCHS * example.steps_per_epoch:
        loss = _until_check(example, clock)
        perplexity = _perplexity(carried_loss(example.model, valid))
        checks.append(Check(example.steps / example.steps_per_epoch, clock.spent, example.rate, loss, perplexity))
        tell(checks[-1])
        if best is None or perplexity < best.valid_perplexity:
            best, kept = checks[-1], copy.deepcopy(example.model.state_dict())
        else:
            example.rate /= SLOWER
    assert best is not None
    example.model.load_state_dict(kept)
    return Finish(checks, best, *_perplexities(example, corpus))


def _until_check(example: Example, clock: "_Clock") -> float:
    """Up to the end of the epoch, or to when a check is due. Returns the mean loss of these steps."""
    total, steps = 0.0, 0
    clock.start()
    while True:
        loss, _ = example.step()
        total, steps = total + loss, steps + 1
        clock.look()
        if clock.due or example.steps % example.steps_per_epoch == 0:
            return total / steps


def _perplexities(example: Example, corpus: Corpus) -> tuple[float, float]:
    tokenizer = corpus.tokenizer
    read = batches(corpus.test, ROWS, padding_id=tokenizer.padding_id, vocabulary=tokenizer.vocabulary_size, generates=True)
    carried = carried_loss(example.model, text_of(corpus.test))
    return _perplexity(sentence_loss(example.model, read)), _perplexity(carried)


def _perplexity(loss: float) -> float:
    """Infinite where the loss is no number, as it may be with a learning rate of 20, so that nothing is better for it."""
    return math.exp(loss) if loss < MOST_NATS else math.inf


class _Clock:
    """Counts seconds of training alone, up to a limit."""

    def __init__(self, limit: float) -> None:
        self.spent = 0.0
        self._limit, self._seen, self._check = limit, 0.0, limit / CHECKS

    def start(self) -> None:
        self._seen = time.monotonic()
        self._check = self.spent + self._limit / CHECKS

    def look(self) -> None:
        now = time.monotonic()
        self.spent, self._seen = self.spent + now - self._seen, now

    @property
    def due(self) -> bool:
        return self.done or self.spent >= self._check

    @property
    def done(self) -> bool:
        return self.spent >= self._limit
