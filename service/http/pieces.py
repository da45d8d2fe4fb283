"""A text as the pieces that its words add to it, each with what the model says of it. Knows no form of answers.

The pieces of a text join to it, and a stop sequence is in none of them.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.inference.sequence import Token
from service.model import Model
from service.text import Encoded


class Piece(NamedTuple):
    """logprob: None where it was not asked for, or nothing stands before; top: the likeliest words in its place, and its own.

    Where a stop sequence cuts a word, text is what is left of it.
    """

    text: str
    logprob: float | None = None
    top: dict[str, float] | None = None


class Source(NamedTuple):
    """A prompt. text: as it came, or where are_ids its ids as JSON."""

    model: Model
    prompt: Encoded
    text: str
    are_ids: bool

    def whole(self) -> str:
        """As the model reads it; what pieces() join to."""
        tokenizer = self.model.tokenizer
        return tokenizer.decode(self.prompt.ids) if self.are_ids else tokenizer.normalise(self.text)

    def pieces(self, logprobs: Sequence[float], tops: Sequence[Sequence[Token]]) -> list[Piece]:
        """One for every word, without the end of a sentence that is put before every text.

        logprobs, tops: of all words but the first.
        """
        tokenizer, prompt, rest = self.model.tokenizer, self.prompt, "" if self.are_ids else self.whole()
        begun = len(prompt.ids) - len(json.loads(self.text)) if self.are_ids else int(tokenizer.end_id is not None)
        found: list[Piece] = []
        begins = True
        for place, word in enumerate(prompt.ids[begun:], begun):
            if place in prompt.unknown:
                said = " " * rest.startswith(" ") + prompt.unknown[place]
            else:
                said = "" if word in tokenizer.special_ids else tokenizer.piece(word)
                said = said.removeprefix(" ") if begins else said
            piece = Piece(said)
            if logprobs and place:
                top = tops[place - 1] if tops else ()
                piece = Piece(said, logprobs[place - 1], _with_own(top, said, logprobs[place - 1], begins))
            rest, begins = rest[len(said) :], begins and not said
            found.append(piece)
        return found


def of_word(model: Model, token: Token, top: Iterable[Token], first: bool, follows: bool) -> list[Piece]:
    """A written word's; none for the end of a sentence. first: of its answer; follows: the prompt stands before the answer."""
    if token.special:
        return []
    said = lead(model, token.id) + token.text if first and follows else token.text
    found = _with_own(top, model.tokenizer.piece(token.id), token.logprob, first and not follows)
    return [Piece(said, token.logprob, found)]


def _with_own(top: Iterable[Token], own: str, logprob: float | None, begins: bool) -> dict[str, float]:
    """The likeliest words by what they would add to the text, and the word that does; begins: no text stands before."""
    found: dict[str, float] = {}
    for text, value in (*((other.text, other.logprob) for other in top), (own, logprob)):
        found.setdefault(text.removeprefix(" ") if begins else text, value or 0.0)
    return found


def lead(model: Model, word: int) -> str:
    """What stands between a prompt and an answer that begins with this word."""
    return " " if model.tokenizer.piece(word).startswith(" ") else ""


class Held:
    """Pieces on their way to a client, held back while they may turn out to belong to a stop sequence."""

    def __init__(self, stops: Sequence[str], shown_at_once: Iterable[Piece] = ()) -> None:
        self._stops = stops
        self._ready, self._waiting = list(shown_at_once), list[Piece]()

    def add(self, pieces: Iterable[Piece]) -> None:
        self._waiting += pieces

    def take(self) -> list[Piece]:
        """What may be shown, each piece once."""
        text = "".join(piece.text for piece in self._waiting)
        safe = len(text) - max((_begun(text, stop) for stop in self._stops), default=0)
        while self._waiting and safe >= len(self._waiting[0].text):
            safe -= len(self._waiting[0].text)
            self._ready.append(self._waiting.pop(0))
        taken, self._ready = self._ready, []
        return taken

    def take_rest(self, stopped: bool) -> list[Piece]:
        """All that is left, once nothing follows; stopped: without the stop sequence with which it ends."""
        text = "".join(piece.text for piece in self._waiting)
        left = len(text) - max((len(stop) for stop in self._stops if stopped and text.endswith(stop)), default=0)
        for piece in self._waiting:
            if left > 0:
                self._ready.append(piece._replace(text=piece.text[:left]))
            left -= len(piece.text)
        self._waiting = []
        return self.take()


def _begun(text: str, stop: str) -> int:
    """How many of a stop sequence's characters the text ends with, but not all of them."""
    return next((count for count in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:count])), 0)
