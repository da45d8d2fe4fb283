"""A text as a classifier's graph takes it: ids, and rows of characters for words that its vocabulary lacks. Knows no graph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.manifest import Ngrams
from service.memory import keep
from service.text import Encoded, Tokenizer, character_ngrams, joined

Grams = npt.NDArray[np.int64]

_KEPT_WORDS = 8_192  # about 3 MB; they seldom come again


class Words(NamedTuple):
    """ids (T). Those from the vocabulary's size on are unknown words: that size plus their row of grams, (slots) each."""

    ids: list[int]
    grams: Sequence[Grams] = ()


class Reader:
    """Gives texts' ids, and unknown words' characters where the model reads them. Safe to call from several threads."""

    def __init__(self, tokenizer: Tokenizer, ngrams: Ngrams | None) -> None:
        self._tokenizer, self._ngrams = tokenizer, ngrams
        self._kept: dict[str, Grams] = {}

    def read(self, text: str) -> Words:
        """A text's words; a model without n-grams is told of an unknown word no more than that."""
        return self._words(self._tokenizer.encode(text))

    def read_without(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Words]:
        """What is left of a text without one of its words (text.word_spans), for each of them: what read() gives of that."""
        parts = [self._tokenizer.encode(text[start:end]) for start, end in spans]
        return [self._words(joined([*parts[:place], *parts[place + 1 :]])) for place in range(len(parts))]

    def _words(self, encoded: Encoded) -> Words:
        if self._ngrams is None or not encoded.unknown:
            return Words(encoded.ids)
        ids, unknown = encoded.numbered(self._tokenizer.vocabulary_size)
        return Words(ids, [self._row(word, self._ngrams) for word in unknown])

    def _row(self, word: str, ngrams: Ngrams) -> Grams:
        row = self._kept.get(word)
        if row is None:
            row = np.array(character_ngrams(word, ngrams.longest, ngrams.buckets, ngrams.slots), np.int64)
            keep(self._kept, word, row, _KEPT_WORDS)
        return row
