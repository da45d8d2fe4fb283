"""The service over real sockets: `python -m service` in a process of its own, as a person starts it, or in a thread of this one."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx2
import uvicorn
from starlette.types import ASGIApp

from service.http.server import server_config
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-m", "service"]


@dataclass(frozen=True)
class Server:
    """A service that answers on a free port of 127.0.0.1."""

    port: int
    client: httpx2.Client

    def metric(self, name: str, **labels: str) -> float:
        """The present value of one sample; 0 where it was never counted."""
        return sample(self.client.get("/metrics").text, name, **labels)


@dataclass(frozen=True)
class Process(Server):
    """A service in a process of its own."""

    popen: subprocess.Popen[str]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Sends the signal and waits for the end. Returns the exit code and what was logged after the start."""
        self.popen.send_signal(number)
        _, log = self.popen.communicate(timeout=60)
        return self.popen.returncode, log


def sample(metrics: str, name: str, **labels: str) -> float:
    """The sum of all samples with these labels in what /metrics tells; 0 where it was never counted."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    lines = (re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line) for line in metrics.splitlines())
    return sum(float(found[2]) for found in lines if found and wanted <= set((found[1] or "").split(",")))


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
            eventually(lambda: _listens(port))
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Process(port, client, popen)
        finally:
            if popen.poll() is None:
                popen.kill()


@contextmanager
def serving(app: ASGIApp, send_buffer: int | None = None, settings: Settings | None = None) -> Iterator[Server]:
    """An application of this process over real sockets, so that a test can reach into it.

    send_buffer: bytes that the system takes for a client that does not read them, where it is not to decide that itself.
    """
    listener = socket.create_server(("127.0.0.1", 0))  # who connects before the server accepts waits in its backlog
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    port = listener.getsockname()[1]
    server = uvicorn.Server(server_config(app, settings or Settings(), getattr(app, "gate", None)))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=httpx2.Limits(max_connections=100)) as client:
            yield Server(port, client)
    finally:
        server.should_exit = True
        thread.join(60)


def run(**settings: object) -> subprocess.CompletedProcess[str]:
    """A service that is expected to end by itself."""
    return command(**{"port": 0, **settings})


def command(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """`python -m service` with arguments that do not have it serve."""
    return subprocess.run([*START, *arguments], cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=60)


def eventually(condition: Callable[[], bool], within_s: float = 30) -> None:
    """Asks until condition holds, which must itself take some time: it is asked over HTTP."""
    end_s = monotonic() + within_s
    while not condition():
        assert monotonic() < end_s, f"it did not come to hold within {within_s} s"


def _listens(port: int) -> bool:
    """Of several workers none may, for a while."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        sleep(0.02)
        return False
    return True


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
