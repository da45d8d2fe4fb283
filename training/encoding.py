"""Rows of one split to samples for one task, and what is counted on the way. Knows neither files of text nor models."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.artifact import MAX_INPUT_WORDS, Ngrams
from service.memory import keep
from service.text import Tokenizer, character_ngrams
from training.config import Config
from training.rows import MendedRow, Row
from training.samples import Column, ColumnWriter, Samples, SamplesWriter
from training.vocabulary import PLAIN

# What was read before is remembered, 200 to 300 bytes each. The tokenizer's own memory is made for serving, and too small for this.
_KEPT_RUNS = 2**17
_LONGEST_RUN = 40  # characters
_KEPT_UNKNOWN = 2**16  # words with their rows: one that comes again later has two rows, which does no harm
_ROWS_TOGETHER = 512
LEARNT_FROM = ("train", "unlabelled")  # the splits whose texts text.max_length cuts
_NUMBERS_TOGETHER = 2**20


@dataclass(frozen=True)
class SplitStatistics:
    """One split in numbers, over the rows that have words. Words and unknown ones are counted as far as training looks at a text.

    longest: words of the longest text, all of them; cut: texts that were cut; lengths: how many texts have 0, 1, ... words or, the
    last, more; duplicates: rows whose text is in train too, for the unlabelled texts in valid or test; in_valid: rows of test whose
    text is in valid too; nul_rows: rows in which NUL characters were read as spaces.
    """

    rows: int
    words: int
    unknown: int
    longest: int
    cut: int
    lengths: NDArray[np.int64]
    labels: dict[str, int]
    duplicates: int
    in_valid: int
    nul_rows: int


@dataclass(frozen=True)
class Vocabulary:
    """What text becomes: ids, labels as numbers, and where ngrams are given the runs of characters of unknown words."""

    tokenizer: Tokenizer
    labels: list[str]
    ngrams: Ngrams | None

    @cached_property
    def words(self) -> dict[str, tuple[int]]:
        """The ids of words that follow a space, without it."""
        pieces = ((word_id, self.tokenizer.piece(word_id)) for word_id in range(self.tokenizer.vocabulary_size))
        return {piece[1:]: (word_id,) for word_id, piece in pieces if piece.startswith(" ")}


class SplitEncoder:
    """Encodes the rows of one split in the order they are given. What it keeps in memory does not grow with the texts.

    Only a row's number is kept where it has no words, and 8 bytes a text where hashes are kept to find it in another split.
    """

    def __init__(self, config: Config, vocabulary: Vocabulary, folder: Path, split: str) -> None:
        """Raises DataError where the folder cannot be written to."""
        self._tokenizer, self._ngrams = vocabulary.tokenizer, vocabulary.ngrams
        self._generates = config.task == "generate"
        self._streams = self._generates and config.fit.mode == "stream"
        # What is scored is read as the service reads it, or the scores would be those of another model on long texts.
        self._max_length = config.text.max_length if split in LEARNT_FROM else MAX_INPUT_WORDS
        self._shown = MAX_INPUT_WORDS if self._streams else config.text.max_length
        self._targets = {label: index for index, label in enumerate(vocabulary.labels)}
        self._samples = SamplesWriter(folder, split, self._ngrams.slots if self._ngrams else 0)
        self._hashes = ColumnWriter(folder / f"{split}.hashes", "q")
        self._digest, self._texts = hashlib.sha256(), list[str]()
        self._memory = _Memory(self._read_run)
        self._whole = config.text.unit == "word"
        self._known = vocabulary.words
        self._unknown_rows: dict[str, int] = {}
        self.split, self.rows = split, 0  # rows: all, those without words among them
        self.wordless = array("q")  # their numbers
        self.unseen: Counter[str] = Counter()  # labels that no training row has
        self._words = self._longest = self._cut = self._nul_rows = 0
        self._lengths = [0] * (self._shown + 1)
        self._labels = [0] * len(vocabulary.labels)

    def add(self, row: Row) -> None:
        """Raises DataError where the disk is full."""
        self._remember(row)
        words = list(chain.from_iterable(map(self._memory.__getitem__, row.text.split(" "))))
        target = 0
        if row.label is not None:
            if row.label not in self._targets:
                self.unseen[row.label] += 1
                return
            target = self._targets[row.label]
        ids = self._sentence(words) if self._generates else words[: self._max_length]
        if not ids:
            self.wordless.append(self.rows - 1)
            return
        self._samples.add(ids, target)
        self._hashes.held.append(hash(row.text))
        self._hashes.flush()
        self._count(row, len(words), target)

    def finish(self) -> Samples:
        """Raises DataError where the disk is full."""
        self._memory.clear()  # it and this encoder hold one another
        self._unknown_rows.clear()
        return self._samples.close(self._tokenizer.end_id if self._streams else None)

    def hashes(self) -> Column:
        """Of the samples' texts, 8 bytes each, comparable within this process. Raises DataError where the disk is full."""
        return self._hashes.close()

    def fingerprint(self) -> bytes:
        """SHA-256 over all rows, how many they are and the split's name."""
        self._digest_texts()
        return f"{self.split} {self.rows}\n".encode() + self._digest.digest()

    def statistics(self, names: list[str], duplicates: int, in_valid: int, unknown: int) -> SplitStatistics:
        """names: what the labels are called; the numbers are what is not counted row by row."""
        return SplitStatistics(
            rows=sum(self._lengths),
            words=self._words,
            unknown=unknown,
            longest=self._longest,
            cut=self._cut,
            lengths=np.array(self._lengths, np.int64),
            labels=dict(zip(names, self._labels, strict=True)) if sum(self._labels) else {},
            duplicates=duplicates,
            in_valid=in_valid,
            nul_rows=self._nul_rows,
        )

    def _sentence(self, words: list[int]) -> list[int]:
        """Begun and ended by the end-of-sentence id; one that is cut short does not end. Nothing for a text without words.

        In a stream nothing is cut, and a text's end is the begin of the next one.
        """
        end = self._tokenizer.end_id
        if self._streams:
            return words if end is None or not words else [end, *words]
        if end is None:
            return words[: self._max_length] if len(words) > 1 else []
        return [end, *words, end][: self._max_length + 1] if words else []

    def _read_run(self, run: str) -> tuple[int, ...]:
        """The ids of what stands between two spaces, which the tokenizer reads by itself as well."""
        if self._whole and PLAIN.fullmatch(run):
            known = self._known.get(run)
            if known is not None:
                return known
            if self._ngrams is None:
                return (self._tokenizer.unknown_id,)
        encoded = self._tokenizer.encode(run)
        if self._ngrams is not None:
            for place, word in encoded.unknown.items():
                encoded.ids[place] = self._tokenizer.vocabulary_size + self._row_of(word, self._ngrams)
        return tuple(encoded.ids)

    def _row_of(self, word: str, ngrams: Ngrams) -> int:
        row = self._unknown_rows.get(word)
        if row is None:
            row = self._samples.add_unknown(character_ngrams(word, ngrams.longest, ngrams.buckets, ngrams.slots))
            keep(self._unknown_rows, word, row, _KEPT_UNKNOWN)
        return row

    def _remember(self, row: Row) -> None:
        self.rows += 1
        # No text has NUL, so that what is joined by it can be told apart again.
        self._texts.append(row.text if row.label is None else f"{row.text}\0{row.label}")
        if len(self._texts) >= _ROWS_TOGETHER:
            self._digest_texts()

    def _digest_texts(self) -> None:
        self._digest.update("".join(f"{text}\0\0" for text in self._texts).encode())
        self._texts.clear()

    def _count(self, row: Row, words: int, target: int) -> None:
        seen = words if self._streams else min(words, self._max_length)
        self._words += seen
        self._longest = max(self._longest, words)
        self._cut += words > seen
        self._lengths[min(words, self._shown)] += 1
        if row.label is not None:
            self._labels[target] += 1
        self._nul_rows += isinstance(row, MendedRow)


