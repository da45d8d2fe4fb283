"""`python -m tests.bench.client`: the load generator. Reads a Job on standard input, writes a Result on standard output.

It must cost far less than what it measures: bytes that are ready go out, and of an answer only the end is looked for.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import NamedTuple, cast

import uvloop
from pydantic import TypeAdapter

from tests.bench.load import Job, LoadError, Request, Result, Tally

HEAD_END, CHUNKS_END, LENGTH, EVENT = b"\r\n\r\n", b"\r\n0\r\n\r\n", b"content-length: ", b"data:"


def read_head(received: bytearray) -> tuple[int, int | None]:
    """Where the body of an answer begins, 0 where its head is not all there yet; and its length, None where it comes in chunks."""
    end = received.find(HEAD_END)
    if end < 0:
        return 0, None
    body_at = end + len(HEAD_END)
    at = received.find(LENGTH, 0, body_at)
    return body_at, int(received[at + len(LENGTH) : received.index(b"\r", at)]) if at >= 0 else None


class Record(NamedTuple):
    """One request that was answered, or left; first_s: when the body began."""

    number: int
    started_s: float
    first_s: float
    ended_s: float
    events: int


class Load:
    """What the connections of one job share."""

    def __init__(self, job: Job) -> None:
        self._job, self._loop = job, asyncio.get_running_loop()
        self._wires = [(request.wire.encode(), request.leave_s) for request in job.requests]
        self._asked, self._open = 0, job.clients
        self._begun_s = time.perf_counter()
        self.begins_s = self._begun_s + (0.0 if job.seconds is None else job.warm_up_s)
        self.ends_s = float("inf") if job.seconds is None else self.begins_s + job.seconds
        self.records: list[Record] = []
        self.samples: dict[str, bytes] = {}
        self.refused: tuple[int, str] | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()

    def take(self) -> int | None:
        """The number of the next request; None where there is none left to send."""
        sent_once = self._job.seconds is None and self._asked >= len(self._wires)
        if sent_once or self.refused or time.perf_counter() >= self.ends_s:
            return None
        self._asked += 1
        return (self._asked - 1) % len(self._wires)

    def wire(self, number: int) -> tuple[bytes, float | None]:
        return self._wires[number]

    def connect(self) -> None:
        connecting = self._loop.create_task(self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port))
        connecting.add_done_callback(lambda done: self.fail(str(done.exception())) if done.exception() else None)

    def closed(self) -> None:
        """A connection has nothing more to ask; with the last one all is over."""
        self._open -= 1
        if not self._open and not self.over.done():
            self.over.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_exception(LoadError(reason))

    def answered(self, record: Record, status: bytes, body: bytes) -> None:
        kind = self._job.requests[record.number].kind
        if status != b"200":
            self.refused = self.refused or (int(status), f"{kind}: {body.decode(errors='replace')}")
        elif kind not in self.samples:
            self.samples[kind] = body
        self.records.append(record)


class Connection(asyncio.Protocol):
    """One client: a connection that is kept, with one request on it at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._leaving: asyncio.TimerHandle | None = None
        self._hung_up = self._done = False
        self._number, self._body_at = 0, 0
        self._received = bytearray()
        self._length: int | None = None  # where the answer comes in chunks
        self._started_s = self._first_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._body_at:
            self._body_at, self._length = read_head(self._received)
        if not self._body_at:
            return
        if not self._first_s and len(self._received) > self._body_at:
            self._first_s = time.perf_counter()
        if self._received.endswith(CHUNKS_END) if self._length is None else len(self._received) >= self._body_at + self._length:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        if self._hung_up:
            self._load.connect()
        elif self._done:
            self._load.closed()
        else:
            self._load.fail(f"the server closed a connection: {error}")

    def _ask(self) -> None:
        number = self._load.take()
        if number is None:
            self._done = True
            self._transport.close()
            return
        self._number, self._received, self._body_at, self._length, self._first_s = number, bytearray(), 0, None, 0.0
        wire, leave_s = self._load.wire(number)
        if leave_s is not None:
            self._leaving = asyncio.get_running_loop().call_later(leave_s, self._leave)
        self._started_s = time.perf_counter()
        self._transport.write(wire)

    def _answered(self) -> None:
        ended_s = time.perf_counter()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        events = self._received.count(EVENT) if self._length is None else 0
        record = Record(self._number, self._started_s, self._first_s, ended_s, events)
        self._load.answered(record, bytes(self._received[9:12]), bytes(self._received[self._body_at :]))
        self._ask()

    def _leave(self) -> None:
        self._hung_up = True
        self._transport.abort()


async def carry_out(job: Job) -> Result:
    load = Load(job)
    used_s, begun_s = time.process_time(), time.perf_counter()
    for _ in range(job.clients):
        load.connect()
    await load.over
    ended_s = time.perf_counter()
    busy = (time.process_time() - used_s) / (ended_s - begun_s)
    until_s = min(load.ends_s, ended_s)
    kinds = {request.kind: request for request in job.requests}
    tallies = {kind: tally(kind, job.requests, load, until_s) for kind in kinds}
    return Result(until_s - load.begins_s, busy, tallies, load.refused)


def tally(kind: str, requests: list[Request], load: Load, until_s: float) -> Tally:
    """Equal requests that run side by side end side by side: whole ones alone would make a short measurement a coarse one."""
    records = [record for record in load.records if requests[record.number].kind == kind and record.ended_s > load.begins_s]
    inside = [(min(r.ended_s, until_s) - max(r.started_s, load.begins_s)) / (r.ended_s - r.started_s) for r in records]
    whole = [record for record in records if record.started_s >= load.begins_s]
    return Tally(
        count=sum(inside),
        amount=sum(share * requests[record.number].amount for share, record in zip(inside, records, strict=True)),
        latencies_ms=[(record.ended_s - record.started_s) * 1000 for record in whole],
        first_ms=[(record.first_s - record.started_s) * 1000 for record in whole],
        events=sum(record.events for record in whole),
        sample=load.samples.get(kind, b"").decode(errors="replace"),
    )


def main() -> int:
    try:
        result = uvloop.run(carry_out(TypeAdapter(Job).validate_json(sys.stdin.buffer.read())))
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    json.dump(asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
