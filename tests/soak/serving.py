"""The service as it is started for good, on a core of its own. Needs Linux."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import LoadError
from tests.bench.process import SERVER_CORE, Server, free_port, pin, wait_until_ready
from tests.bench.subject import ROOT
from tests.service.process import environment
from tests.soak import proc

LONGEST_END_S = 40


@dataclass(frozen=True)
class Service(Server):
    """`python -m service`, ready."""

    log: Path

    def total(self, name: str, **labels: str) -> float:
        """The present sum of a metric's samples with these labels; 0 where none was ever counted."""
        return total(self.ask("GET", "/metrics")[1].decode(), name, **labels)

    @property
    def processes(self) -> list[int]:
        """Its own, and those of its workers."""
        return [self.popen.pid, *proc.children(self.popen.pid)]

    @property
    def memory_mb(self) -> float:
        """The resident sets of all its processes."""
        return sum(proc.resident_mb(pid) for pid in self.processes)

    @property
    def descriptors(self) -> int:
        return sum(proc.descriptors(pid) for pid in self.processes)

    @property
    def used_s(self) -> float:
        """Seconds of processor of all its processes, those that have ended too."""
        return sum(proc.used_s(pid) for pid in self.processes)

    @property
    def complaints(self) -> list[str]:
        """Lines of the log that tell of a fault of its own."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if re.search(r"Traceback|\bCRITICAL\b|\bcritical\b", line)]


def total(metrics: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", metrics, re.MULTILINE)
    return sum(float(value) for told, value in found if wanted <= set(told.split(",")))


@contextmanager
def service(
    folder: Path, models: Path, before: Callable[[], None] | None = None, extra: dict[str, str] | None = None, **settings: object
) -> Iterator[Service]:
    """Started, ready, and ended in any case. folder: for its log.

    before: called in the new process before it is the service; extra: variables of its environment that are no settings.
    """
    port, log = free_port(), folder / f"service-{time.monotonic_ns()}.log"
    variables = environment(**{"port": port, "models": models, "threads": 1, **settings}) | (extra or {})
    with log.open("wb") as written:
        popen = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=variables, stderr=written, preexec_fn=before)
    pin(popen.pid, SERVER_CORE)
    try:
        running = Service(popen, port, log)
        _wait_until_ready(running)
        yield running
    finally:
        end(popen)


def _wait_until_ready(running: Service) -> None:
    try:
        wait_until_ready(running)
    except SystemExit as error:  # one scenario less is no end of all
        raise LoadError(f"{error}; the log ends with {running.log.read_text(errors='replace')[-500:]}") from None


def end(popen: subprocess.Popen[bytes]) -> None:
    """As an orchestrator does: it is asked, and then it is not."""
    workers = proc.children(popen.pid) if popen.poll() is None else []
    popen.send_signal(signal.SIGTERM)
    try:
        popen.wait(LONGEST_END_S)
    finally:
        if popen.poll() is None:
            popen.kill()
            popen.wait()
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], within_s: float, every_s: float = 0.02) -> bool:
    """Whether condition came to hold in time; asked again and again, for nobody tells when it does."""
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= end_s:
            return False
        time.sleep(every_s)
    return True
