"""One generation: what it reads, what it has written, and when it ends. Knows no batch and no model.

A sequence is a row of words, first the prompt's, then its own; the model has consumed some of them and is fed the next. Whoever has
consumed all is given one more. So reading, writing and scoring a prompt (its words are given, and only judged) are one thing.
"""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from typing import Literal, NamedTuple

from service.inference.bookmark import Bookmark
from service.inference.runtime import State
from service.inference.sampling import GREEDY, Row, SamplingOptions
from service.inference.ticket import Ticket
from service.text import Tokenizer

FinishReason = Literal["length", "eos_token", "stop_sequence"]

MAX_STOP_CHARACTERS = 200  # of one stop sequence; a bookmark keeps so much text


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a request asks for, apart from its text.

    top_n_tokens: tell so many of the likeliest words at every step; score_prompt: tell how likely each word of the prompt is, and
    which were the likeliest in its place; keep_state: end with a bookmark.
    """

    max_new_tokens: int
    sampling: SamplingOptions = GREEDY
    stop: tuple[str, ...] = ()
    top_n_tokens: int = 0
    log_probabilities: bool = False
    score_prompt: bool = False
    keep_state: bool = False


class Token(NamedTuple):
    """A word. logprob is the model's own, in nats, before any sampling option; None where it was not asked for."""

    id: int
    text: str
    logprob: float | None
    special: bool


class Generated(NamedTuple):
    """The answer to one input. tokens are there where log-probabilities were asked for; ids always.

    prompt_logprobs, prompt_top_tokens: of the prompt's words but the first, where the prompt was scored.
    """

    text: str
    ids: list[int]
    tokens: list[Token]
    top_tokens: list[list[Token]]
    prompt_logprobs: list[float]
    prompt_top_tokens: list[list[Token]]
    finish_reason: FinishReason
    seed: int | None
    bookmark: Bookmark | None

    @property
    def mean_logprob(self) -> float:
        return sum(token.logprob or 0.0 for token in self.tokens) / max(1, len(self.tokens))


