"""How the application is served: uvicorn with uvloop and httptools, what it must not do for us, and how it ends."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from service.http.connection import bounded
from service.http.drain import Drain
from service.http.gate import Gate
from service.http.listener import BACKLOG, spread
from service.settings import Settings

log = logging.getLogger(__name__)

QUIET_S = 0.3  # without a request until connections are closed: who has just read an answer to the end may be asking again
LAST_S = 2.0  # that answers have to get out when every request has ended


class Server(uvicorn.Server):
    """Told to stop, it answers what runs and refuses what comes, until nothing runs or the time is over; told twice, it ends."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float, end_all: Callable[[], None]) -> None:
        """end_all: gives every request that is still running its end."""
        super().__init__(config)
        self._drain, self._drain_s, self._end_all = drain, drain_s, end_all
        self._busy_s = self._ends_s = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain.begun:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
            os._exit(128 + sig)  # the first process of a container is not ended by a signal that it does not handle
        log.info("told to stop: %d requests are running", self._drain.running)
        self._drain.begin()
        self._busy_s = time.monotonic()
        self._ends_s = self._busy_s + self._drain_s

    async def on_tick(self, counter: int) -> bool:
        if self._drain.begun and not self.should_exit:
            now_s = time.monotonic()
            if self._drain.running:
                self._busy_s = now_s
            if now_s - self._busy_s >= QUIET_S:
                self.should_exit = True
            elif now_s >= self._ends_s:
                log.warning("%d requests have run for longer than SEQSERVE_DRAIN_S after the signal", self._drain.running)
                await asyncio.to_thread(self._end_all)
                self.should_exit = True
        return await super().on_tick(counter)


def serve(config: uvicorn.Config, drain: Drain, drain_s: float, end_all: Callable[[], None], listener: socket.socket) -> None:
    """Answers who connects to a socket that listens, until a signal ends it."""
    with suppress(KeyboardInterrupt):
        Server(config, drain, drain_s, end_all).run(spread(listener))


def server_config(app: ASGIApp, settings: Settings, gate: Gate | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        backlog=BACKLOG,
        http=bounded(settings.max_header_bytes, settings.read_timeout_s, gate),
        ws="none",  # an upgrade would take the connection away from ours
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_graceful_shutdown=cast(int, LAST_S),
    )
