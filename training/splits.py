"""Which row is trained on, chosen on or tested on. Knows no file format, no ids and no model.

A row that is held out is so by a hash of its text: equal texts share a split, and no list of rows is kept anywhere.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from training import hub
from training.config import Config
from training.errors import DataError
from training.rows import Row, read_rows, told_in_one_line

SplitName = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Splits:
    """The rows of each split, read afresh each time they are gone through. Going through them raises DataError."""

    train: Iterable[Row]
    valid: Iterable[Row]
    test: Iterable[Row]

    def together(self) -> Iterator[tuple[SplitName, Row]]:
        """Every row with its split; those of one split in its own order. A file that holds several splits is read once."""
        if isinstance(self.train, _Share):
            yield from self.train.shares()
        else:
            yield from (("train", row) for row in self.train)
        if not isinstance(self.valid, _Share):
            yield from (("valid", row) for row in self.valid)
        if not isinstance(self.test, _Share):
            yield from (("test", row) for row in self.test)


@dataclass(frozen=True)
class _Share:
    """The rows of one split out of a file that holds several."""

    rows: Iterable[Row]
    choose: Callable[[Row], SplitName]
    split: SplitName

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.rows if self.choose(row) == self.split)

    def shares(self) -> Iterator[tuple[SplitName, Row]]:
        return ((self.choose(row), row) for row in self.rows)


def load_splits(config: Config) -> Splits:
    """The rows of train, valid and test. What has no file of its own is held out of train by a hash of the text.

    Raises DataError as read_rows does, and for a preset without data.
    """
    data = config.data
    if data.train is None:
        raise DataError(f"the preset's data is not shipped; give --data PATH. Its source: {config.source}")
    labelled = config.task == "classify"
    sources = _sources(data.train, data.valid, data.test)
    own = {split: read_rows(source, data, labelled) for split, source in sources.items() if source is not None}
    fractions: dict[SplitName, float] = {"test": data.test_fraction, "valid": data.valid_fraction}
    held = {split: fraction for split, fraction in fractions.items() if split not in own and fraction > 0}
    choose = _Choice(own["train"], held.get("test", 0.0), held.get("valid", 0.0)) if held else None

    def rows_of(split: SplitName) -> Iterable[Row]:
        if choose is not None and (split == "train" or split in held):
            return _Share(own["train"], choose, split)
        return own.get(split, ())

    return Splits(rows_of("train"), rows_of("valid"), rows_of("test"))


def _sources(train: str, valid: str | None, test: str | None) -> dict[SplitName, str | None]:
    """Where each split is; a data set of the hub brings its own."""
    sources: dict[SplitName, str | None] = {"train": train, "valid": valid, "test": test}
    if hub.is_hub(train):
        with told_in_one_line(train):
            for split in ("train", "valid", "test"):
                if sources[split] in (None, train):
                    sources[split] = hub.find_split(train, split) or (train if split == "train" else None)
    return sources


class _Choice:
    """The split of a row of a file that holds several.

    A label that would be left with no row to train on is not held out, neither of both nor of what the test split leaves.
    """

    def __init__(self, rows: Iterable[Row], test: float, valid: float) -> None:
        self._fractions: dict[SplitName, float] = {"test": test, "valid": valid}
        self._left: dict[str | None, _Left] = {}
        for row in rows:
            left = self._left.setdefault(row.label, _Left())
            left.see(self._held(row.text, "test"), self._held(row.text, "valid"))
            if row.label is None and left.of_both:
                break  # rows without labels are all alike: there is enough to train on

    def __call__(self, row: Row) -> SplitName:
        left = self._left[row.label]
        if left.of_test and self._held(row.text, "test"):
            return "test"
        if (left.of_both if left.of_test else left.of_valid) and self._held(row.text, "valid"):
            return "valid"
        return "train"

    def _held(self, text: str, split: SplitName) -> bool:
        fraction = self._fractions[split]
        return fraction > 0 and _bucket(text, split) < fraction


@dataclass
class _Left:
    """Whether a label has a row that the test split, the valid split or both leave."""

    of_test: bool = False
    of_valid: bool = False
    of_both: bool = False

    def see(self, test: bool, valid: bool) -> None:
        self.of_test |= not test
        self.of_valid |= not valid
        self.of_both |= not (test or valid)


def _bucket(text: str, split: str) -> float:
    """A number in [0, 1) that depends on the text alone, so that equal texts share a split, whatever else is in the file."""
    return int.from_bytes(hashlib.sha256(f"{split}\0{text}".encode()).digest()[:8]) / 2**64
