"""Connections to a service in another network namespace: made by a thread that enters it for that moment.

There is no proxy and no port of this machine in between, so that what a client sees is what the service did.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

PORT = 8000
CONNECTIONS = 100
CLONE_NEWNET = 0x40000000  # setns(2)
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """The network of a process. It can be entered until close(), even when that process has ended."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)

    def close(self) -> None:
        os.close(self._descriptor)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is inside; what it opens there stays there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._descriptor)
            yield
        finally:
            _enter(own)
            os.close(own)

    def client(self, **options: Any) -> httpx2.Client:
        """Asks what listens there on PORT."""
        return httpx2.Client(base_url=f"http://127.0.0.1:{PORT}", transport=_Transport(self), timeout=60, **options)


class _Backend(httpcore2.SyncBackend):
    def __init__(self, network: Network) -> None:
        self._network = network

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore2.NetworkStream:
        with self._network.entered():
            return super().connect_tcp(*arguments, **options)


class _Transport(httpx2.HTTPTransport):
    """httpx2 has no option for how connections are made; the pool that it stands on has."""

    def __init__(self, network: Network) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore2.ConnectionPool(network_backend=_Backend(network), max_connections=CONNECTIONS)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