class Sequence:
    """A part of a request on its way through the model. Two sequences are never the same one.

    consumed: words that the model has read; state: the row after them, while it stands in no batch; turn, riding: see Scheduler;
    published: written words that may be shown, to whoever looks from another thread; first_s, told_s: when the first of them was
    written, and when it was last told of them.
    """

    def __init__(
        self,
        ticket: Ticket[Generated],
        part: int,
        prompt: list[int],
        options: GenerationOptions,
        tokenizer: Tokenizer,
        start: Bookmark | None = None,
    ) -> None:
        """prompt: not empty; after a start, its pending word and whatever was added to it."""
        self.ticket, self.part, self.prompt, self.options, self.tokenizer, self.start = (
            ticket,
            part,
            prompt,
            options,
            tokenizer,
            start,
        )
        self.words = list(prompt)
        self.consumed = 0
        self.turn = 0
        self.riding = False
        self.state: State | None = None if start is None else start.state
        self.position = 0 if start is None else start.position
        # A text that only goes on keeps its tail: what was added to it begins a new one.
        self.text = start.tail if start is not None and len(prompt) == 1 else ""
        self.cut = 0
        self._counts = options.sampling.penalises or options.keep_state
        self.history: dict[int, int] = self._count_prompt() if self._counts else {}
        self.logprobs: list[float] = []
        self.top: list[list[tuple[int, float]]] = []
        self.prompt_logprobs: list[float] = []
        self.prompt_top: list[list[tuple[int, float]]] = []
        self.siblings: list[Sequence] = []
        self.leads = True  # reads the prompt, for its siblings too
        self.published = 0
        self.first_s = self.told_s = 0.0
        self.finish_reason: FinishReason | None = None
        self.bookmark: Bookmark | None = None
        self.wants_logprobs = options.log_probabilities or options.top_n_tokens > 0
        # Whether its logits are for nothing but to choose by.
        self.quiet = not self.wants_logprobs and not options.score_prompt
        self._reads_itself = bool(options.stop) or options.keep_state
        self._plain = Row(options.sampling, 0, {}) if options.sampling == GREEDY else None

    @property
    def unread(self) -> int:
        """Words to be read before the one after which something is said."""
        return 0 if self.options.score_prompt else max(0, len(self.prompt) - 1 - self.consumed)

    @property
    def says(self) -> bool:
        """Whether the word that is fed next is one after which the model is listened to."""
        return self.options.score_prompt or self.consumed + 1 >= len(self.words)

    @property
    def given(self) -> int | None:
        """The word that follows whatever the model says, or None where it is asked."""
        return self.words[self.consumed] if self.consumed < len(self.words) else None

    @property
    def speechless(self) -> bool:
        """Whether nothing is asked for after the prompt, and the prompt has been read."""
        return not self.options.max_new_tokens and self.consumed >= len(self.prompt) - 1

    @property
    def row(self) -> Row:
        return self._plain or Row(self.options.sampling, self.position, self.history)

    @property
    def written(self) -> list[int]:
        return self.words[len(self.prompt) :]

    def judge(self, logprob: float, top: Ids[tuple[int, float]] = ()) -> None:
        """The model has told how likely the given word was, and which were the likeliest."""
        self.prompt_logprobs.append(logprob)
        self.prompt_top.append(list(top))

    def append(self, word_id: int, logprob: float | None = None, top: Ids[tuple[int, float]] = ()) -> None:
        """Takes the next word and decides whether it was the last. A stop sequence ends the text, and stands in it."""
        if logprob is not None:
            self.logprobs.append(logprob)
            self.top.append(list(top))
        self.words.append(word_id)
        self.position += 1
        if self._counts:
            self._count(word_id)
        if word_id == self.tokenizer.end_id:
            self.finish_reason = "eos_token"
        elif self._reads_itself:
            self._continue_text(word_id)
        if self.finish_reason is None and len(self.words) - len(self.prompt) >= self.options.max_new_tokens:
            self.finish_reason = "length"
        self.published += 1  # last: who sees the word sees whether it was the last

    def token(self, index: int) -> Token:
        """A written word, as what it adds to the text: the first loses its space, the last ends where a stop sequence does."""
        word_id = self.words[len(self.prompt) + index]
        text = self.tokenizer.piece(word_id)
        special = word_id in self.tokenizer.special_ids
        if not special:
            text = text.removeprefix(" ") if index == 0 and not self._goes_on else text
            if self.cut and index == len(self.words) - len(self.prompt) - 1:
                text = text[: -self.cut]
        return Token(word_id, text, self.logprobs[index] if self.logprobs else None, special)

    def end_reading(self) -> None:
        """Nothing was to be written."""
        self.finish_reason = "length"

    def keep(self, state: State) -> None:
        """Ends with a bookmark; state: after all words but the last."""
        last = self.words[-1]
        # After the end of a sentence a new text begins, in which no stop sequence of the old one can end.
        tail = "" if last == self.tokenizer.end_id else self.text[1 - MAX_STOP_CHARACTERS :]
        sampling = self.options.sampling
        seed = sampling.seed if sampling.do_sample else None if self.start is None else self.start.seed
        self.bookmark = Bookmark(state, last, self.position, seed, dict(self.history), tail)

    def result(self) -> Generated:
        """The answer. Raises ValueError before the end."""
        if self.finish_reason is None:
            raise ValueError("the sequence has not ended")
        return Generated(
            text=self._whole_text(),
            ids=self.written,
            tokens=[self.token(index) for index in range(self.published)] if self.wants_logprobs else [],
            top_tokens=self._alternatives(self.top),
            prompt_logprobs=self.prompt_logprobs,
            prompt_top_tokens=self._alternatives(self.prompt_top),
            finish_reason=self.finish_reason,
            seed=self.options.sampling.seed if self.options.sampling.do_sample else None,
            bookmark=self.bookmark,
        )

    def _whole_text(self) -> str:
        """What all token() texts join to."""
        text = self.tokenizer.continuation(self.written)
        text = text if self._goes_on else text.removeprefix(" ")
        return text[: len(text) - self.cut]

    def top_tokens(self, index: int) -> list[Token]:
        """The likeliest words where the index-th was written."""
        return [self._alternative(*other) for other in self.top[index]]

    @property
    def _goes_on(self) -> bool:
        """Whether its text continues one that was begun before."""
        return self.start is not None and len(self.prompt) == 1 and self.start.tail != ""

    def _count_prompt(self) -> dict[int, int]:
        before: Mapping[int, int] = {} if self.start is None else self.start.history
        counts = Counter(before)
        counts.update(self.prompt if self.start is None else self.prompt[1:])
        # The end before the prompt is where it begins; to count it as said would keep sentences from ending.
        counts.pop(-1 if self.tokenizer.end_id is None else self.tokenizer.end_id, None)
        return dict(counts)

    def _count(self, word_id: int) -> None:
        if word_id != self.tokenizer.end_id:
            self.history[word_id] = self.history.get(word_id, 0) + 1

    def _continue_text(self, word_id: int) -> None:
        piece = self.tokenizer.piece(word_id)
        piece = piece if self.text else piece.removeprefix(" ")
        before, self.text = len(self.text), self.text + piece
        ends = [at + len(stop) for stop in self.options.stop if (at := self.text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        if ends:
            self.cut = len(self.text) - min(ends)
            self.text, self.finish_reason = self.text[: min(ends)], "stop_sequence"

    def _alternatives(self, steps: Ids[Ids[tuple[int, float]]]) -> list[list[Token]]:
        return [[self._alternative(*other) for other in step] for step in steps] if self.options.top_n_tokens else []

    def _alternative(self, word_id: int, logprob: float) -> Token:
        return Token(word_id, self.tokenizer.piece(word_id), logprob, word_id in self.tokenizer.special_ids)
