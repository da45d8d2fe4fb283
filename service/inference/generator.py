"""The generation loop of one model: scheduler + runtime + endings. Knows no HTTP and no event loop.

One round: admit, read prompts in chunks, one step for all rows that write, choose a word for every row, and let go of those that
are finished or whose client has left. Rows join and leave at any round, and a failing batch ends its own rows only.
"""

import time
from collections.abc import Sequence as Rows

import numpy as np
import numpy.typing as npt

from service.errors import InternalError
from service.inference.runtime import Array, Runtime, State, pad, select, stack, unstack
from service.inference.sampling import choose, log_probabilities
from service.inference.scheduler import Chunk, Scheduler
from service.inference.sequence import Generated, GenerationOptions, Sequence
from service.inference.ticket import Ticket
from service.inference.worker import Worker
from service.metrics import Metrics
from service.settings import Settings
from service.text import Tokenizer


class Generator(Worker[Sequence, Generated]):
    """Accepts prompts at any time and continues them in one running batch."""

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer, settings: Settings, metrics: Metrics) -> None:
        super().__init__(runtime.manifest.name, settings.max_waiting, metrics)
        self._runtime, self._tokenizer = runtime, tokenizer
        self._scheduler: Scheduler[Sequence] = Scheduler(settings.max_rows, settings.max_prefill_words)
        # Padding and unknown stand for no word: they are never written.
        self._barred = [tokenizer.padding_id, tokenizer.unknown_id]
        # The states of those that write, row by row as in _batch, and of those that read or have just read.
        self._batch: list[Sequence] = []
        self._state: State = ()
        self._apart: dict[Sequence, State] = {}
        self.start()

    def submit(self, inputs: Rows[tuple[list[int], GenerationOptions]]) -> Ticket[Generated]:
        """Accepts a request: every prompt's ids, not empty, with its options.

        Raises Overloaded or Unavailable, and then has accepted nothing.
        """
        ticket: Ticket[Generated] = Ticket(len(inputs))
        return self._accept(ticket, [Sequence(ticket, i, ids, options, self._tokenizer) for i, (ids, options) in enumerate(inputs)])

    @property
    def _idle(self) -> bool:
        return self._scheduler.idle

    def _add(self, part: Sequence) -> None:
        self._scheduler.add(part)

    def _round(self) -> None:
        plan = self._scheduler.plan(_ended)
        if plan.read:
            self._attempt([chunk.sequence.ticket for chunk in plan.read], lambda: self._read(plan.read))
        if plan.write:
            self._attempt([sequence.ticket for sequence in plan.write], lambda: self._write(plan.write))
        for sequence in self._scheduler.drop(_ended):
            self._apart.pop(sequence, None)
        if not self._scheduler.writing:
            self._batch, self._state = [], ()  # what has ended is not held on to
        self._metrics.rows_in_use.labels(self.name).set(self._scheduler.rows)
        self._metrics.waiting.labels(self.name).set(len(self._scheduler.waiting))

    def _read(self, chunks: Rows[Chunk[Sequence]]) -> None:
        """Feeds every sequence the next chunk of its prompt; who has read all of it chooses a first word and joins the batch."""
        sequences = [chunk.sequence for chunk in chunks]
        for sequence in sequences:
            if sequence.ticket.start():
                self._metrics.queue_seconds.labels(self.name).observe(sequence.ticket.queue_s)
        words = [s.prompt[s.consumed : s.consumed + count] for s, count in chunks]
        state = stack([self._apart.get(s) or self._runtime.initial_state(1) for s in sequences])
        logits, after = self._step("prefill", *pad(words, self._tokenizer.padding_id), state)
        for (sequence, count), row in zip(chunks, unstack(after), strict=True):
            sequence.consumed += count
            self._apart[sequence] = row
        done = [index for index, sequence in enumerate(sequences) if not sequence.unread]
        if done:
            ready = [sequences[index] for index in done]
            self._choose(ready, logits[done])
            self._scheduler.promote(ready)

    def _write(self, sequences: list[Sequence]) -> None:
        """One step: every sequence's latest word goes in, its next one is chosen."""
        ids = np.array([[sequence.written[-1]] for sequence in sequences], np.int64)  # (B, 1)
        logits, after = self._step("decode", ids, np.ones(len(sequences), np.int32), self._gather(sequences))
        self._batch, self._state = sequences, after
        self._choose(sequences, logits)

    def _gather(self, sequences: list[Sequence]) -> State:
        """The states of sequences as one batch: those of the last step that are still here, then those that join."""
        if sequences == self._batch:
            return self._state
        rows = {sequence: row for row, sequence in enumerate(self._batch)}
        kept = [rows[sequence] for sequence in sequences if sequence in rows]
        joining = [self._apart.pop(sequence) for sequence in sequences if sequence not in rows]
        return stack([*([select(self._state, kept)] if kept else []), *joining])

    def _step(self, phase: str, ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int32], state: State) -> tuple[Array, State]:
        started_s = time.monotonic()
        logits, after = self._runtime.step(ids, lengths, state)
        self._metrics.observe_batch(self.name, phase, time.monotonic() - started_s, ids.size, lengths.tolist())
        return logits, after

    def _choose(self, sequences: Rows[Sequence], logits: Array) -> None:
        """A next word for every sequence from its row of logits (B, V); who is finished is answered."""
        logits[:, self._barred] = -np.inf
        choices = choose(logits, [sequence.row for sequence in sequences])
        scored = [index for index, sequence in enumerate(sequences) if sequence.wants_logprobs]
        logprobs = dict(zip(scored, log_probabilities(logits[scored]), strict=True)) if scored else {}
        for index, (sequence, choice) in enumerate(zip(sequences, choices, strict=True)):
            if not choice.finite:
                sequence.ticket.fail(InternalError("the model's answer has no usable numbers"))
            elif index in logprobs:
                row = logprobs[index]
                top = np.argsort(-row, kind="stable")[: sequence.options.top_n_tokens]
                sequence.append(choice.id, float(row[choice.id]), [(int(i), float(row[i])) for i in top if np.isfinite(row[i])])
            else:
                sequence.append(choice.id)
            if sequence.finish_reason is not None:
                sequence.ticket.finish(sequence.part, sequence.result())


def _ended(sequence: Sequence) -> bool:
    """Finished, failed, or its client has left."""
    return sequence.finish_reason is not None or sequence.ticket.ended
