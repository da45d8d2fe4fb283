"""What every word of a text does to its label: the same model's answer without that word, beside the one with it.

Knows no routes and no batches: it says which texts to ask for, and reads the answers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from service.errors import TooLarge
from service.http.requests import Inputs
from service.inference.classifier import Function, Logits, rank
from service.text import word_spans
from service.words import Reader, Words


@dataclass(frozen=True, slots=True)
class Omissions:
    """A text without each of its words; what is left may be nothing, which no model reads."""

    text: str
    spans: list[tuple[int, int]]
    left: list[Words]

    @property
    def asked(self) -> list[Words]:
        """What the model is asked about, in order."""
        return [words for words in self.left if words.ids]

    def attributions(self, whole: Logits, answers: Iterator[Logits], labels: Sequence[str], function: Function) -> list[Any]:
        """Every word's influence; whole: the logits (C) of the text, answers: those of what was asked."""
        best = rank(whole, labels, function, 1)[0].label
        place = labels.index(best)
        before = _log_odds(whole, place, function)
        told = []
        for (start, end), words in zip(self.spans, self.left, strict=True):
            influence = score = None
            if words.ids:
                row = next(answers)
                influence = before - _log_odds(row, place, function)
                score = dict(rank(row, labels, function, None))[best]
            told.append({"text": self.text[start:end], "start": start, "end": end, "influence": influence, "score": score})
        return told


def leave_out(text: str, reader: Reader) -> Omissions:
    spans = list(word_spans(text))
    return Omissions(text, spans, reader.read_without(text, spans))


def check_words(inputs: Inputs, max_inputs: int) -> None:
    """Raises TooLarge where there are too many words to be left out one by one, each of which is an input more."""
    places = max_inputs - len(inputs.texts)
    for text in inputs.texts:
        places -= sum(1 for _ in islice(word_spans(text), places + 1))
        if places < 0:
            raise TooLarge(f"parameters.details: texts and words together are more than the {max_inputs} inputs of one request")


def _log_odds(logits: Logits, place: int, function: Function) -> float:
    """Of one label against all others together; of a label that stands for itself its logit, which is the same against none.

    Unlike a probability it tells sure answers apart, and unlike a softmax's logit it does not move when all of them do.
    """
    values: list[float] = logits.tolist()
    own = values.pop(place)
    if function != "softmax":
        return own
    if not values:
        return 0.0  # a label without any other is told with a score of 1, whatever the text
    highest = max(values)
    return own - highest - math.log(sum(math.exp(value - highest) for value in values))
