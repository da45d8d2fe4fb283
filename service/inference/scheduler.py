"""Who runs next: waiting, reading a prompt, writing. Plain synchronous code: no I/O, no clock, no tensors.

    add() ──> waiting ──admitted, oldest first──> reading ──prompt read──> writing ──ended──> gone
                 ^ │                                  │                      │ │
                 │ └──────────────────────────────────┴───── drop(): ended ──┘ │
                 └──── its turn, reading or writing, is over and others wait ──┘

At most max_rows are reading or writing; a sequence joins and leaves at any step. A prompt is read by itself, a chunk of many words
in one call, or rides along word by word in the step of those that write, which costs next to nothing where many write.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

TURN_WORDS = 16  # read or written before a row may be taken away for one that waits
RIDE_WORDS = 16  # prompts up to this length may ride along
WRITERS_PER_READER = 8  # who make it worthwhile: a call of its own costs them all as much as so many rows in their step
MIN_CHUNK_WORDS = 16  # less at a time is not worth a call


class Readable(Protocol):
    """What the scheduler needs to know of a sequence, and keeps there.

    unread: words before it can write; turn: words read or written since it got its row; riding: whether its state is among the
    rows of a step already, from where it goes on riding whatever the others do.
    """

    turn: int
    riding: bool

    @property
    def unread(self) -> int: ...


S = TypeVar("S", bound=Readable)


class Chunk(NamedTuple, Generic[S]):
    """A sequence and how many of its prompt's words to read now."""

    sequence: S
    words: int


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

    def fork(self, siblings: Iterable[S]) -> None:
        """These go on from a prompt that was read for them, before all that came later."""
        self.waiting.extendleft(reversed(list(siblings)))

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

    def park(self, ended: Callable[[S], bool]) -> list[S]:
        """Takes the rows of those that had their turn, the longest first, as far as others wait for one; they wait again.

        What has ended keeps its row until it is dropped: its state may be gone. Who rides is about to write.
        """
        missing = min(len(self.waiting), len(self.waiting) + self.rows - self._max_rows)
        if missing <= 0:
            return []
        rows = [s for s in (*self.writing, *self.reading) if s.turn >= TURN_WORDS and not s.riding and not ended(s)]
        served = sorted(rows, key=lambda s: -s.turn)[:missing]
        names = {id(sequence) for sequence in served}
        self.writing = [sequence for sequence in self.writing if id(sequence) not in names]
        self.reading = [sequence for sequence in self.reading if id(sequence) not in names]
        self.waiting.extend(served)
        return served

    def admit(self, ended: Callable[[S], bool]) -> list[S]:
        """Gives free rows to the oldest that wait, passing over what has ended; returns them."""
        admitted = []
        while self.waiting and self.rows < self._max_rows:
            sequence = self.waiting.popleft()
            if ended(sequence):
                continue
            sequence.turn = 0
            (self.reading if sequence.unread else self.writing).append(sequence)
            admitted.append(sequence)
        return admitted

    def chunks(self) -> list[Chunk[S]]:
        """What to read in a call of its own: readers get a share of the budget of padded words, in turns where it is short."""
        readers = [s for s in self.reading if not self._rides(s)]
        if not readers:
            return []
        share = max(min(MIN_CHUNK_WORDS, self._max_prefill_words), self._max_prefill_words // len(readers))
        chunks: list[Chunk[S]] = []
        longest = 0
        for sequence in readers:
            words = min(sequence.unread, share)
            if chunks and max(longest, words) * (len(chunks) + 1) > self._max_prefill_words:
                break
            longest = max(longest, words)
            chunks.append(Chunk(sequence, words))
            sequence.turn += words
        read = {id(chunk.sequence) for chunk in chunks}
        self.reading.sort(key=lambda sequence: id(sequence) in read)  # stable: who was passed over is the first next time
        return chunks

    def step(self) -> list[S]:
        """The rows of the next step, one word each: all that write, and those that ride along."""
        ready = [s for s in self.reading if not s.unread]
        for sequence in ready:
            sequence.turn, sequence.riding = 0, False
        self.writing += ready
        self.reading = [s for s in self.reading if s.unread]
        riders = [s for s in self.reading if self._rides(s)]
        for sequence in riders:
            sequence.riding = True
        for sequence in self.writing:
            sequence.turn += 1
        return self.writing + riders

    def _rides(self, sequence: S) -> bool:
        many = len(self.reading) * WRITERS_PER_READER < len(self.writing)
        return sequence.riding or (many and sequence.unread <= RIDE_WORDS)
