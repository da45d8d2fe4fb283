"""Data sets of the Hugging Face hub, and folders that `datasets` can load, as cells. Knows the names hub:NAME and hub:NAME:SPLIT.

The library keeps what it downloads as Arrow files in its own cache and maps them, so memory stays flat.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import datasets

from training.errors import DataError
from training.formats import Cells, find_columns, read_dataset

_PREFIX = "hub:"
_NAMES = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}  # what authors call our splits


def is_hub(source: str) -> bool:
    return source.startswith(_PREFIX)


def folder_of(source: str) -> Path | None:
    """The folder of this machine that a source names; None for a data set of the hub itself."""
    name, _ = _parse(source)
    return Path(name) if Path(name).exists() else None


def find_split(source: str, split: str) -> str | None:
    """hub:NAME:SPLIT for our train, valid or test, whatever its author calls it; None where there is none.

    A source that names its split is that split alone. Raises whatever `datasets` does.
    """
    name, named = _parse(source)
    if named is not None:
        return source if split == "train" else None
    there = _load(name)
    return next((f"{_PREFIX}{name}:{found}" for found in _NAMES[split] if found in there), None)


def open_table(source: str, columns: list[str]) -> Callable[[], Iterator[Cells]]:
    """Some columns of one split, train where none is named. A class that is stored as a number comes as its name.

    Raises DataError, which lists the columns or the splits there are, and whatever `datasets` does.
    """
    name, split = _parse(source)
    there = _load(name)
    if (split or "train") not in there:
        raise DataError(f"{source}: there is no split {split or 'train'!r}; there are {', '.join(there)}")
    table = there[split or "train"]
    find_columns(source, columns, list(table.column_names))
    classes = [_class_names(table.features[column]) for column in columns]
    return partial(_read, table.select_columns(list(dict.fromkeys(columns))), columns, classes)


def _parse(source: str) -> tuple[str, str | None]:
    """The data set, and the split that the source names."""
    rest = source.removeprefix(_PREFIX)
    name, colon, split = rest.rpartition(":")
    return (name, split) if colon and split.isidentifier() and not Path(rest).exists() else (rest, None)


def _load(name: str) -> datasets.DatasetDict:
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets.load_dataset(name)


def _class_names(feature: object) -> list[str] | None:
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _read(table: datasets.Dataset, columns: list[str], classes: list[list[str] | None]) -> Iterator[Cells]:
    for cells in read_dataset(table, columns):
        yield tuple([_named(cell, names) for cell, names in zip(cells, classes, strict=True)])


def _named(cell: object, names: list[str] | None) -> object:
    if names is None or not isinstance(cell, int):
        return cell
    return names[cell] if cell >= 0 else None  # -1 is a row without a class
