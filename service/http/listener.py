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
        return socket.create_server((settings.host, settings.port), family=_family(settings), backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"{settings.host}:{settings.port}: {_reason(error)}") from error


def check_address(settings: Settings) -> None:
    """Raises SettingsError where nobody could listen there; another one that does is no fault."""
    try:
        with socket.socket(_family(settings), socket.SOCK_STREAM) as probe:
            probe.bind((settings.host, 0))
    except OSError as error:
        raise SettingsError(f"SEQSERVE_HOST={settings.host}: {_reason(error)}") from error


def bind_shares(settings: Settings, count: int) -> list[socket.socket]:
    """So many sockets of one address, among which the system shares out who connects as soon as they listen; none does yet.

    Raises SettingsError as bind does.
    """
    with bind(settings) as taken:  # shared addresses can be taken twice: this one could not
        port = taken.getsockname()[1]
    try:
        return [bind_share(settings, port) for _ in range(count)]
    except OSError as error:
        raise SettingsError(f"{settings.host}:{port}: {_reason(error)}") from error


def bind_share(settings: Settings, port: int) -> socket.socket:
    """One more of them. Raises OSError."""
    family = _family(settings)
    share = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        share.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as bind() has it
    share.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    share.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    share.bind((settings.host, port))
    return share


def spread(listener: socket.socket) -> list[socket.socket]:
    """The same socket as many listeners."""
    return [listener, *(listener.dup() for _ in range(LISTENERS - 1))]


def address(settings: Settings, listener: socket.socket) -> str:
    """Where to reach it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _family(settings: Settings) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in settings.host else socket.AF_INET


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
