"""What the open-loop load generator is told, and the call that runs one in a process of its own. Knows no scenario."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.bench.load import LoadError, Request
from tests.bench.process import LOAD_CORE, pin
from tests.bench.subject import ROOT
from tests.soak.records import Records


@dataclass(frozen=True)
class Job:
    """Requests that go round, due at the times of a Poisson process, whether or not others were answered.

    patience_s: how long answers are waited for after the last request was due.
    """

    port: int
    requests: list[Request]
    per_s: float
    seconds: float
    seed: int = 1
    patience_s: float = 70.0


class Running:
    """A load that is being sent. begins_s, monotonic: what its first request's time counts from."""

    def __init__(self, popen: subprocess.Popen[str], begins_s: float, job: Job, out: Path) -> None:
        self._popen, self._job, self._out = popen, job, out
        self.begins_s, self.ends_s = begins_s, begins_s + job.seconds

    def wait(self) -> Records:
        """Until every request has ended. Raises LoadError where the load generator broke."""
        if self._popen.wait(self._job.seconds + self._job.patience_s + 60):
            raise LoadError("the load generator broke")
        return read(self._out)


@contextmanager
def sending(job: Job, folder: Path) -> Iterator[Running]:
    """The load is under way inside the block, and ended after it. folder: for what is told and found."""
    told, out = folder / f"job-{job.seed}.json", folder / f"records-{job.seed}.npz"
    told.write_text(json.dumps(asdict(job)), encoding="utf-8")
    command = [sys.executable, "-m", "tests.soak.client", str(told), str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as popen:
        pin(popen.pid, LOAD_CORE)
        try:
            assert popen.stdout is not None
            begun = popen.stdout.readline()
            if not begun:
                raise LoadError("the load generator did not begin")
            yield Running(popen, float(begun), job, out)
        finally:
            popen.kill()


def send(job: Job, folder: Path) -> Records:
    """The whole load."""
    with sending(job, folder) as running:
        return running.wait()


def read(path: Path) -> Records:
    with np.load(path) as found:
        samples = {int(status): said for status, said in json.loads(str(found["samples"])).items()}
        columns = {name: found[name] for name in ("kind", "due_s", "sent_s", "ended_s", "status", "retry")}
        return Records(kinds=[str(kind) for kind in found["kinds"]], samples=samples, **columns)


def write(path: Path, records: Records) -> None:
    columns = {name: getattr(records, name) for name in ("kind", "due_s", "sent_s", "ended_s", "status", "retry")}
    samples = json.dumps({str(status): said for status, said in records.samples.items()})
    np.savez(path, kinds=np.array(records.kinds), samples=np.array(samples), **columns)
