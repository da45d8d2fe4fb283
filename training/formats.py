"""The file formats of a user's text as cells, a row at a time: each value as the file writes it, no type guessed.

Owns encodings, line ends and columns. Memory stays that of a few rows, whatever the size of the file. Knows nothing of what a text
or a label is for.
"""

import codecs
import csv
import glob
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, TextIO

import datasets

from training.config import DataConfig
from training.errors import DataError

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")

Cells = tuple[object, ...]  # of the columns that were asked for, in their order
Opener = Callable[[], Iterator[Cells]]  # each call reads the file from its beginning

_LONGEST_LINE = 2**24  # characters: what has no line ends would be held in memory as a whole
_BLOCK_BYTES = 2**22
_ROWS_TOGETHER = 1000  # of a parquet file


def open_table(path: Path, data: DataConfig, columns: list[str]) -> Opener:
    """Some columns of a file; of a .txt file, whose lines are all it has, one.

    Raises DataError, which lists the columns there are, or names the line that is not UTF-8; the readers' own errors as they come.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _open_parquet(path, columns)
    _check_encoding(path)
    if kind == ".txt":
        return partial(_read_txt, path)
    return _open_jsonl(path, columns) if kind == ".jsonl" else _open_csv(path, data, columns)


def find_columns(where: str, columns: list[str], names: list[str]) -> None:
    """Raises DataError, which lists the columns there are."""
    for column in columns:
        if column not in names:
            raise DataError(
                f"{where}: there is no column {column!r}; there are {', '.join(names)} "
                "(--text-column and --label-column name the right ones)"
            )
        if names.count(column) > 1:
            raise DataError(f"{where}: {names.count(column)} columns are called {column!r}")


def read_dataset(table: datasets.Dataset | datasets.IterableDataset, columns: list[str]) -> Iterator[Cells]:
    for batch in table.with_format("arrow").iter(batch_size=_ROWS_TOGETHER):
        yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)


def _check_encoding(path: Path) -> None:
    """Goes through the bytes once, so that a file in two encodings is refused before an hour is spent on its first half."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        if _looks_like_utf16(file.read(4096)):
            raise DataError(f"{path}: it is UTF-16 or UTF-32; save it as UTF-8 (iconv -f utf-16 -t utf-8)")
        file.seek(0)
        try:
            while block := file.read(_BLOCK_BYTES):
                decoder.decode(block)
                line += block.count(b"\n")
            decoder.decode(b"", True)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            raise DataError(
                f"{path}: line {line} is not UTF-8; save the file as UTF-8 (Korean from Windows: iconv -f cp949 -t utf-8)"
            ) from error


def _looks_like_utf16(head: bytes) -> bool:
    """By its mark, or because every second byte is NUL, as in Latin letters."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    pairs = len(head) // 2
    even, odd = head[: 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    return pairs > 0 and {even, odd} == {0, pairs}


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Raises DataError for one that is too long to hold."""
    for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), 1):
        if len(line) == _LONGEST_LINE and not line.endswith(("\r", "\n")):
            raise DataError(f"{path}: line {number} has {_LONGEST_LINE:,} characters or more; break it into lines")
        yield line


def _read_txt(path: Path) -> Iterator[Cells]:
    with path.open(encoding="utf-8-sig") as file:
        yield from zip(_lines(path, file))


def _open_jsonl(path: Path, columns: list[str]) -> Opener:
    names: dict[str, None] = {}
    for row in _read_objects(path):
        names |= dict.fromkeys(row)
        if names.keys() >= set(columns):
            return partial(_read_jsonl, path, columns)
    if not names:
        raise DataError(f"{path}: no row has any text")
    find_columns(str(path), columns, list(names))
    raise AssertionError("one of the columns was missing")


def _read_jsonl(path: Path, columns: list[str]) -> Iterator[Cells]:
    for row in _read_objects(path):
        yield tuple([_json_text(row.get(column)) for column in columns])


def _read_objects(path: Path) -> Iterator[dict[str, object]]:
    """Every number as text: a label 01 beside a 1 would become 1. Raises DataError with the line."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(_lines(path, file), 1):
            if not line.strip("\0 \t\r\n"):
                continue
            try:
                row = json.loads(line, parse_int=str, parse_float=str)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number} is no object")
            yield row


def _json_text(value: object) -> object:
    """Numbers came as text; a list or an object is left to whoever refuses it."""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        value.encode()  # half a character, which JSON can write as an escape, is no text: raises
    return value


def _open_parquet(path: Path, columns: list[str]) -> Opener:
    options = {"data_files": glob.escape(str(path)), "split": "train", "streaming": True, "batch_size": _ROWS_TOGETHER}
    _quieten()
    # "parquet" is no data set of the hub, but how these files here are read: there is no revision to pin.
    find_columns(str(path), columns, list(datasets.load_dataset("parquet", **options).column_names))  # nosec B615
    table = datasets.load_dataset("parquet", columns=list(dict.fromkeys(columns)), **options)  # nosec B615
    return partial(read_dataset, table, columns)


def _quieten() -> None:
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)


def _open_csv(path: Path, data: DataConfig, columns: list[str]) -> Opener:
    header = next(_read_cells(path), None)
    if header is None:
        raise DataError(f"{path}: no row has any text")
    # A preset's own file may have no header line where a user's has one: then the header is right.
    given = None if {data.text_column, data.label_column} & set(header) else data.columns
    if given and len(given) != len(header):
        raise DataError(f"{path}: data.columns names {len(given)} columns, the file has {len(header)}")
    # pandas writes its row numbers under no name.
    names = given or [name or f"column {place}" for place, name in enumerate(header, 1)]
    find_columns(str(path), columns, names)
    return partial(_read_csv, path, len(names), [names.index(column) for column in columns], begun=given is None)


def _read_csv(path: Path, width: int, places: list[int], begun: bool) -> Iterator[Cells]:
    """begun: the first row is the header. Raises DataError for a row with more cells than there are columns."""
    rows = _read_cells(path)
    if begun:
        next(rows)
    for row in rows:
        if len(row) > width and any(row[width:]):
            raise DataError(f"{path}: a row has {len(row)} cells where there are {width} columns: {','.join(row)[:60]!r}")
        yield tuple([row[place] if place < len(row) else "" for place in places])


def _read_cells(path: Path) -> Iterator[list[str]]:
    """The rows of a .csv or .tsv file that are not blank, its header among them. Raises DataError for a quote that never closes."""
    plain = path.suffix.lower() == ".tsv"
    # A tsv file's quotes are part of the text; a csv file's stand around it.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    csv.field_size_limit(_LONGEST_LINE)  # the library's own is less than what a text may have
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Ending(_lines(path, file))
        for row in csv.reader(lines, delimiter="\t" if plain else ",", quoting=quoting):
            if lines.ended:  # it asked for a line more than there are: it was within quotes
                raise DataError(f"{path}: a quote is opened and never closed, in the row that begins {','.join(row)[:60]!r}")
            if row:
                yield row


class _Ending:
    """Lines, and whether one more was asked for after the last."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.ended = lines, False

    def __iter__(self) -> "_Ending":
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.ended = True
            raise
