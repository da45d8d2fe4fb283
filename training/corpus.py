"""A user's text as samples, what the ids mean, and what it is like in numbers. Knows no file format, no batches and no model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from pathlib import Path

import numpy as np

from service.artifact import Ngrams
from service.text import Tokenizer, character_ngrams
from training.config import Config
from training.encoding import SplitEncoder, SplitStatistics, Vocabulary, count_common, count_unknown
from training.errors import DataError
from training.rows import Row, read_rows
from training.samples import Ints, Longs, Samples
from training.splits import Splits, load_splits
from training.vocabulary import build_vocabulary

__all__ = ["Corpus", "SplitStatistics", "load_corpus"]

SLOTS = 24  # runs of characters that describe a word: a word of five letters has 22 of up to four, and few Korean words are longer


@dataclass(frozen=True)
class Corpus:
    """The splits as ids, with what the ids mean.

    labels: what they are called in answers, by target; known_grams (V, slots): the runs of characters of the vocabulary's words;
    statistics: by split, "unlabelled" among them where there is such text; fingerprint: SHA-256, the same where two runs saw the
    same data; predictions: generation: how many next words there are to learn from in an epoch.
    """

    splits: Splits
    tokenizer: Tokenizer
    labels: list[str]
    ngrams: Ngrams | None
    known_grams: Ints | None
    train: Samples
    valid: Samples
    test: Samples
    unlabelled: Samples | None
    statistics: dict[str, SplitStatistics]
    fingerprint: str
    unlabelled_rows: Iterable[Row] = ()
    wordless: dict[str, Longs] = field(default_factory=dict)  # numbers of the rows that became no sample
    predictions: int = 0

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of a split, or "unlabelled", that became its samples, in their order. Raises DataError."""
        rows: Iterable[Row] = self.unlabelled_rows if split == "unlabelled" else getattr(self.splits, split)
        left_out = iter(self.wordless.get(split, np.empty(0, np.int64)).tolist())
        skipped = next(left_out, None)
        for number, row in enumerate(rows):
            if number == skipped:
                skipped = next(left_out, None)
            else:
                yield row


def load_corpus(config: Config, folder: Path) -> Corpus:
    """Reads, splits and encodes all data. The vocabulary is that of the training split and the unlabelled texts, the labels are
    those of the training split alone.

    folder: where the encoded texts are kept; they are needed as long as the corpus is, and are this process's own. Everything is
    gone through, so that a bad row shows before any time is spent on training. Raises DataError with one line.
    """
    splits = load_splits(config)
    unlabelled = () if config.data.unlabelled is None else read_rows(config.data.unlabelled, config.data, labelled=False)
    labels: set[str] = set()
    texts = chain(_texts(splits.train, labels), (row.text for row in unlabelled))
    generates = config.task == "generate"
    tokenizer = build_vocabulary(texts, config.text, generates and config.text.sentence_end)
    if not generates:
        _check_labels(config, labels)
    vocabulary = Vocabulary(tokenizer, sorted(labels), _ngrams(config))
    encoders = {split: SplitEncoder(config, vocabulary, folder, split) for split in ("train", "valid", "test", "unlabelled")}
    for split, row in splits.together():
        encoders[split].add(row)
    _check_unseen(encoders)
    for row in unlabelled:
        encoders["unlabelled"].add(row)
    return _finish(config, splits, vocabulary, encoders, unlabelled)


def _finish(
    config: Config, splits: Splits, vocabulary: Vocabulary, encoders: dict[str, SplitEncoder], unlabelled: Iterable[Row]
) -> Corpus:
    samples = {split: encoder.finish() for split, encoder in encoders.items()}
    _check_enough(config, samples["train"])
    names = _names(vocabulary.labels, config.data.labels)
    if names:
        _check_names(config, names, np.bincount(samples["train"].targets, minlength=len(names)))
    given = [split for split in encoders if split != "unlabelled" or config.data.unlabelled is not None]
    duplicates, in_valid = _duplicates(encoders)
    return Corpus(
        splits,
        vocabulary.tokenizer,
        names,
        vocabulary.ngrams,
        None if vocabulary.ngrams is None else _known_grams(vocabulary.tokenizer, vocabulary.ngrams),
        samples["train"],
        samples["valid"],
        samples["test"],
        samples["unlabelled"] if "unlabelled" in given else None,
        {
            split: encoders[split].statistics(
                names,
                duplicates[split],
                in_valid if split == "test" else 0,
                count_unknown(samples[split], vocabulary.tokenizer),
            )
            for split in given
        },
        sha256(b"".join(encoders[split].fingerprint() for split in given)).hexdigest(),
        unlabelled,
        {split: np.array(encoders[split].wordless, np.int64) for split in given},
        _predictions(config, samples["train"]),
    )


