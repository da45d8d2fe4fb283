"""What the processes that serve on one port count and what they use of the machine, added up. Knows no requests."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

_BEGAN = "process_start_time_seconds"  # of which a sum would say nothing
_CPU = "process_cpu_seconds"
_USER, _SYSTEM = 13, 14  # of the children that have ended, after the command's name in /proc/PID/stat; see proc(5)


class Totals(Collector):
    """What all have counted."""

    def __init__(self, folder: Path) -> None:
        """folder: where the workers write their metrics."""
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Without those that have only begun to write: prometheus-client fails on a file that is empty yet."""
        written = [str(path) for path in self._folder.glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(written, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


class Processes(Collector):
    """The figures that prometheus-client has of one process, of every worker and of the one that looks after them."""

    def __init__(self, folder: Path, supervisor: int) -> None:
        """folder: where the workers write their metrics."""
        self._folder, self._supervisor = folder, supervisor

    def collect(self) -> Iterable[Metric]:
        """Once each, whichever worker is asked."""
        found: dict[str, Metric] = {}
        for pid in (self._supervisor, *self._workers()):
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                _add(found.setdefault(metric.name, metric), metric)
        if _CPU in found:  # which must not fall where a worker has ended
            _increase(found[_CPU], self._ended_seconds())
        return found.values()

    def _workers(self) -> list[int]:
        """Those of which something is told; the files of one that died are removed."""
        return [int(path.stem.rpartition("_")[2]) for path in self._folder.glob("gauge_livemax_*.db")]

    def _ended_seconds(self) -> float:
        try:
            stat = Path(f"/proc/{self._supervisor}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat.rpartition(")")[2].split()
        return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its process has just died
        return 0


def _add(total: Metric, metric: Metric) -> None:
    if total is metric:
        return
    value = metric.samples[0].value
    if metric.name == _BEGAN:
        total.samples[0] = total.samples[0]._replace(value=min(total.samples[0].value, value))
    else:
        _increase(total, value)


def _increase(metric: Metric, value: float) -> None:
    metric.samples[0] = metric.samples[0]._replace(value=metric.samples[0].value + value)
