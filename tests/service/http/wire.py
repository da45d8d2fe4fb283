"""Requests over bare sockets: clients that leave, or do not read."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.service.http.ask import PROMPT
from tests.service.process import Server


@contextmanager
def connect(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        yield connection


def send(connection: socket.socket, body: dict[str, Any], path: str = "/generate", headers: str = "") -> None:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)


def receive(connection: socket.socket) -> bytes:
    """The body of the answer, which must be a good one."""
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer[:500]
    return body


def chunks_joined(body: bytes) -> bytes:
    """A body that came in chunks, without their sizes; it must be whole."""
    joined = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        joined += body[:count]
        assert body[count : count + 2] == b"\r\n"
        body = body[count + 2 :]
        if not count:
            assert body == b""
            return joined


def drawn(seed: int, words: int) -> dict[str, Any]:
    """A request whose every word counts: a slip anywhere changes all that follows."""
    return {"inputs": PROMPT, "parameters": {"seed": seed, "do_sample": True, "max_new_tokens": words, "details": True}}
