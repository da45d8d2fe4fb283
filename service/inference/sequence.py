"""One generation: what it read, what it has written, and when it ends. Knows no batch and no model."""

from collections.abc import Sequence as Ids
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from service.inference.sampling import GREEDY, Row, SamplingOptions
from service.inference.ticket import Ticket
from service.text import Tokenizer

FinishReason = Literal["length", "eos_token", "stop_sequence"]


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a request asks for, apart from its text."""

    max_new_tokens: int
    sampling: SamplingOptions = GREEDY
    stop: tuple[str, ...] = ()
    top_n_tokens: int = 0
    log_probabilities: bool = False


class Token(NamedTuple):
    """A written word. logprob is the model's own, in nats, before any sampling option; None where it was not asked for."""

    id: int
    text: str
    logprob: float | None
    special: bool


class Generated(NamedTuple):
    """The answer to one input."""

    text: str
    tokens: list[Token]
    top_tokens: list[list[Token]]
    finish_reason: FinishReason
    seed: int | None

    @property
    def mean_logprob(self) -> float:
        return sum(token.logprob or 0.0 for token in self.tokens) / len(self.tokens)


@dataclass(eq=False)  # two sequences are never the same one
class Sequence:
    """A part of a request on its way through the model. `consumed` counts the prompt's words that the model has read."""

    ticket: Ticket[Generated]
    part: int
    prompt: list[int]
    options: GenerationOptions
    tokenizer: Tokenizer
    consumed: int = 0
    written: list[int] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    top_tokens: list[list[Token]] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason | None = None

    @property
    def unread(self) -> int:
        """Words of the prompt that the model has not read."""
        return len(self.prompt) - self.consumed

    @property
    def wants_logprobs(self) -> bool:
        return self.options.log_probabilities or self.options.top_n_tokens > 0

    @property
    def row(self) -> Row:
        sampling = self.options.sampling
        if not sampling.penalises:
            return Row(sampling, len(self.written), ())
        # The end before the prompt is where it begins; to count it as said would keep sentences from ending.
        return Row(sampling, len(self.written), [i for i in (*self.prompt, *self.written) if i != self.tokenizer.end_id])

    def append(self, word_id: int, logprob: float | None = None, top: Ids[tuple[int, float]] = ()) -> None:
        """Takes the next word and decides whether it was the last. A stop sequence ends the text, and stands in it."""
        self.written.append(word_id)
        if word_id == self.tokenizer.end_id:
            self.finish_reason = "eos_token"
            text = self.tokenizer.piece(word_id)
        else:
            text = self._continue_text(self.tokenizer.piece(word_id))
        self.tokens.append(Token(word_id, text, logprob, word_id in self.tokenizer.special_ids))
        if self.options.top_n_tokens:
            self.top_tokens.append([self._token(other, value) for other, value in top])
        if self.finish_reason is None and len(self.written) >= self.options.max_new_tokens:
            self.finish_reason = "length"

    def result(self) -> Generated:
        if self.finish_reason is None:
            raise ValueError("the sequence has not ended")
        seed = self.options.sampling.seed if self.options.sampling.do_sample else None
        return Generated(self.text, self.tokens, self.top_tokens, self.finish_reason, seed)

    def _continue_text(self, piece: str) -> str:
        """The part of piece that belongs to the text: the first loses its space, the last ends where a stop sequence does."""
        piece = piece if self.text else piece.removeprefix(" ")
        before, self.text = len(self.text), self.text + piece
        ends = [at + len(stop) for stop in self.options.stop if (at := self.text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        if ends:
            self.text, self.finish_reason = self.text[: min(ends)], "stop_sequence"
        return self.text[before:]

    def _token(self, word_id: int, logprob: float) -> Token:
        return Token(word_id, self.tokenizer.piece(word_id), logprob, word_id in self.tokenizer.special_ids)
