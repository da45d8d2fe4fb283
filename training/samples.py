"""Texts as ids, in flat files that are written and read piece by piece. Knows neither what the ids mean nor how batches are made.

Nothing grows with the number of texts but the files: they are read with pread, not through a mapping, whose pages would count as
this process's memory.
"""

import mmap
import os
import weakref
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

_KEPT_BYTES = 2**18  # of a column that is being written
_DTYPES: dict[str, type[np.int32 | np.int64]] = {"i": np.int32, "q": np.int64}


class Column:
    """Whole numbers one after another, 4 ("i") or 8 ("q") bytes each, in a file or, for a test, in memory."""

    def __init__(self, source: Path | NDArray[np.integer], code: Literal["i", "q"]) -> None:
        self.dtype = np.dtype(_DTYPES[code])
        self._held = isinstance(source, np.ndarray)
        if isinstance(source, Path):
            self._file = os.open(source, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            self._size = os.fstat(self._file).st_size // self.dtype.itemsize
        else:
            self._array = np.ascontiguousarray(source, self.dtype)
            self._size = len(self._array)

    def __len__(self) -> int:
        return self._size

    def gather(self, starts: Sequence[int], counts: Sequence[int]) -> NDArray[np.integer]:
        """The numbers of some stretches, one stretch after another."""
        if self._held:
            found = [self._array[start : start + count] for start, count in zip(starts, counts, strict=True)]
            return np.concatenate([np.empty(0, self.dtype), *found])
        width = self.dtype.itemsize
        read = [os.pread(self._file, count * width, start * width) for start, count in zip(starts, counts, strict=True)]
        return np.frombuffer(b"".join(read), self.dtype)

    def read(self, start: int, stop: int) -> NDArray[np.integer]:
        return self.gather([start], [stop - start])

    @property
    def mapped(self) -> NDArray[np.integer]:
        """All of it as one array, which the kernel reads where it is looked at."""
        if self._held:
            return self._array
        if not self._size:
            return np.empty(0, self.dtype)
        return np.frombuffer(mmap.mmap(self._file, 0, access=mmap.ACCESS_READ), self.dtype)


class ColumnWriter:
    """A column that is being written; numbers are put into `held`, and flush() is called now and then."""

    def __init__(self, path: Path, code: Literal["i", "q"]) -> None:
        self.held = array(code)
        self.written = 0  # numbers, those that are held not among them
        self._path, self._code = path, code
        with _told(path):
            if path.is_file():
                path.unlink()  # and not emptied: whoever still reads it goes on with what it was
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._close = weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.written + len(self.held)

    def flush(self, at_least: int = _KEPT_BYTES) -> None:
        """Writes what is held where it is so many bytes. Raises DataError, naming the folder, where the disk is full."""
        if len(self.held) * self.held.itemsize < at_least:
            return
        rest = memoryview(self.held).cast("B")
        with _told(self._path):
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self.written += len(self.held)
        self.held = array(self._code)

    def close(self) -> Column:
        self.flush(0)
        self._close()
        return Column(self._path, self._code)


class _told:
    """An OSError becomes a DataError that says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise DataError(
                f"{self._path.parent}: the encoded texts cannot be kept there: {error.strerror or error}; "
                "they take about as much room as the texts: free some, or name another folder for the run"
            ) from error


class Samples:
    """Texts as ids, each with the index of its label (0 where it has none).

    Where words that the vocabulary (V ids) lacks are told apart, such a word's id is V + its row in a table of unknown words.
    """

    def __init__(self, ids: Column, ends: Column, lengths: Column, targets: Column, grams: Column | None, slots: int = 0) -> None:
        """ends: where each text's ids end; grams: the table of unknown words (D, slots), row after row."""
        self._ids, self._ends, self._lengths, self._targets = ids, ends, lengths, targets
        self._grams, self.slots = grams, slots

    @classmethod
    def of(cls, rows: Iterable[tuple[Sequence[int], int]], unknown_grams: Ints | None = None) -> "Samples":
        """In memory, for tests: (ids, target) each."""
        pairs = list(rows)
        lengths = np.array([len(ids) for ids, _ in pairs], np.int32)
        return cls(
            Column(np.array([word for ids, _ in pairs for word in ids], np.int32), "i"),
            Column(np.cumsum(lengths, dtype=np.int64), "q"),
            Column(lengths, "i"),
            Column(np.array([target for _, target in pairs], np.int32), "i"),
            None if unknown_grams is None else Column(unknown_grams.reshape(-1), "i"),
            0 if unknown_grams is None else unknown_grams.shape[1],
        )

    def __len__(self) -> int:
        return len(self._ends)

    def ids(self, row: int) -> Ints:
        starts, lengths = self.spans(np.array([row]))
        return self.gather(starts, lengths)

    def spans(self, rows: Longs) -> tuple[Longs, Ints]:
        """Where the ids of some texts begin among all, and how many they are."""
        first, counts = _stretches(rows)
        lengths = self._lengths.gather(first, counts).astype(np.int32, copy=False)
        return self._ends.gather(first, counts) - lengths, lengths

    def gather(self, starts: Longs, lengths: Ints) -> Ints:
        """The ids of some stretches, one stretch after another."""
        return self._ids.gather(starts.tolist(), lengths.tolist()).astype(np.int32, copy=False)

    def read(self, start: int, stop: int) -> Ints:
        """A stretch of all ids."""
        return self._ids.read(start, stop).astype(np.int32, copy=False)

    def targets_of(self, rows: Longs) -> Ints:
        return self._targets.gather(rows.tolist(), [1] * len(rows)).astype(np.int32, copy=False)

    def grams(self, rows: Longs) -> Ints:
        """The runs of characters (len(rows), slots) of some unknown words."""
        assert self._grams is not None, "these samples do not tell unknown words apart"
        found = self._grams.gather((rows * self.slots).tolist(), [self.slots] * len(rows))
        return found.astype(np.int32, copy=False).reshape(len(rows), self.slots)

    def with_targets(self, targets: Ints | Longs) -> "Samples":
        """The same texts with other targets (N)."""
        return Samples(self._ids, self._ends, self._lengths, Column(targets, "i"), self._grams, self.slots)

    @property
    def tells_unknown_apart(self) -> bool:
        return self._grams is not None

    @property
    def targets(self) -> Ints:
        """(N,)"""
        return self._targets.mapped.astype(np.int32, copy=False)

    @property
    def lengths(self) -> Ints:
        """Ids a text, (N,)."""
        return self._lengths.mapped.astype(np.int32, copy=False)

    @property
    def flat(self) -> Ints:
        """All ids one after another."""
        return self._ids.mapped.astype(np.int32, copy=False)

    @property
    def words(self) -> int:
        """All ids, those that only begin or end a text among them."""
        return len(self._ids)


class SamplesWriter:
    """Samples that are being written into files of one folder, named after their split."""

    def __init__(self, folder: Path, name: str, slots: int = 0) -> None:
        """slots: runs of characters of an unknown word; 0 where these are not told apart. Raises DataError."""
        self._ids = ColumnWriter(folder / f"{name}.ids", "i")
        self._ends = ColumnWriter(folder / f"{name}.ends", "q")
        self._lengths = ColumnWriter(folder / f"{name}.lengths", "i")
        self._targets = ColumnWriter(folder / f"{name}.targets", "i")
        self._grams = ColumnWriter(folder / f"{name}.grams", "i") if slots else None
        self._slots, self._unknown = slots, 0

    def add(self, ids: list[int], target: int) -> None:
        """Raises DataError where the disk is full."""
        self._ids.held.fromlist(ids)
        self._ends.held.append(len(self._ids))
        self._lengths.held.append(len(ids))
        self._targets.held.append(target)
        for column in (self._ids, self._ends, self._lengths, self._targets):
            column.flush()

    def add_unknown(self, grams: list[int]) -> int:
        """The row of an unknown word, described by the runs of its characters (slots). Raises DataError."""
        assert self._grams is not None
        self._grams.held.fromlist(grams)
        self._grams.flush()
        self._unknown += 1
        return self._unknown - 1

    def close(self, last: int | None = None) -> Samples:
        """What was written, to be read; last: an id that ends all texts together and is part of none. Raises DataError."""
        if last is not None and len(self._ends):
            self._ids.held.append(last)
        grams = None if self._grams is None else self._grams.close()
        return Samples(self._ids.close(), self._ends.close(), self._lengths.close(), self._targets.close(), grams, self._slots)


def _stretches(rows: Longs) -> tuple[list[int], list[int]]:
    """Rows as stretches of rows that follow one another: where each begins, and how many it has."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    first = np.concatenate([[0], breaks]) if len(rows) else breaks
    return rows[first].tolist(), np.diff(np.append(first, len(rows))).tolist()
