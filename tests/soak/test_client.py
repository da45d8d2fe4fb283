"""tests.soak.client: the open-loop load generator, against servers that are made to misbehave."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.bench.load import Request, post
from tests.soak.client import RESET_AT_CLOSE, carry_out
from tests.soak.load import Job
from tests.soak.records import ANOTHER_ANSWER, ANSWERED, BROKEN_STREAM, CLOSED, LEFT, NOT_CONNECTED, RESET, Records

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ASK = post("classify", "/classify", {"inputs": "a"})
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def told(answer: bytes) -> Answer:
    """A server that says the same to everyone, on connections that are kept."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await _read(reader)
            writer.write(answer)

    return serve


def load(answer: Answer, requests: list[Request] | None = None, per_s: float = 300.0, **changes: Any) -> Records:
    """What came of a third of a second of requests to such a server."""

    async def ask() -> Records:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(reader, writer)
            except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                pass
            finally:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await carry_out(Job(port, requests or [ASK], **{"per_s": per_s, "seconds": 0.33, "patience_s": 5.0, **changes}))

    return asyncio.run(ask())


def statuses(found: Records) -> set[int]:
    return set(found.status.tolist())


def test_every_request_is_sent_and_answered() -> None:
    found = load(told(OK))
    assert len(found) > 50
    assert statuses(found) == {ANSWERED}
    assert (found.ended_s >= found.sent_s).all()
    assert (found.sent_s >= found.due_s).all()


def test_requests_that_fall_due_while_a_server_stands_still_are_sent_all_the_same_and_their_wait_counts() -> None:
    """A client that waited for an answer before it asked again would have sent one, and found that nearly all were quick."""
    go_on, went_on_s = asyncio.Event(), list[float]()

    def move() -> None:
        went_on_s.append(time.monotonic())
        go_on.set()

    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not go_on.is_set():
            asyncio.get_running_loop().call_later(0.3, move)
        while True:
            await _read(reader)
            await go_on.wait()
            writer.write(OK)

    found = load(stand_still)
    assert statuses(found) == {ANSWERED}
    held_up = found.where(found.sent_s < went_on_s[0])
    assert len(held_up) > 20
    assert (held_up.ended_s >= went_on_s[0]).all()
    assert (held_up.latencies_ms >= (went_on_s[0] - held_up.due_s) * 1000).all()


def test_a_refusal_is_told_with_its_retry_after() -> None:
    found = load(told(b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"))
    assert len(found.refused) == len(found)
    assert found.retry.all()
    assert not load(told(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")).retry.any()


def test_what_a_failure_said_is_kept() -> None:
    found = load(told(b"HTTP/1.1 500 Oops\r\ncontent-length: 5\r\n\r\nbroke"))
    assert statuses(found) == {500}
    assert found.samples == {500: "broke"}


def test_a_connection_that_breaks_off_is_a_failure() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read(reader)

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read(reader)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        writer.transport.abort()

    assert statuses(load(close)) == {CLOSED}
    assert statuses(load(reset)) == {RESET}


def test_a_server_that_is_not_there_is_a_failure() -> None:
    async def ask() -> Records:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await carry_out(Job(port, [ASK], 100.0, 0.2))

    assert statuses(asyncio.run(ask())) == {NOT_CONNECTED}


def test_another_answer_to_the_same_question_is_a_failure() -> None:
    count = iter(range(10**6))

    async def change_its_mind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await _read(reader)
            writer.write(OK if next(count) < 20 else OK.replace(b"ok", b"no"))

    found = load(change_its_mind)
    assert statuses(found) == {ANSWERED, ANOTHER_ANSWER}
    assert len(found.answered) == 20


@pytest.mark.parametrize(("body", "status"), [(b"data:{}\n\n", ANSWERED), (b'data:{"error":"gone"}\n\n', BROKEN_STREAM)])
def test_a_stream_that_ends_with_an_error_is_a_failure(body: bytes, status: int) -> None:
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert statuses(load(told(chunks))) == {status}


def test_who_is_to_leave_resets_the_connection_and_counts_as_neither() -> None:
    ends: list[str] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read(reader)
        try:
            ends.append("closed" if not await reader.read() else "spoke")
        except ConnectionResetError:
            ends.append("reset")

    found = load(wait, [post("classify", "/classify", {"inputs": "a"}, leave_s=0.01)])
    assert statuses(found) == {LEFT}
    assert not len(found.failed)
    assert set(ends) == {"reset"}


def test_what_is_never_answered_is_a_failure_after_a_while() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    found = load(wait, patience_s=0.2)
    assert len(found.failed) == len(found)
    assert "no answer came" in found.faults()


def test_connections_are_kept_for_those_that_come_later() -> None:
    connections: list[object] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await told(OK)(reader, writer)

    found = load(count)
    assert len(connections) < len(found) / 2


def test_kinds_are_told_apart() -> None:
    other = post("generate", "/generate", {"inputs": "a"})
    found = load(told(OK), [ASK, other])
    assert found.kinds == ["classify", "generate"]
    assert np.array_equal(found.kind, np.arange(len(found)) % 2)
