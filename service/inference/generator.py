"""The generation loop of one model: scheduler + batch + endings. Knows no HTTP and no event loop.

One round: give free rows to who waits, read prompts in chunks, one step for all rows, choose a word for every row that asks for
one, and let go of those that are finished or whose client has left. Rows join and leave at any round, and a failing call ends its
own rows only.
"""

import math
import time
from collections.abc import Callable
from collections.abc import Sequence as Rows
from functools import partial

import numpy as np

from service.errors import NoNumbers
from service.inference.batch import Batch
from service.inference.prefix import PrefixCache
from service.inference.prompt import Prompt, open_request
from service.inference.runtime import Array, Runtime, State, host, pad, stack, unstack
from service.inference.sampling import choose, highest, normalisers
from service.inference.scheduler import Chunk, Scheduler
from service.inference.sequence import Generated, Sequence
from service.inference.ticket import Ticket
from service.inference.worker import Worker
from service.metrics import Intake, Lookups, Metrics, Phase, Writing
from service.settings import Settings
from service.text import Tokenizer

_TELL_EVERY_S = 0.01  # about as often as a screen changes its picture
_NOBODY = np.zeros(0, np.int64)


class Generator(Worker[Sequence, Generated]):
    """Accepts prompts at any time and continues them in one running batch. Its unit of work is a word fed to the model."""

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer, settings: Settings, metrics: Metrics) -> None:
        super().__init__(runtime.manifest.name, settings.max_waiting, metrics, settings.request_timeout_s)
        self._runtime, self._tokenizer = runtime, tokenizer
        self._scheduler: Scheduler[Sequence] = Scheduler(settings.max_rows, settings.max_prefill_words)
        self._batch: Batch[Sequence] = Batch(runtime)
        self._prefixes, self._lookups = PrefixCache(settings.prefix_cache_bytes), Lookups(metrics, self.name)
        self._intake, self._writing = Intake(metrics, self.name, tokenizer.unknown_id), Writing(metrics, self.name)
        self._parked = metrics.parked.labels(self.name)
        # Padding and unknown stand for no word: they are never written.
        self._barred = [tokenizer.padding_id, tokenizer.unknown_id]
        self._prefill, self._decode = Phase(metrics, self.name, "prefill"), Phase(metrics, self.name, "decode")
        self.start()

    def submit(self, prompts: Rows[Prompt]) -> Ticket[Generated]:
        """Accepts a request; the results come prompt by prompt, for each in the order of its options.

        Raises Overloaded or Unavailable, and then has accepted nothing.
        """
        ticket, leaders = open_request(prompts, self._tokenizer)
        self._take_in(ticket, leaders, prompts)
        return ticket

    def stream(self, prompt: Prompt) -> tuple[Ticket[Generated], Sequence]:
        """As submit() of one prompt in one way, to be watched while it is written: see Sequence.published, Ticket.progress."""
        ticket, sequences = self.stream_all([prompt])
        return ticket, sequences[0]

    def stream_all(self, prompts: Rows[Prompt]) -> tuple[Ticket[Generated], list[Sequence]]:
        """As stream() of all that submit() takes: a sequence for every result, in their order."""
        ticket, leaders = open_request(prompts, self._tokenizer)
        # Asked before the loop has them: a leader lets go of its siblings when it has read the prompt for them.
        sequences = [sequence for leader in leaders for sequence in (leader, *leader.siblings)]
        self._take_in(ticket, leaders, prompts)
        return ticket, sequences

    def _take_in(self, ticket: Ticket[Generated], leaders: list[Sequence], prompts: Rows[Prompt]) -> None:
        self._accept(ticket, leaders)
        self._intake.observe(prompt.ids for prompt in prompts)

    @property
    def _idle(self) -> bool:
        return self._scheduler.idle

    def _add(self, part: Sequence) -> None:
        if part.unread and part.start is None:
            self._attempt([part.ticket], lambda: self._look_up(part))
        self._scheduler.add(part)

    def _round(self) -> int:
        for sequence in self._scheduler.park(_ended):
            self._attempt([sequence.ticket], partial(self._park, sequence))
        for sequence in self._scheduler.admit(_ended):
            self._start(sequence.ticket)
            if not sequence.unread:
                self._attempt([sequence.ticket], partial(self._end_of_reading, sequence, sequence.state))
        words = 0
        if chunks := [chunk for chunk in self._scheduler.chunks() if not _ended(chunk.sequence)]:
            words += sum(chunk.words for chunk in chunks)
            self._attempt([chunk.sequence.ticket for chunk in chunks], lambda: self._read(chunks))
        if rows := [sequence for sequence in self._scheduler.step() if not _ended(sequence)]:
            words += len(rows)
            if not self._attempt([sequence.ticket for sequence in rows], lambda: self._step(rows)):
                self._batch.clear()
        else:
            self._batch.clear()  # whoever stood there has gone, or keeps the state elsewhere
        self._let_go()
        return words

    def _park(self, sequence: Sequence) -> None:
        """Its row goes to one that waits; it takes its state with it."""
        if sequence in self._batch:
            sequence.state = self._batch.row(sequence)
        if sequence.ticket.progress is not None:
            sequence.ticket.progress()  # it may take a while until there is more
        self._parked.inc()

    def _read(self, chunks: Rows[Chunk[Sequence]]) -> None:
        """Feeds every sequence the next chunk of its prompt."""
        ids, lengths = pad([s.prompt[s.consumed : s.consumed + count] for s, count in chunks], self._tokenizer.padding_id)
        state = stack([s.state or self._runtime.initial_state(1) for s, _ in chunks])
        started_s = time.monotonic()
        _, after = self._runtime.step(ids, lengths, state, _NOBODY)
        self._prefill.observe(time.monotonic() - started_s, len(chunks), ids.size, int(lengths.sum()))
        for (sequence, count), row in zip(chunks, unstack(host(after)), strict=True):
            sequence.consumed += count
            sequence.state = row
            if not sequence.unread:
                self._end_of_reading(sequence, row)

    def _step(self, rows: list[Sequence]) -> None:
        """One word into every row, the next one out of those that say something."""
        self._batch.arrange(rows, lambda sequence: sequence.state or self._runtime.initial_state(1))
        rows = self._batch.rows
        words = np.array([sequence.words[sequence.consumed] for sequence in rows], np.int64)  # (B)
        saying = [place for place, sequence in enumerate(rows) if sequence.says]
        started_s = time.monotonic()
        logits = self._batch.step(words, np.array(saying, np.int64))
        self._decode.observe(time.monotonic() - started_s, len(rows), len(rows), len(rows))
        for sequence in rows:
            sequence.consumed += 1
            sequence.state = None
        self._choose([rows[place] for place in saying], logits)
        for sequence in rows:
            if sequence.consumed <= len(sequence.prompt):
                self._read_one(sequence)

    def _read_one(self, sequence: Sequence) -> None:
        """A word of the prompt was read in a step of all."""
        if sequence.consumed == len(sequence.prompt) - 1:
            self._end_of_reading(sequence, None)
        elif sequence.consumed == len(sequence.prompt):
            self._remember(sequence, sequence.prompt, None)

    def _end_of_reading(self, sequence: Sequence, state: State | None) -> None:
        """All of the prompt but its last word has been read; state: after that, None where it is in the batch."""
        if sequence.siblings:
            state = self._batch.row(sequence) if state is None and sequence.consumed else state
            for sibling in sequence.siblings:
                sibling.state, sibling.consumed = state, sequence.consumed
            self._scheduler.fork(sequence.siblings)
            sequence.siblings = []
        if sequence.consumed and sequence.consumed == len(sequence.prompt) - 1:
            self._remember(sequence, sequence.prompt[:-1], state)
        if sequence.speechless and sequence.finish_reason is None:
            sequence.end_reading()
            self._finish(sequence, state)

    def _choose(self, rows: Rows[Sequence], logits: Array) -> None:
        """A next word for every row from its logits (K, V), or a judgement of the one that is given; the finished are answered."""
        heard = [place for place, row in enumerate(rows) if not row.quiet]
        if not heard:
            self._write(rows, logits, {})
            return
        offsets = dict(zip(heard, normalisers(logits[heard]).tolist(), strict=True))
        asked = []
        for place, row in enumerate(rows):
            if row.given is None:
                asked.append(place)
            else:
                self._judge(row, row.given, logits[place], offsets[place])
                if not math.isfinite(row.prompt_logprobs[-1]):
                    row.ticket.fail(NoNumbers())
                elif row.speechless:
                    row.end_reading()
                    self._finish(row, None)
        if len(asked) < len(rows):
            logits, rows = logits[asked], [rows[place] for place in asked]
            offsets = {place: offsets[old] for place, old in enumerate(asked) if old in offsets}
        if rows:
            self._write(rows, logits, offsets)

    def _judge(self, row: Sequence, given: int, values: Array, offset: float) -> None:
        """How likely the given word was, from its step's logits (V); offset turns them into log-probabilities."""
        logprob = float(values[given]) - offset
        if row.options.top_n_tokens:
            values[self._barred] = -np.inf
        row.judge(logprob, _likeliest(row, values, offset))

    def _write(self, rows: Rows[Sequence], logits: Array, offsets: dict[int, float]) -> None:
        """A next word for every row from its logits (K, V); offsets turn those of some rows into log-probabilities."""
        for barred in self._barred:
            logits[:, barred] = -np.inf
        chosen = choose(logits, [row.row for row in rows])
        now_s = time.monotonic()
        self._writing.step(len(rows))
        for place, (row, word, finite) in enumerate(zip(rows, chosen.ids, chosen.finite, strict=True)):
            if not finite:
                row.ticket.fail(NoNumbers())
                continue
            if place in offsets:
                values, offset = logits[place], offsets[place]
                row.append(word, float(values[word]) - offset, _likeliest(row, values, offset))
            else:
                row.append(word)
            if row.published == 1:
                row.first_s = now_s
                self._writing.begin(now_s - row.ticket.accepted_s)
            if row.finish_reason is not None:
                self._writing.end(row.published, now_s - row.first_s)
                self._finish(row, None)
            if row.ticket.progress is not None:
                self._tell(row, row.ticket.progress, now_s)

    def _tell(self, row: Sequence, progress: Callable[[], None], now_s: float) -> None:
        """Words that come in quick succession are told of together: nobody sees the difference, and every telling costs."""
        if row.published == 1 or now_s - row.told_s >= _TELL_EVERY_S:
            row.told_s = now_s
            progress()

    def _finish(self, sequence: Sequence, state: State | None) -> None:
        """The sequence is answered; state: after all its words but the last, None where it is in the batch."""
        if sequence.options.keep_state:
            if state is None:
                state = self._batch.row(sequence) if sequence.consumed else self._runtime.initial_state(1)
            if not all(np.isfinite(part).all() for part in state):
                sequence.ticket.fail(NoNumbers())
            sequence.keep(state)
        sequence.ticket.finish(sequence.part, sequence.result())

    def _let_go(self) -> None:
        """Takes out who is finished, failed, or was left by its client, and holds on to nothing of them."""
        if self._someone_left or any(sequence.finish_reason is not None for sequence in self._scheduler.writing):
            self._someone_left = False
            self._scheduler.drop(_ended)
        if not self._scheduler.rows:
            self._batch.clear()
        self._count_places(self._scheduler.rows, len(self._scheduler.waiting))

    def _forget(self) -> None:
        self._prefixes = PrefixCache(0)
        self._lookups.hold(0)

    def _look_up(self, sequence: Sequence) -> None:
        count, state = self._prefixes.find(sequence.prompt[:-1])
        self._lookups.observe(count)
        if count:
            sequence.consumed, sequence.state = count, state

    def _remember(self, sequence: Sequence, ids: list[int], state: State | None) -> None:
        """Keeps the state after ids for whoever begins so; state: None where it is in the batch."""
        if sequence.leads and sequence.start is None and self._prefixes.on:
            self._prefixes.put(ids, self._batch.row(sequence) if state is None else state)
            self._lookups.hold(self._prefixes.bytes)


def _likeliest(row: Sequence, values: Array, offset: float) -> list[tuple[int, float]]:
    """As many words as the row's options ask for by a step's logits (V), with their log-probabilities."""
    top = highest(values, row.options.top_n_tokens) if row.options.top_n_tokens else []
    return [(word, float(values[word]) - offset) for word in top]


def _ended(sequence: Sequence) -> bool:
    """Finished, failed, or its client has left."""
    return sequence.finish_reason is not None or sequence.ticket.ended
