"""The port: bound once, and how connections are taken from it. Knows no requests."""

import logging
import socket

from service.errors import SettingsError
from service.settings import Settings

log = logging.getLogger(__name__)

BACKLOG = 2048  # connections that the system holds until they are taken
# uvloop takes one connection from each listener in a round of its loop. Under load a round is long, and new clients would wait in
# front of the door for longer than the queue behind it lets anyone wait.
LISTENERS = 64


def bind(settings: Settings) -> socket.socket:
    """A socket that listens at the settings' address. Raises SettingsError where somebody else does, or nobody can."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"{settings.host}:{settings.port}: {(error.strerror or str(error)).lower()}") from error


def spread(listener: socket.socket) -> list[socket.socket]:
    """The same socket as many listeners."""
    listener.setblocking(False)  # or its doubles would set it to block, also for the processes that share it and may be accepting
    return [listener, *(listener.dup() for _ in range(LISTENERS - 1))]


def address(settings: Settings, listener: socket.socket) -> str:
    """Where to reach it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"
