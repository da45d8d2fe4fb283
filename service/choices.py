"""Which version of each model is wanted; where several processes serve, in a file that they share. Loads nothing."""

import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from service.settings import NEWEST, Wanted


class Choices:
    """A table that starts as the settings have it and is changed by hand."""

    def __init__(self, table: Mapping[str, Wanted], shared: Path | None = None) -> None:
        """shared: the file in which other processes read what this one was told, and the other way round."""
        self._table, self._shared = dict(table), shared
        self.refresh()

    @property
    def pins(self) -> dict[str, int]:
        """The versions that are asked for by number."""
        return {name: wanted for name, wanted in sorted(self._table.items()) if isinstance(wanted, int)}

    def of(self, name: str) -> Wanted:
        return self._table.get(name, NEWEST)

    def set(self, name: str, wanted: Wanted) -> bool:
        """Whether another process had changed something meanwhile. Raises OSError where it cannot be told; then nothing changes."""
        if self._shared is None:
            self._table[name] = wanted
            return False
        with self._shared.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # or two that change different models would forget one
            others_chose = self.refresh()
            table = {**self._table, name: wanted}
            _write(self._shared, table)
            self._table = table
        return others_chose

    def refresh(self) -> bool:
        """Whether another process has changed something since the last look."""
        if self._shared is None:
            return False
        try:
            table = json.loads(self._shared.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False  # nobody has changed anything yet
        changed = table != self._table
        self._table = table
        return bool(changed)


def _write(path: Path, table: Mapping[str, Wanted]) -> None:
    """Whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(table, file)
    Path(name).replace(path)
