"""The classification batcher of one model: texts of like lengths that wait together run together.

Never waits for a fuller batch: a lone text runs at once, and what arrives meanwhile is looked at for the next one. Knows no HTTP.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from service.errors import NoNumbers
from service.inference.runtime import Runtime, pad_words
from service.inference.ticket import Ticket
from service.inference.worker import Worker
from service.metrics import Intake, Metrics, Phase
from service.settings import Settings
from service.text import Tokenizer
from service.words import Words

Function = Literal["softmax", "sigmoid", "none"]
Reason = Literal["drained", "padding", "budget"]
Logits = npt.NDArray[np.float32]

# What a batch of its own costs, in padded words: so much for the call, and so much of every step whatever the number of rows.
# Measured for a BiLSTM of 128 on one core; a fuller batch gains little where the words themselves are most of the work.
CALL_WORDS = 6.0
STEP_SHARE = 0.4


@dataclass(eq=False, slots=True)
class Text:
    """A part of a request: a text's words. own: it is a client's, and was not made of one."""

    ticket: Ticket[Logits]
    part: int
    words: Words
    own: bool = True


class Label(NamedTuple):
    label: str
    score: float


class Classifier(Worker[Text, Logits]):
    """Accepts texts at any time; answers each with its logits (C,). Its unit of work is a word."""

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer, settings: Settings, metrics: Metrics) -> None:
        super().__init__(runtime.manifest.name, settings.max_waiting, metrics, settings.request_timeout_s)
        self._runtime, self._padding_id, self._max_words = runtime, tokenizer.padding_id, settings.max_batch_words
        self._vocabulary = runtime.manifest.sizes.vocabulary
        self._waiting: list[Text] = []
        self._bulk: deque[Text] = deque()  # of requests that are more than a batch
        self._planned: deque[tuple[list[Text], Reason]] = deque()
        self._phase, self._entropy = Phase(metrics, self.name, "classify"), metrics.score_entropy.labels(self.name)
        self._intake = Intake(metrics, self.name, tokenizer.unknown_id)
        self.start()

    def submit(self, texts: Rows[Words], own: int | None = None) -> Ticket[Logits]:
        """Accepts a request: every text's words, not empty. Raises Overloaded or Unavailable, and then has accepted nothing.

        own: how many of them, the first ones, are the client's; others were made of these, and tell nothing of what clients write.
        """
        own = len(texts) if own is None else own
        ticket: Ticket[Logits] = Ticket(len(texts), sum(len(words.ids) for words in texts))
        parts = [Text(ticket, part, words, part < own) for part, words in enumerate(texts)]
        # By length, for what is taken from a long request a batch at a time.
        self._accept(ticket, sorted(parts, key=lambda text: len(text.words.ids)))
        self._intake.observe(words.ids for words in texts[:own])
        return ticket

    @property
    def _idle(self) -> bool:
        return not self._waiting and not self._bulk and not self._planned

    def _add(self, part: Text) -> None:
        (self._bulk if part.ticket.work > self._max_words else self._waiting).append(part)

    def _round(self) -> int:
        if not self._planned:
            # Planned to their end before anything that comes later: no text is overtaken for ever by those of handier lengths.
            self._planned.extend(plan([*self._waiting, *self._next_of_bulk()], self._max_words))
            self._waiting = []
        batch, reason = self._planned.popleft()
        batch = [text for text in batch if not text.ticket.ended]
        waiting = len(self._waiting) + len(self._bulk) + sum(len(texts) for texts, _ in self._planned)
        self._count_places(len(batch), waiting)
        if batch:
            self._metrics.batches.labels(self.name, reason).inc()
            self._attempt([text.ticket for text in batch], lambda: self._classify(batch))
            self._count_places(0, waiting)
        return sum(len(text.words.ids) for text in batch)

    def _next_of_bulk(self) -> Iterator[Text]:
        """About a batch, so that nobody with a text or two waits for the whole of another's long list or attributions."""
        words = 0
        while self._bulk and words < self._max_words:
            text = self._bulk.popleft()
            if not text.ticket.ended:
                words += len(text.words.ids)
                yield text

    def _classify(self, batch: list[Text]) -> None:
        for text in batch:
            self._start(text.ticket)
        ids, lengths, grams = pad_words([text.words for text in batch], self._padding_id, self._vocabulary)
        started_s = time.monotonic()
        logits = self._runtime.classify(ids, lengths, grams)
        self._phase.observe(time.monotonic() - started_s, len(batch), ids.size, int(lengths.sum()))
        finite: list[bool] = np.logical_and.reduce(np.isfinite(logits), axis=1).tolist()
        for text, row, usable in zip(batch, logits, finite, strict=True):
            if usable:
                if text.own:
                    self._entropy.observe(entropy_ratio(row))
                text.ticket.finish(text.part, row)
            else:
                text.ticket.fail(NoNumbers())


def plan(waiting: Rows[Text], max_words: int) -> list[tuple[list[Text], Reason]]:
    """All waiting texts, each in one batch with others of like lengths, and why each batch has no more; the oldest text's first.

    The texts stand by length, and a batch ends where a longer one would add more padding than a call of its own costs, or come to
    more words than max_words, padding counted.
    """
    batches: list[tuple[list[Text], Reason]] = []
    batch: list[Text] = []
    for text in sorted(waiting, key=lambda text: len(text.words.ids)):
        if batch:
            longest, longer = len(batch[-1].words.ids), len(text.words.ids)
            over = longer * (len(batch) + 1) > max_words
            if over or (longer - longest) * len(batch) >= CALL_WORDS + STEP_SHARE * longest:
                batches.append((batch, "budget" if over else "padding"))
                batch = []
        batch.append(text)
    if batch:
        batches.append((batch, "drained"))
    age = {id(text): place for place, text in enumerate(waiting)}
    return sorted(batches, key=lambda planned: min(age[id(text)] for text in planned[0]))


def entropy_ratio(logits: Logits) -> float:
    """How little a text's logits (C) say: the entropy of their softmax as a share of log C, which that of equal ones has."""
    scores = _softmax(logits.tolist())
    entropy = -sum(score * math.log(score) for score in scores if score)
    return entropy / math.log(len(scores)) if len(scores) > 1 else 0.0


def rank(logits: Logits, labels: Rows[str], function: Function, top_k: int | None) -> list[Label]:
    """A text's labels with their scores, best first, from its logits (C).

    softmax: shares of 1; sigmoid: each for itself; none: the logits as they are.
    """
    scores: list[float] = logits.tolist()  # labels are few, and numpy's calls are dear
    if function == "softmax":
        scores = _softmax(scores)
    elif function == "sigmoid":
        scores = [1 / (1 + math.exp(-score)) if score > -700 else 0.0 for score in scores]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[:top_k]
    return [Label(labels[place], scores[place]) for place in order]


def _softmax(logits: list[float]) -> list[float]:
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    whole = sum(weights)
    return [weight / whole for weight in weights]
