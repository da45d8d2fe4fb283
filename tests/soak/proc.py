"""What Linux tells of processes and cores. Knows no service."""

import os
from pathlib import Path

from tests.bench.process import PROC

MB = 1e6
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER, _NICE, _SYSTEM, _STEAL = 0, 1, 2, 7  # of a core, in /proc/stat; waiting and interrupts are nobody's work
_ESTABLISHED = "01"


def children(pid: int) -> list[int]:
    """Of its first thread, which starts all."""
    return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def resident_mb(pid: int) -> float:
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB


def descriptors(pid: int) -> int:
    """Open files and connections."""
    return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())


def connections(pid: int, port: int) -> int:
    """Connections to this port of ours that the process has accepted and not closed."""
    held = {link for path in (PROC / str(pid) / "fd").iterdir() if (link := _link(path)).startswith("socket:")}
    rows = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if row[3] == _ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port]
    return sum(f"socket:[{row[9]}]" in held for row in ours)


def used_s(pid: int) -> float:
    """Seconds of processor of all its threads, and of its children that have ended."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) * _TICK_S


def core_used_s(core: int) -> float:
    """Seconds that a core has worked, for whomever."""
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            return sum(int(fields[place]) for place in (_USER, _NICE, _SYSTEM, _STEAL)) * _TICK_S
    raise LookupError(f"there is no core {core}")


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile
        return ""
