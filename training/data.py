"""A user's text: rows to splits, splits to ids, ids to padded batches. Knows no file format and no model."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from service.inference.runtime import pad
from service.text import Tokenizer
from training.config import Config
from training.errors import DataError
from training.rows import Row, read_rows
from training.vocabulary import build_vocabulary

IGNORED = -100  # torch's own mark for a target that counts for nothing


class Sample(NamedTuple):
    """A text as ids; target is the index of its label, and unused for generation, where the text is its own target."""

    ids: list[int]
    target: int


class Batch(NamedTuple):
    """ids (B, T) padded on the right to lengths (B); targets (B) for classification, (B, T) for generation."""

    ids: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Splits:
    train: list[Row]
    valid: list[Row]
    test: list[Row]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rows and where they stand: two runs with the same one saw the same data."""
        digest = hashlib.sha256()
        for name, rows in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            digest.update(f"{name} {len(rows)}\n".encode())
            for row in rows:
                digest.update(repr(tuple(row)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Corpus:
    """The splits as ids, with what the ids mean."""

    splits: Splits
    tokenizer: Tokenizer
    labels: list[str]
    train: list[Sample]
    valid: list[Sample]
    test: list[Sample]

    @property
    def predictions(self) -> int:
        """Generation: how many next words there are to learn from, one a prefix of a sentence."""
        return sum(len(sample.ids) - 1 for sample in self.train)

    @property
    def longest(self) -> int:
        return max(len(sample.ids) for sample in self.train)


def load_corpus(config: Config) -> Corpus:
    """Reads, splits and encodes all data. The vocabulary and the labels come from the training split alone.

    Raises DataError with one line where there is nothing to train on.
    """
    splits = load_splits(config)
    generates = config.task == "generate"
    labels = [] if generates else sorted({row.label or "" for row in splits.train})
    if not generates and len(labels) < 2:
        raise DataError(f"{config.data.train}: every row has the label {labels[0]!r}; classification needs two or more")
    if config.model.head == "sigmoid" and not generates and len(labels) != 2:
        raise DataError(f"{config.data.train}: model.head=sigmoid is for two labels, the data has {len(labels)}")
    tokenizer = build_vocabulary((row.text for row in splits.train), config.text, generates and config.text.sentence_end)
    encode = _Encoder(config, tokenizer, labels)
    corpus = Corpus(
        splits,
        tokenizer,
        _names(labels, config.data.labels),
        *(encode(rows, where) for rows, where in ((splits.train, "train"), (splits.valid, "valid"), (splits.test, "test"))),
    )
    if len(corpus.train) < config.fit.batch_size:
        raise DataError(
            f"{config.data.train}: {len(corpus.train)} usable rows are less than one batch of {config.fit.batch_size}; "
            "give more, or --set fit.batch_size=N"
        )
    return corpus


def _names(labels: list[str], names: dict[str, str]) -> list[str]:
    """What labels are called: a preset's names are for its own labels, and say nothing of others."""
    return [names[label] for label in labels] if set(labels) == names.keys() else labels


def load_splits(config: Config) -> Splits:
    """The rows of train, valid and test. What has no file of its own is held out of train by a hash of the text."""
    data = config.data
    if data.train is None:
        raise DataError(f"the preset's data is not shipped; give --data PATH. Its source: {config.source}")
    labelled = config.task == "classify"
    train = read_rows(Path(data.train), data, labelled)
    held: dict[str, list[Row]] = {}
    for split, path, fraction in (("test", data.test, data.test_fraction), ("valid", data.valid, data.valid_fraction)):
        if path is not None:
            held[split] = read_rows(Path(path), data, labelled)
        else:
            held[split] = [row for row in train if _bucket(row.text, split) < fraction]
            train = [row for row in train if not _bucket(row.text, split) < fraction]
            # A label that is left with no row to train on goes back.
            kept = {row.label for row in train}
            train += [row for row in held[split] if row.label not in kept]
            held[split] = [row for row in held[split] if row.label in kept]
    if not train:
        raise DataError(f"{data.train}: no row is left to train on")
    return Splits(train, held["valid"], held["test"])


def batches(samples: Sequence[Sample], size: int, padding_id: int, generates: bool, seed: int | None = None) -> Iterator[Batch]:
    """Padded batches of samples, alike in length. A seed makes the order random; without, the longest come last."""
    order = list(range(len(samples)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    # Lengths are sorted within pools of many batches: little padding, and hardly less chance.
    pool = size * 64 if seed is not None else max(1, len(order))
    groups = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda i: len(samples[i].ids))
        groups += [near[at : at + size] for at in range(0, len(near), size)]
    if seed is not None:
        random.Random(seed).shuffle(groups)
    for group in groups:
        yield _to_batch([samples[i] for i in group], padding_id, generates)


def _to_batch(samples: Sequence[Sample], padding_id: int, generates: bool) -> Batch:
    if not generates:
        ids, lengths = pad([s.ids for s in samples], padding_id)
        return Batch(torch.from_numpy(ids), torch.from_numpy(lengths).long(), torch.tensor([s.target for s in samples]))
    ids, lengths = pad([s.ids[:-1] for s in samples], padding_id)
    targets, _ = pad([s.ids[1:] for s in samples], IGNORED)
    return Batch(torch.from_numpy(ids), torch.from_numpy(lengths).long(), torch.from_numpy(targets))


class _Encoder:
    """Rows to samples for one task."""

    def __init__(self, config: Config, tokenizer: Tokenizer, labels: list[str]) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._targets = {label: index for index, label in enumerate(labels)}

    def __call__(self, rows: Sequence[Row], split: str) -> list[Sample]:
        if self._config.task == "generate":
            return [s for row in rows if len((s := self._sentence(row)).ids) > 1]
        unseen = Counter(row.label for row in rows if row.label not in self._targets)
        if unseen:
            label, count = unseen.most_common(1)[0]
            raise DataError(f"{split}: {count} rows have the label {label!r}, which no training row has")
        return [s for row in rows if (s := self._labelled(row)).ids]

    def _sentence(self, row: Row) -> Sample:
        """Begun and ended by the end-of-sentence id; one that is cut short does not end. Nothing for a text without words."""
        ids, end = self._tokenizer.encode_prompt(row.text).ids, self._tokenizer.end_id
        if end is not None and len(ids) > 1:
            ids.append(end)
        return Sample(ids[: self._config.text.max_length + 1] if end is not None else ids[: self._config.text.max_length], 0)

    def _labelled(self, row: Row) -> Sample:
        ids = self._tokenizer.encode(row.text).ids[: self._config.text.max_length]
        return Sample(ids, self._targets[row.label or ""])


def _bucket(text: str, split: str) -> float:
    """A number in [0, 1) that depends on the text alone, so that equal texts share a split, whatever else is in the file."""
    return int.from_bytes(hashlib.sha256(f"{split}\0{text}".encode()).digest()[:8]) / 2**64
