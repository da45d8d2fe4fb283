"""A memory cgroup of our own, of version 1 or 2, if the machine lets us make one. Knows no service."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
EMPTIES_WITHIN_S = 5.0


class NoGroup(Exception):
    """None can be made here; says why."""


@dataclass(frozen=True)
class Names:
    """What the files of one version are called; anonymous: in memory.stat."""

    folder: Path
    limit: str
    peak: str
    anonymous: str


VERSIONS = (
    Names(MOUNT / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "total_rss"),
    Names(MOUNT, "memory.max", "memory.peak", "anon"),
)


@dataclass(frozen=True)
class Group:
    """Processes that share a limit."""

    folder: Path
    names: Names

    def enter(self) -> None:
        """The process that calls this is in it from now on."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def peak_bytes(self) -> int:
        """The most that counted towards the limit, pages of files included, which are given back where they are in the way."""
        return int((self.folder / self.names.peak).read_text())

    @property
    def anonymous_bytes(self) -> int:
        """What cannot be given back."""
        return self._told("memory.stat", self.names.anonymous)

    @property
    def killed(self) -> int:
        """Processes that were killed for memory."""
        version_1 = self.folder / "memory.oom_control"
        return self._told(version_1.name if version_1.exists() else "memory.events", "oom_kill")

    def _told(self, file: str, name: str) -> int:
        lines = (line.split() for line in (self.folder / file).read_text().splitlines())
        return next(int(value) for key, value in lines if key == name)


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Group]:
    """Raises NoGroup."""
    names = next((names for names in VERSIONS if (names.folder / "cgroup.procs").exists()), None)
    if names is None:
        raise NoGroup(f"{MOUNT} has none")
    group = Group(names.folder / f"seqserve-soak-{os.getpid()}", names)
    try:
        group.folder.mkdir()
    except OSError as error:
        raise NoGroup(str(error)) from error
    try:
        _limit(group, limit_bytes)
        yield group
    finally:
        _remove(group.folder)


def _limit(group: Group, limit_bytes: int) -> None:
    try:
        (group.folder / group.names.limit).write_text(str(limit_bytes))
    except OSError as error:
        raise NoGroup(str(error)) from error


def _remove(folder: Path) -> None:
    """A process that has ended may still be counted for a moment."""
    end_s = time.monotonic() + EMPTIES_WITHIN_S
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
        else:
            return
