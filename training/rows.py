"""One source of a user's text as rows, alike from every format: each text and label as the source writes it.

Owns what a row is, and that a source can be gone through again and again without ever being held in memory. Knows neither the
formats (training.formats, training.hub) nor splits, ids or models.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from training import formats, hub
from training.config import DataConfig
from training.errors import DataError

T = TypeVar("T")


class Row(NamedTuple):
    """A text and, for classification, its label as the file writes it."""

    text: str
    label: str | None


class MendedRow(Row):
    """A row in which NUL characters were read as spaces."""

    __slots__ = ()


class Rows:
    """The rows of one source that have any text, read afresh each time they are gone through.

    Going through them raises DataError where the source cannot be read, where no row has any text or where one has no label.
    """

    def __init__(self, where: str, label_column: str, cells: Callable[[], Iterator[formats.Cells]]) -> None:
        self._where, self._label_column, self._cells = where, label_column, cells

    def __iter__(self) -> Iterator[Row]:
        found = False
        with told_in_one_line(self._where):
            for cells in self._cells():
                row = _row(cells)
                if not row.text:
                    continue
                if row.label == "":
                    raise DataError(f"{self._where}: some rows have no {self._label_column}")
                found = True
                yield row
        if not found:
            raise DataError(f"{self._where}: no row has any text")


def read_rows(source: str, data: DataConfig, labelled: bool) -> Iterable[Row]:
    """The rows of a .txt, .csv, .tsv, .jsonl or .parquet file, or of hub:NAME[:CONFIGURATION][:SPLIT], that have any text.

    Raises DataError where the file is missing, empty, of another format, in another encoding or without the columns; what shows
    only further on (a broken line, a row without a label) is raised when the rows are gone through.
    """
    columns = [data.text_column, data.label_column] if labelled else [data.text_column]
    with told_in_one_line(source):
        if hub.is_hub(source):
            return Rows(source, data.label_column, hub.open_table(source, columns))
        path = Path(source)
        _check(path, labelled)
        return Rows(source, data.label_column, formats.open_table(path, data, columns))


def evenly(rows: Iterable[T], count: int, most: int) -> Iterator[T]:
    """Of count rows at most so many: each, or every second one, or third, ..., as a file may be sorted."""
    return islice(rows, 0, None, max(1, -(-count // most)))


@contextmanager
def told_in_one_line(where: str) -> Iterator[None]:
    """What any reader raises becomes a DataError of one line that names the source."""
    try:
        yield
    except DataError as error:
        if where in str(error):
            raise
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # the readers raise whatever their parsers do
        cause = error.__cause__ or error
        told = getattr(cause, "strerror", None) or str(cause).strip() or repr(cause)
        raise DataError(f"{where}: cannot be read: {told.splitlines()[0]}") from error


def _check(path: Path, labelled: bool) -> None:
    kind = path.suffix.lower()
    if kind not in formats.SUFFIXES:
        raise DataError(f"{path}: not one of {', '.join(formats.SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if labelled and kind == ".txt":
        raise DataError(f"{path}: a .txt file has no labels; classification needs .csv, .tsv, .jsonl or .parquet")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")


def _row(cells: formats.Cells) -> Row:
    """Raises DataError for a cell that is neither text nor number."""
    text = _as_text(cells[0])
    label = _as_text(cells[1]) if len(cells) > 1 else None
    if "\0" not in text and (label is None or "\0" not in label):
        return Row(text, label)
    return MendedRow(_without_nul(text), None if label is None else _without_nul(label))


def _without_nul(text: str) -> str:
    return text.replace("\0", " ").strip()


def _as_text(value: object) -> str:
    """A cell as text, nothing for one that is missing. Raises DataError for what is neither text nor number."""
    if isinstance(value, str):
        return value.strip()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside a missing one come as fractions
    if not isinstance(value, int | float):
        raise DataError(f"a cell holds a {type(value).__name__}, which is neither text nor number: {str(value)[:60]}")
    return str(value)
