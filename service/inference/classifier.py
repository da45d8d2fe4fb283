"""The classification batcher of one model: what is waiting runs together, as far as a budget of padded words goes.

Never waits for a fuller batch: a lone text runs at once, and what arrives meanwhile is the next batch. Knows no HTTP.
"""

import time
from collections import deque
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from service.errors import InternalError
from service.inference.runtime import Runtime, pad
from service.inference.ticket import Ticket
from service.inference.worker import Worker
from service.metrics import Metrics
from service.settings import Settings

Function = Literal["softmax", "sigmoid", "none"]
Logits = npt.NDArray[np.float32]


@dataclass(eq=False, slots=True)
class Text:
    """A part of a request: a text's ids."""

    ticket: Ticket[Logits]
    part: int
    ids: list[int]


class Label(NamedTuple):
    label: str
    score: float


class Classifier(Worker[Text, Logits]):
    """Accepts texts at any time; answers each with its logits (C,)."""

    def __init__(self, runtime: Runtime, padding_id: int, settings: Settings, metrics: Metrics) -> None:
        super().__init__(runtime.manifest.name, settings.max_waiting, metrics)
        self._runtime, self._padding_id, self._max_words = runtime, padding_id, settings.max_batch_words
        self._waiting: deque[Text] = deque()
        self.start()

    def submit(self, texts: Rows[list[int]]) -> Ticket[Logits]:
        """Accepts a request: every text's ids, not empty. Raises Overloaded or Unavailable, and then has accepted nothing."""
        ticket: Ticket[Logits] = Ticket(len(texts))
        return self._accept(ticket, [Text(ticket, part, ids) for part, ids in enumerate(texts)])

    @property
    def _idle(self) -> bool:
        return not self._waiting

    def _add(self, part: Text) -> None:
        self._waiting.append(part)

    def _round(self) -> None:
        batch = take_batch(self._waiting, self._max_words)
        self._metrics.waiting.labels(self.name).set(len(self._waiting))
        if not batch:
            return
        self._metrics.rows_in_use.labels(self.name).set(len(batch))
        self._attempt([text.ticket for text in batch], lambda: self._classify(batch))
        self._metrics.rows_in_use.labels(self.name).set(0)

    def _classify(self, batch: list[Text]) -> None:
        for text in batch:
            if text.ticket.start():
                self._metrics.queue_seconds.labels(self.name).observe(text.ticket.queue_s)
        ids, lengths = pad([text.ids for text in batch], self._padding_id)
        started_s = time.monotonic()
        logits = self._runtime.classify(ids, lengths)
        self._metrics.observe_batch(self.name, "classify", time.monotonic() - started_s, ids.size, lengths.tolist())
        for text, row in zip(batch, logits, strict=True):
            if np.isfinite(row).all():
                text.ticket.finish(text.part, row)
            else:
                text.ticket.fail(InternalError("the model's answer has no usable numbers"))


def take_batch(waiting: deque[Text], max_words: int) -> list[Text]:
    """Takes the oldest texts that together stay within max_words, padding counted; at least one, however long it is.

    Texts whose request has ended are thrown away.
    """
    batch: list[Text] = []
    longest = 0
    while waiting:
        if waiting[0].ticket.ended:
            waiting.popleft()
            continue
        longest = max(longest, len(waiting[0].ids))
        if batch and longest * (len(batch) + 1) > max_words:
            break
        batch.append(waiting.popleft())
    return batch


def rank(logits: Logits, labels: Rows[str], function: Function, top_k: int | None) -> list[Label]:
    """Labels with their scores, best first: softmax (shares of 1), sigmoid (each for itself) or the logits as they are."""
    scores = logits.astype(np.float64)
    if function == "softmax":
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    elif function == "sigmoid":
        scores = 1 / (1 + np.exp(-scores))
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [Label(labels[index], float(scores[index])) for index in order]
