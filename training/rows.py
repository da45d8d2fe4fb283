"""One file of a user's text as rows, alike from every format: each text and label as the file writes it.

Owns the formats, and keeps their readers from guessing types. Knows no splits, no ids and no model.
"""

import csv
import glob
import json
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import datasets

from training.config import DataConfig
from training.errors import DataError

_BUILDERS = {".txt": "text", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".parquet": "parquet"}


class Row(NamedTuple):
    """A text and, for classification, its label as the file writes it."""

    text: str
    label: str | None


def read_rows(path: Path, data: DataConfig, labelled: bool) -> list[Row]:
    """The rows of one .txt, .csv, .tsv, .jsonl or .parquet file that have any text. Raises DataError."""
    if path.suffix.lower() not in _BUILDERS:
        raise DataError(f"{path}: not one of {', '.join(_BUILDERS)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if labelled and path.suffix.lower() == ".txt":
        raise DataError(f"{path}: a .txt file has no labels; classification needs .csv, .tsv, .jsonl or .parquet")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    columns = [data.text_column, data.label_column] if labelled else [data.text_column]
    table = _read_table(path, data, columns)
    texts = [_as_text(value) for value in table[columns[0]]]
    labels: Iterable[str | None] = map(_as_text, table[columns[1]]) if labelled else [None] * len(texts)
    rows = [Row(text, label) for text, label in zip(texts, labels, strict=True) if text.strip()]
    if not rows:
        raise DataError(f"{path}: no row has any text")
    if any(label == "" for _, label in rows):
        raise DataError(f"{path}: some rows have no {data.label_column}")
    return rows


def _read_table(path: Path, data: DataConfig, columns: list[str]) -> dict[str, list[object]]:
    """Some columns of a file. Raises DataError, which lists the columns there are."""
    try:
        table = _read_jsonl(path) if path.suffix.lower() == ".jsonl" else _load(path, data)
    except DataError:
        raise
    except Exception as error:  # the builders raise whatever their parsers do
        if "corresponds to no data" in str(error):
            raise DataError(f"{path}: no row has any text") from error
        cause = error.__cause__ or error
        raise DataError(f"{path}: cannot be read: {(str(cause).strip() or repr(cause)).splitlines()[0]}") from error
    for column in columns:
        if column not in table.column_names:
            raise DataError(
                f"{path}: there is no column {column!r}; there are {', '.join(table.column_names)} "
                "(--text-column and --label-column name the right ones)"
            )
    return {column: table[column][:] for column in columns}


def _load(path: Path, data: DataConfig) -> datasets.Dataset:
    with tempfile.TemporaryDirectory(prefix="seqserve-data-") as cache:
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)
        return datasets.load_dataset(
            _BUILDERS[path.suffix.lower()],
            data_files=glob.escape(str(path)),
            split="train",
            cache_dir=cache,
            keep_in_memory=True,
            **_options(path, data),
        )


def _read_jsonl(path: Path) -> datasets.Dataset:
    """Every value as text: datasets' own reader makes times of texts that look like dates, and 1 of a label 01 beside a 1."""
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line, parse_int=str, parse_float=str) for line in file if line.strip()]
    if not rows:
        raise DataError(f"{path}: no row has any text")
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("not every line is an object")
    names = dict.fromkeys(name for row in rows for name in row)
    return datasets.Dataset.from_dict({name: [_json_text(row.get(name)) for row in rows] for name in names})


def _json_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _options(path: Path, data: DataConfig) -> dict[str, object]:
    kind = path.suffix.lower()
    if kind == ".txt":
        return {"encoding": "utf-8-sig"}
    return _csv_options(path, data) if kind in (".csv", ".tsv") else {}


def _csv_options(path: Path, data: DataConfig) -> dict[str, object]:
    """Everything is read as text: pandas would turn a review that says NA into nothing, and the label 01 into 1."""
    plain = path.suffix.lower() == ".tsv"
    separator = "\t" if plain else ","
    # A tsv file's quotes are part of the text; a csv file's stand around it.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file, delimiter=separator, quoting=quoting), [])
    # A preset's own file may have no header line where a user's has one: then the header is right.
    columns = None if {data.text_column, data.label_column} <= set(header) else data.columns
    if columns and len(columns) != len(header):
        raise DataError(f"{path}: data.columns names {len(columns)} columns, the file has {len(header)}")
    # pandas writes its row numbers under no name.
    names = columns or [name or f"column {place}" for place, name in enumerate(header, 1)]
    return {
        "sep": separator,
        "quoting": quoting,
        "index_col": False,  # pandas would take cells that are too many for an index, and shift every column
        "features": datasets.Features({name: datasets.Value("string") for name in names}),
        "na_filter": False,
        "encoding": "utf-8-sig",
        "column_names": names,
        "header": None if columns else 0,
    }


def _as_text(value: object) -> str:
    """A cell as text, nothing for one that is missing. Raises DataError for what is neither text nor number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside a missing one come as fractions
    if not isinstance(value, str | int | float):
        raise DataError(f"a cell holds a {type(value).__name__}, which is neither text nor number: {str(value)[:60]}")
    return str(value).strip()
