"""Several processes of the service on one port: started, begun anew when one dies, and ended together. Loads no models itself.

Each has a socket of its own, among which the system shares out who connects: from one for all, whoever wakes first would take most.
"""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from service.http.listener import address, bind_share, bind_shares
from service.settings import PREFIX, Settings

log = logging.getLogger(__name__)

CHOICES = "choices.json"
WRONG = 2  # exit code of a worker whose settings ask for what cannot be had: no other one would fare better
SHORT_S = 10.0  # a worker that dies sooner than this is begun anew after a while
LONGEST_WAIT_S = 5.0
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


@dataclass
class Place:
    """Where a worker runs, or is to run from due_s on.

    Who connects to its listener while none runs is answered by the next one.
    """

    listener: socket.socket
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0
    due_s: float = 0.0
    wait_s: float = 0.0

    def put_off(self) -> None:
        """The next start; each time for longer."""
        self.wait_s = min(LONGEST_WAIT_S, 2 * self.wait_s + 0.1)
        self.due_s = time.monotonic() + self.wait_s


class Workers:
    """The processes, and what becomes of them."""

    def __init__(self, settings: Settings, listeners: Iterable[socket.socket], folder: Path, environment: dict[str, str]) -> None:
        """One a listener. folder: what they share: their metrics, and which versions are wanted."""
        self._places = [Place(listener) for listener in listeners]
        self._settings, self._folder, self._environment = settings, folder, environment
        # The workers read from it, and nobody ever writes: it ends when this process does, however that ends.
        self._lifeline, self._held = os.pipe()
        self._stopping, self._code = False, 0
        self._began_well = False  # the settings were good once: what is wrong now may pass

    def run(self) -> int:
        """Until a signal ends them all, or none can start. Returns the exit code."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            while not self._stopping or any(place.process for place in self._places):
                self._start_due(before)
                found = signal.sigtimedwait(_SIGNALS, self._seconds_to_next())
                if found is not None and found.si_signo != signal.SIGCHLD:
                    self._stop()
                self._look_after()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._code

    def _start_due(self, mask: Iterable[int]) -> None:
        now_s = time.monotonic()
        for place in self._places:
            if place.process is None and not self._stopping and place.due_s <= now_s:
                try:
                    place.began_s, place.process = now_s, self._start(place.listener.fileno(), mask)
                except (OSError, subprocess.SubprocessError) as error:  # no more files or memory: it may pass
                    place.put_off()
                    why = getattr(error, "strerror", None) or error
                    log.error("no worker can begin: %s; tried again after %.1f s", why, place.wait_s)

    def _start(self, listener: int, mask: Iterable[int]) -> subprocess.Popen[bytes]:
        lifeline = self._lifeline
        told = ["--listener", str(listener), "--lifeline", str(lifeline), "--shared", str(self._folder / CHOICES)]

        def unblock() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        return subprocess.Popen(  # nothing of it comes from outside  # noqa: S603  # nosec B603
            [sys.executable, "-m", "service", *told],
            env=self._environment,
            pass_fds=[listener, lifeline],
            preexec_fn=unblock,  # safe: this process has one thread
            start_new_session=True,  # Ctrl-C is for this process, which tells them; told twice, they would end at once
        )

    def _seconds_to_next(self) -> float:
        due = [place.due_s for place in self._places if place.process is None and not self._stopping]
        return max(0.0, min(due) - time.monotonic()) if due else 3600.0

    def _stop(self) -> None:
        """The first time each is asked to end well, the second time none is asked."""
        number = signal.SIGKILL if self._stopping else signal.SIGTERM
        self._stopping = True
        for place in self._places:
            place.listener.close()  # or who connects after it has gone would wait here for nobody
            if place.process is not None:
                place.process.send_signal(number)

    def _renew(self, place: Place) -> None:
        """Nobody is sent to its new listener until a worker listens."""
        try:
            another = bind_share(self._settings, place.listener.getsockname()[1])
        except OSError as error:
            log.error("who has connected waits for the next worker: no other listener can be had: %s", error.strerror or error)
            return
        place.listener.close()
        place.listener = another

    def _look_after(self) -> None:
        for place in self._places:
            if place.process is None or (code := place.process.poll()) is None:
                continue
            pid, lived_s = place.process.pid, time.monotonic() - place.began_s
            place.process = None
            mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
            self._began_well |= lived_s >= SHORT_S and code != WRONG  # which may take as long to find out
            if code == WRONG and not (self._stopping or self._began_well):
                self._code = WRONG
                self._stop()
            elif not self._stopping:
                self._begin_anew(place, lived_s)
                log.error("worker %d ended with %d after %.0f s; another one begins", pid, code, lived_s)

    def _begin_anew(self, place: Place, lived_s: float) -> None:
        if lived_s >= SHORT_S:
            place.wait_s, place.due_s = 0.0, time.monotonic()
            return
        if place.wait_s:  # it was begun anew already, and who connects must not wait for it again and again
            self._renew(place)
        place.put_off()


def supervise(settings: Settings) -> int:
    """Serves with settings.workers processes until a signal ends them. Returns the exit code. Raises SettingsError."""
    listeners = bind_shares(settings, settings.workers)
    with tempfile.TemporaryDirectory(prefix="seqserve-") as folder:
        key = settings.state_key.get_secret_value() if settings.state_key else secrets.token_hex(32)
        told = {"PROMETHEUS_MULTIPROC_DIR": folder, f"{PREFIX}STATE_KEY": key, f"{PREFIX}WORKERS": str(settings.workers)}
        log.info("running on %s with %d workers", address(settings, listeners[0]), settings.workers)
        return Workers(settings, listeners, Path(folder), {**os.environ, **told}).run()


def hold_on_to(lifeline: int) -> None:
    """In a worker: when the process that looks after it has died, it ends as if it had been told to."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="seqserve-lifeline", daemon=True).start()
