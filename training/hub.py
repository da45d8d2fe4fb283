"""Data sets of the Hugging Face hub, and folders that `datasets` can load, as cells.

Knows the names hub:NAME, hub:NAME:SPLIT, hub:NAME:CONFIGURATION and hub:NAME:CONFIGURATION:SPLIT.
The library keeps what it downloads as Arrow files in its own cache and maps them, so memory stays flat.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import datasets

from training.config import HUB
from training.errors import DataError
from training.formats import Cells, find_columns, read_dataset

_NAMES = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}  # what authors call our splits


class _Opened(NamedTuple):
    """A data set, what stands before the names of its splits, and the one that the source names."""

    splits: datasets.DatasetDict
    before: str
    named: str | None


def is_hub(source: str) -> bool:
    return source.startswith(HUB)


def folder_of(source: str) -> Path | None:
    """The folder of this machine that a source names; None for a data set of the hub itself."""
    name, _ = _parse(source)
    return Path(name) if Path(name).exists() else None


def find_split(source: str, split: str) -> str | None:
    """hub:NAME:SPLIT for our train, valid or test, whatever its author calls it; None where there is none.

    A source that names its split is that split alone. Raises DataError, and whatever `datasets` does.
    """
    opened = _open(source)
    if opened.named is not None:
        return source if split == "train" else None
    return next((f"{opened.before}:{found}" for found in _NAMES[split] if found in opened.splits), None)


def open_table(source: str, columns: list[str]) -> Callable[[], Iterator[Cells]]:
    """Some columns of one split, train where none is named. A class that is stored as a number comes as its name.

    Raises DataError, which lists the columns, the splits or the configurations there are, and whatever `datasets` does.
    """
    opened = _open(source)
    split = opened.named or "train"
    if split not in opened.splits:
        raise DataError(f"{source}: there is no split {split!r}; there are {', '.join(opened.splits)}")
    table = opened.splits[split]
    find_columns(source, columns, list(table.column_names))
    classes = [_class_names(table.features[column]) for column in columns]
    return partial(_read, table.select_columns(list(dict.fromkeys(columns))), columns, classes)


def _parse(source: str) -> tuple[str, list[str]]:
    """The data set, and what the source names of it: a configuration, a split, or both. A folder may have colons of its own."""
    name, parts = source.removeprefix(HUB), list[str]()
    while len(parts) < 2 and not Path(name).exists():
        rest, colon, part = name.rpartition(":")
        if not colon or not part or "/" in part:
            break
        name, parts = rest, [part, *parts]
    return name, parts


def _open(source: str) -> _Opened:
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    name, parts = _parse(source)
    known = datasets.get_dataset_config_names(name)
    if len(parts) == 2 or (parts and parts[0] in known):
        config, parts = parts[0], parts[1:]
    else:
        config = known[0] if len(known) == 1 else datasets.get_dataset_default_config_name(name)
    if config not in known:
        raise DataError(f"{source}: which configuration? there are {', '.join(known)}; write {HUB}{name}:{known[0]}")
    before = f"{HUB}{name}:{config}" if len(known) > 1 else f"{HUB}{name}"
    # Which revision is whoever names the data set's business; what was read is told by its fingerprint, and no code of it is run.
    return _Opened(datasets.load_dataset(name, config), before, parts[0] if parts else None)  # nosec B615


def _class_names(feature: object) -> list[str] | None:
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _read(table: datasets.Dataset, columns: list[str], classes: list[list[str] | None]) -> Iterator[Cells]:
    for cells in read_dataset(table, columns):
        yield tuple([_named(cell, names) for cell, names in zip(cells, classes, strict=True)])


def _named(cell: object, names: list[str] | None) -> object:
    if names is None or not isinstance(cell, int):
        return cell
    return names[cell] if cell >= 0 else None  # -1 is a row without a class
