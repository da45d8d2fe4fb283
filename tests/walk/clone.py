"""A fresh clone of this repository, and somebody who types into it."""

import http.client
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.checkout import check_out

PORT = 8000  # the README's
LONGEST_S = 900.0


class Clone:
    """Commands run to their end, but for the one that serves: it stays until the next one takes its place."""

    def __init__(self, folder: Path) -> None:
        self._folder = check_out(folder)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEQSERVE_", "VIRTUAL_ENV"))}
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, line: str) -> str:
        """What a command says on standard output. It must end well."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=LONGEST_S
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def serve(self, line: str) -> None:
        """Until it is ready."""
        self.close()
        self._server = subprocess.Popen(["bash", "-c", line], cwd=self._folder, env=self._environment, start_new_session=True)
        ends_s = time.monotonic() + LONGEST_S
        while not _is_ready():
            assert self._server.poll() is None, f"{line} ended with {self._server.returncode}"
            assert time.monotonic() < ends_s, f"{line} was not ready in time"

    def close(self) -> None:
        """Ctrl-C."""
        if self._server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGINT)
            self._server.wait(60)
            self._server = None


def _is_ready() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        time.sleep(0.2)  # nobody listens yet, and nobody tells when
        return False
    finally:
        connection.close()
