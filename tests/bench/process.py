"""The processes of a measurement, each on a core of its own where there are two: servers on the first, load on the last."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.subject import ROOT, Subject
from tests.service.process import environment

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CORE, LOAD_CORE = 0, -1
START_TIMEOUT_S = 60
PROC = Path("/proc")  # what a process uses is read here; only Linux has it


@dataclass(frozen=True)
class Server:
    """A server process that answers."""

    popen: subprocess.Popen[bytes]
    port: int

    @property
    def cpu_s(self) -> float:
        """Seconds of processor that all its threads have used, in its own code and in the kernel."""
        fields = (PROC / str(self.popen.pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        return int((PROC / str(self.popen.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request outside any measurement. Raises OSError where nobody listens yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def server(module: str, **settings: object) -> Iterator[Server]:
    """`python -m module` with these settings, ready; ended in any case."""
    port = free_port()
    variables = environment(port=port, threads=1, log_level="warning", **settings)
    popen = start([sys.executable, "-m", module], SERVER_CORE, variables)
    try:
        running = Server(popen, port)
        wait_until_ready(running)
        yield running
    finally:
        popen.terminate()
        popen.wait(30)


def service(models: Path, subject: Subject, **settings: object) -> AbstractContextManager[Server]:
    return server("service", models=models, generate_model=subject.generate, classify_model=subject.classify, **settings)


def start(
    command: list[str], core: int, variables: dict[str, str] | None = None, pipe: int | None = None
) -> subprocess.Popen[bytes]:
    """A process that is pinned before it has loaded anything."""
    popen = subprocess.Popen(command, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, stderr=pipe)
    pin(popen.pid, core)
    return popen


def pin(process: int, core: int) -> None:
    if CORES:
        os.sched_setaffinity(process, {CORES[core]})


@contextmanager
def on_server_core() -> Iterator[None]:
    """What runs here runs where the server does, and is measured against it."""
    pin(0, SERVER_CORE)
    try:
        yield
    finally:
        pin(0, LOAD_CORE)


def wait_until_ready(running: Server) -> None:
    """Asks often, for the time until it is ready is a figure too."""
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s and running.popen.poll() is None:
        try:
            if running.ask("GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise SystemExit(
        f"error: {running.popen.args!r} was not ready after {START_TIMEOUT_S} s, or ended (exit code {running.popen.poll()})"
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