class _Memory(dict[str, tuple[int, ...]]):
    """What was made of runs before. Tuples, not lists, as the collector of cycles passes over them."""

    def __init__(self, read: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, run: str) -> tuple[int, ...]:
        ids = self._read(run)
        if len(run) <= _LONGEST_RUN:
            keep(self, run, ids, _KEPT_RUNS)
        return ids


def count_unknown(samples: Samples, tokenizer: Tokenizer) -> int:
    """How many words of samples the vocabulary lacks."""
    found = 0
    for start in range(0, samples.words, _NUMBERS_TOGETHER):
        ids = samples.read(start, min(start + _NUMBERS_TOGETHER, samples.words))
        found += int(((ids == tokenizer.unknown_id) | (ids >= tokenizer.vocabulary_size)).sum())
    return found


def count_common(few: NDArray[np.integer], many: Column) -> tuple[int, int]:
    """How many of the few are among the many, and how many of the many, which are read piece by piece, among the few."""
    wanted, times = np.unique(few, return_counts=True)
    found, met = np.zeros(len(wanted), bool), 0
    for start in range(0, len(many) if len(wanted) else 0, _NUMBERS_TOGETHER):
        block = many.read(start, min(start + _NUMBERS_TOGETHER, len(many)))
        places = np.minimum(np.searchsorted(wanted, block), len(wanted) - 1)
        same = wanted[places] == block
        found[places[same]] = True
        met += int(same.sum())
    return int(times[found].sum()), met
