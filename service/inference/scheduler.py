"""Who runs next: waiting, reading a prompt, writing. Plain synchronous code: no I/O, no clock, no tensors.

    add() ──> waiting ──admitted, oldest first──> reading ──prompt read──> writing ──ended──> gone
                 │                                    │                        │
                 └────────────────────────────────────┴── drop(): its request has ended

A sequence joins and leaves at any step; at most max_rows are reading or writing.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar


class Readable(Protocol):
    """What the scheduler needs to know of a sequence."""

    @property
    def unread(self) -> int: ...


S = TypeVar("S", bound=Readable)


class Chunk(NamedTuple, Generic[S]):
    """A sequence and how many of its prompt's words to read now."""

    sequence: S
    words: int


@dataclass(frozen=True)
class Plan(Generic[S]):
    """One round: prompts to read, a chunk each, and then one step for all that write."""

    read: list[Chunk[S]]
    write: list[S]


class Scheduler(Generic[S]):
    def __init__(self, max_rows: int, max_prefill_words: int) -> None:
        self._max_rows, self._max_prefill_words = max_rows, max_prefill_words
        self.waiting: deque[S] = deque()
        self.reading: list[S] = []
        self.writing: list[S] = []

    @property
    def rows(self) -> int:
        """Rows in use."""
        return len(self.reading) + len(self.writing)

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.rows

    def add(self, sequence: S) -> None:
        self.waiting.append(sequence)

    def drop(self, ended: Callable[[S], bool]) -> list[S]:
        """Takes out every sequence that has ended; returns those that held a row."""
        self.waiting = deque(sequence for sequence in self.waiting if not ended(sequence))
        gone = [sequence for sequence in (*self.reading, *self.writing) if ended(sequence)]
        if gone:
            # By what was found, not asked again: a client may leave between two questions.
            names = {id(sequence) for sequence in gone}
            self.reading = [sequence for sequence in self.reading if id(sequence) not in names]
            self.writing = [sequence for sequence in self.writing if id(sequence) not in names]
        return gone

    def plan(self, ended: Callable[[S], bool]) -> Plan[S]:
        """Admits what there are rows for, passing over what has ended, and says what the next round does."""
        while self.waiting and self.rows < self._max_rows:
            sequence = self.waiting.popleft()
            if not ended(sequence):
                self.reading.append(sequence)
        return Plan(self._chunks(), list(self.writing))

    def promote(self, sequences: Iterable[S]) -> None:
        """These have read their prompts and write from now on, in this order after those that do."""
        joining = list(sequences)
        self.reading = [sequence for sequence in self.reading if sequence.unread]
        self.writing += joining

    def _chunks(self) -> list[Chunk[S]]:
        """The oldest prompts first, as far as the budget of padded words goes; a long one goes on in the next round."""
        chunks: list[Chunk[S]] = []
        longest = 0
        for sequence in self.reading:
            words = min(sequence.unread, self._max_prefill_words)
            if chunks and max(longest, words) * (len(chunks) + 1) > self._max_prefill_words:
                break
            longest = max(longest, words)
            chunks.append(Chunk(sequence, words))
        return chunks
