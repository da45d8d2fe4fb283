"""The service as a person starts it: `python -m service` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx2

from service.settings import PREFIX

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-m", "service"]


@dataclass(frozen=True)
class Process:
    """A service that answers on a free port of 127.0.0.1."""

    popen: subprocess.Popen[str]
    port: int
    client: httpx2.Client

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Sends the signal and waits for the end. Returns the exit code and what was logged after the start."""
        self.popen.send_signal(number)
        _, log = self.popen.communicate(timeout=60)
        return self.popen.returncode, log

    def metric(self, name: str, **labels: str) -> float:
        """The present value of one sample; 0 where it was never counted."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.client.get("/metrics").text.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and wanted <= set((found[1] or "").split(",")):
                return float(found[2])
        return 0.0


def environment(**settings: object) -> dict[str, str]:
    """This environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return kept | {PREFIX + name.upper(): str(value) for name, value in settings.items()}


@contextmanager
def running(**settings: object) -> Iterator[Process]:
    """A service with these settings, started and answering; ended in any case."""
    with subprocess.Popen(START, cwd=ROOT, env=environment(**{"port": 0, **settings}), stderr=subprocess.PIPE, text=True) as popen:
        try:
            port = _port(popen)
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Process(popen, port, client)
        finally:
            if popen.poll() is None:
                popen.kill()


def run(**settings: object) -> subprocess.CompletedProcess[str]:
    """A service that is expected to end by itself."""
    return subprocess.run(START, cwd=ROOT, env=environment(**{"port": 0, **settings}), capture_output=True, text=True, timeout=60)


def eventually(condition: Callable[[], bool], within_s: float = 30) -> None:
    """Asks until condition holds, which must itself take some time: it is asked over HTTP."""
    end_s = monotonic() + within_s
    while not condition():
        assert monotonic() < end_s, f"it did not come to hold within {within_s} s"


def _port(popen: subprocess.Popen[str]) -> int:
    """Reads the log until the service says where it listens."""
    assert popen.stderr is not None
    read = []
    for line in popen.stderr:
        read.append(line)
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError(f"the service did not start: {''.join(read)}")
