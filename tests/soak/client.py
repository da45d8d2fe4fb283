"""`python -m tests.soak.client JOB OUT`: the open-loop load generator. Reads a Job, writes Records, and says when it begins.

It must cost far less than what it measures: bytes that are ready go out, and of an answer little more than its end is looked for.
"""

import asyncio
import math
import socket
import struct
import sys
import time
import zlib
from array import array
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
import uvloop
from pydantic import TypeAdapter

from tests.bench.client import CHUNKS_END, read_head
from tests.soak import records
from tests.soak.arrivals import poisson
from tests.soak.load import Job, write
from tests.soak.records import Records

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
MOST_CONNECTIONS = 8000
IDLE_S = 2.0  # a server closes what was idle for longer; to send at that moment is nobody's fault
RETRY, ERROR_EVENT = b"\r\nretry-after: ", b'data:{"error"'
SAMPLE_BYTES = 300


class Load:
    """What the connections of one job share."""

    def __init__(self, job: Job) -> None:
        self._job, self._loop = job, asyncio.get_running_loop()
        self.requests = job.requests
        self.wires = [request.wire.encode() for request in job.requests]
        self.due = poisson(job.per_s, job.seconds, job.seed)
        count = len(self.due)
        nothing = array("d", [math.nan]) * count
        self.sent_s, self.ended_s = nothing[:], nothing[:]
        self.status, self.retry = array("h", [records.UNANSWERED]) * count, bytearray(count)
        self.samples: dict[int, str] = {}
        self.answers: dict[int, int] = {}
        self._idle: list[Connection] = []
        self._open, self._next, self._running = 0, 0, 0
        self.over = asyncio.Event()

    def begin(self) -> float:
        self._due_s: list[float] = (self.due + time.monotonic() + 0.05).tolist()
        self._pump()
        return self._due_s[0] - float(self.due[0]) if self._due_s else time.monotonic()

    def number(self, place: int) -> int:
        """Which request stands at a place of the order."""
        return place % len(self.requests)

    def ended(self, place: int, status: int, said: bytes = b"") -> None:
        """Called once for every place."""
        self.ended_s[place], self.status[place] = time.monotonic(), status
        if status != records.ANSWERED and status not in self.samples and said:
            self.samples[status] = said[:SAMPLE_BYTES].decode(errors="replace")
        self._running -= 1
        if not self._running and self._next == len(self._due_s):
            self.over.set()

    def idle(self, connection: "Connection") -> None:
        self._idle.append(connection)

    def closed(self, connection: "Connection") -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def records(self, begun_s: float) -> Records:
        kinds = sorted({request.kind for request in self.requests})
        places = [kinds.index(request.kind) for request in self.requests]
        of = np.array(places, np.int16)[np.arange(len(self.due)) % len(places)]
        return Records(
            kinds=kinds,
            kind=of,
            due_s=self.due + begun_s,
            sent_s=np.array(self.sent_s),
            ended_s=np.array(self.ended_s),
            status=np.array(self.status, np.int16),
            retry=np.frombuffer(bytes(self.retry), np.uint8).astype(bool),
            samples=self.samples,
        )

    def _pump(self) -> None:
        """Sends all that is due."""
        while self._next < len(self._due_s) and self._due_s[self._next] <= time.monotonic():
            self._next += 1
            self._running += 1
            self._send(self._next - 1)
        if self._next < len(self._due_s):
            self._loop.call_later(max(0.0, self._due_s[self._next] - time.monotonic()), self._pump)

    def _send(self, place: int) -> None:
        self.sent_s[place] = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and time.monotonic() - connection.idle_since_s < IDLE_S:
                connection.ask(place)
                return
            connection.close()
        if self._open >= MOST_CONNECTIONS:
            self.ended(place, records.NOT_CONNECTED)
            return
        self._open += 1
        self._loop.create_task(self._connect(place))

    async def _connect(self, place: int) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port)
        except OSError as error:
            self._open -= 1
            self.ended(place, records.NOT_CONNECTED, str(error).encode())
        else:
            connection.ask(place)


class Connection(asyncio.Protocol):
    """One request on it at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._place: int | None = None
        self._length: int | None = None  # where the answer comes in chunks
        self._leaving: asyncio.TimerHandle | None = None
        self.idle_since_s = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, place: int) -> None:
        load, number = self._load, self._load.number(place)
        self._place, self._received, self._body_at, self._length = place, bytearray(), 0, None
        leave_s = load.requests[number].leave_s
        if leave_s is not None:
            self._leaving = asyncio.get_running_loop().call_later(leave_s, self._leave)
        self._transport.write(load.wires[number])

    def close(self) -> None:
        self._transport.close()

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._body_at:
            self._body_at, self._length = read_head(self._received)
        if not self._body_at:
            return
        if self._received.endswith(CHUNKS_END) if self._length is None else len(self._received) >= self._body_at + self._length:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.closed(self)
        if self._place is not None:
            place, self._place = self._place, None
            self._stay()
            self._load.ended(place, records.RESET if error is not None else records.CLOSED)

    def _answered(self) -> None:
        self._stay()
        place, self._place = self._place, None
        assert place is not None  # nothing comes where nothing was asked
        head, body = bytes(self._received[: self._body_at]), bytes(self._received[self._body_at :])
        status = int(head[9:12])
        self._load.retry[place] = RETRY in head
        if status == records.ANSWERED:
            status = self._judge(self._load.number(place), body)
        self._load.ended(place, status, body)
        if self._load.requests[self._load.number(place)].leave_s is not None:
            self.close()  # who meant to leave may not have sent all of it
        elif b"\r\nconnection: close" not in head:
            self.idle_since_s = time.monotonic()
            self._load.idle(self)

    def _judge(self, number: int, body: bytes) -> int:
        """Equal questions have equal answers. How a stream is cut into chunks and events depends on the moment."""
        if self._length is None:
            return records.BROKEN_STREAM if ERROR_EVENT in body else records.ANSWERED
        found = zlib.crc32(body)
        return records.ANSWERED if self._load.answers.setdefault(number, found) == found else records.ANOTHER_ANSWER

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _leave(self) -> None:
        place, self._place, self._leaving = self._place, None, None
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._transport.abort()
        assert place is not None  # who has an answer stays
        self._load.ended(place, records.LEFT)


async def carry_out(job: Job) -> Records:
    load = Load(job)
    begun_s = load.begin()
    print(begun_s, flush=True)
    with suppress(TimeoutError):  # what has no answer by then says so
        async with asyncio.timeout(job.seconds + job.patience_s):
            await load.over.wait()
    return load.records(begun_s)


def main() -> int:
    told, out = (Path(argument) for argument in sys.argv[1:])
    job = TypeAdapter(Job).validate_json(told.read_bytes())
    write(out, uvloop.run(carry_out(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
