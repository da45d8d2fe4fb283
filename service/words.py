"""A text as a classifier's graph takes it: ids, and rows of characters for words that its vocabulary lacks. Knows no graph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.manifest import Ngrams
from service.memory import keep
from service.text import Tokenizer, character_ngrams

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
        encoded = self._tokenizer.encode(text)
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