def _texts(rows: Iterable[Row], labels: set[str]) -> Iterator[str]:
    """The rows' texts, as which they are gone through; their labels are put into labels."""
    for row in rows:
        if row.label is not None:
            labels.add(row.label)
        yield row.text


def _ngrams(config: Config) -> Ngrams | None:
    model = config.model
    return Ngrams(longest=model.ngrams, buckets=model.buckets, slots=SLOTS) if model.ngrams else None


def _known_grams(tokenizer: Tokenizer, ngrams: Ngrams) -> Ints:
    """(V, slots); special ids have none."""
    grams = np.zeros((tokenizer.vocabulary_size, ngrams.slots), np.int32)
    for word_id in set(range(tokenizer.vocabulary_size)) - tokenizer.special_ids:
        grams[word_id] = character_ngrams(tokenizer.piece(word_id).strip(), ngrams.longest, ngrams.buckets, ngrams.slots)
    return grams


def _names(labels: list[str], names: dict[str, str]) -> list[str]:
    """What labels are called: a preset's names are for its own labels, and say nothing of others."""
    return [names[label] for label in labels] if set(labels) == names.keys() else labels


def _check_labels(config: Config, labels: set[str]) -> None:
    if len(labels) < 2:
        raise DataError(f"{config.data.train}: every row has the label {min(labels)!r}; classification needs two or more")
    if config.model.head == "sigmoid" and len(labels) != 2:
        raise DataError(f"{config.data.train}: model.head=sigmoid is for two labels, the data has {len(labels)}")


def _check_names(config: Config, names: list[str], counts: Ints | Longs) -> None:
    """Every label is told apart, and has a text with words."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"data.labels: two labels are called {twice!r}; answers could not tell them apart")
    for name, count in zip(names, counts, strict=True):
        if not count:
            raise DataError(f"{config.data.train}: no row with the label {name!r} has a word that is left to learn from")


def _check_unseen(encoders: dict[str, SplitEncoder]) -> None:
    for split, encoder in encoders.items():
        if encoder.unseen:
            label, count = encoder.unseen.most_common(1)[0]
            raise DataError(f"{split}: {count} rows have the label {label!r}, which no training row has")


def _check_enough(config: Config, train: Samples) -> None:
    """A batch that is not full would be all there is: what is learnt from it hardly counts."""
    size, window = config.fit.batch_size, config.fit.window
    if config.task == "generate" and config.fit.mode == "stream":
        if train.words < size * (window + 1):
            raise DataError(
                f"{config.data.train}: {train.words} words are less than a window of {window} and its next word in each of {size} "
                "lanes; give more, or --set fit.batch_size=N or fit.window=N"
            )
    elif len(train) < size:
        raise DataError(
            f"{config.data.train}: {len(train)} usable rows are less than one batch of {size}; give more, or --set fit.batch_size=N"
        )


def _predictions(config: Config, train: Samples) -> int:
    """All words but the first of every sentence or, in a stream, of every lane."""
    if config.fit.mode == "stream":
        lanes = config.fit.batch_size
        return lanes * (train.words // lanes - 1)
    return train.words - len(train)


def _duplicates(encoders: dict[str, SplitEncoder]) -> tuple[dict[str, int], int]:
    """Texts that flatter a score: those of valid and test in train, unlabelled ones in valid or test; and of test in valid."""
    hashes = {split: encoder.hashes() for split, encoder in encoders.items()}
    valid, test = hashes["valid"].mapped, hashes["test"].mapped
    found = {
        "train": 0,
        "valid": count_common(valid, hashes["train"])[0],
        "test": count_common(test, hashes["train"])[0],
        "unlabelled": count_common(np.concatenate([valid, test]), hashes["unlabelled"])[1],
    }
    return found, count_common(test, hashes["valid"])[0]
