"""The versions that lie in the models folder, and which of them are worth a try. Loads nothing.

Publishing is atomic, but people also copy folders: one is tried when it has stopped changing, and one that was refused again only
when something in it has changed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service import artifact

Fingerprint = tuple[tuple[str, int, int], ...]


class Refused(NamedTuple):
    """A version's folder that does not serve."""

    name: str
    version: int
    reason: str


class Shelf:
    """Remembers how every folder looked when it was last seen, and when it was refused."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._seen: dict[Path, Fingerprint] = {}
        self._refused: dict[Path, tuple[Fingerprint, Refused]] = {}

    @property
    def refused(self) -> list[Refused]:
        """By name, the highest version first."""
        return sorted((refused for _, refused in self._refused.values()), key=lambda refused: (refused.name, -refused.version))

    def versions(self) -> Iterator[tuple[str, list[Path]]]:
        """Every model's name and folders, the highest version first. Raises OSError where the folder cannot be read."""
        found = list(artifact.versions(self._models))
        there = {folder for _, folders in found for folder in folders}
        self._seen = {folder: seen for folder, seen in self._seen.items() if folder in there}
        self._refused = {folder: refused for folder, refused in self._refused.items() if folder in there}
        yield from found

    def folder(self, name: str, version: int) -> Path:
        return self._models / name / str(version)

    def settled(self, folder: Path) -> bool:
        """Whether the folder looks as it did the last time it was asked for."""
        now = fingerprint(folder)
        before, self._seen[folder] = self._seen.get(folder), now
        return before == now

    def is_refused(self, folder: Path) -> bool:
        """Whether it was refused, and nothing in it has changed since."""
        found = self._refused.get(folder)
        return found is not None and found[0] == fingerprint(folder)

    def refuse(self, folder: Path, reason: str) -> None:
        self._refused[folder] = (fingerprint(folder), Refused(folder.parent.name, int(folder.name), reason))

    def accept(self, folder: Path) -> None:
        """It serves: what was said of it before is forgotten."""
        self._refused.pop(folder, None)


def fingerprint(folder: Path) -> Fingerprint:
    """Names, sizes and times of what is in a folder; empty where it cannot be looked into."""
    try:
        return tuple(sorted((path.name, (status := path.stat()).st_size, status.st_mtime_ns) for path in folder.iterdir()))
    except OSError:
        return ()
