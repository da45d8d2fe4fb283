"""Looks into the models folder again and again, off the request path. Knows no models.

It asks in place of being told: a volume that is mounted from elsewhere tells nobody of what is written to it.
"""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Watch:
    """Calls look every interval_s seconds, in a thread of its own, from start() to stop()."""

    def __init__(self, look: Callable[[], None], interval_s: float) -> None:
        """interval_s: 0 for never."""
        self._look, self._interval_s = look, interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seqserve-watch", daemon=True)

    def start(self) -> None:
        if self._interval_s:
            self._thread.start()

    def stop(self) -> None:
        """Returns when no look is under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self._look()
            except Exception:
                log.exception("the models folder could not be looked through")
