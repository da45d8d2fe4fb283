"""drips: hundreds of clients that send a byte now and then and never a request. Others do not notice, and each is shown out."""

import asyncio
import random
import time
from dataclasses import dataclass

from tests.soak.load import sending
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, Soak
from tests.soak.watch import watching

SHARE = 0.5
DRIPPING = 400
EVERY_S = 0.25
READ_TIMEOUT_S = 3.0
TWICE_S = 2 * READ_TIMEOUT_S + 2.0  # a body that is late is answered, and what still comes is late once more
LEAST_S = 15.0  # a third of it as usual
MOST_SLOWER = 2.0
HEADERS = b"POST /classify HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x-drip-%d: 1\r\n" % number for number in range(1000))
BODY = b'POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n{"inputs":"'


@dataclass(frozen=True)
class Drip:
    """How long a connection was let drip; None where it still was at the end."""

    kind: str
    seconds: float | None


def drips(soak: Soak) -> Result:
    findings = Findings("drips")
    with service(soak.work, MODELS, read_timeout_s=READ_TIMEOUT_S, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        soak.warm_up(running)
        idle = running.descriptors
        with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
            time.sleep((load.ends_s - time.monotonic()) / 3)
            begin_s = time.monotonic()
            found = asyncio.run(_drip(running))
            end_s = time.monotonic()
            records = load.wait()
        findings.none_failed(records)
        _check(findings, found)
        back = eventually(lambda: running.descriptors <= idle, TWICE_S)
        findings.promise("open files come back", f"{running.descriptors}, {idle} before", back)
        findings.clean_log(running.complaints)
    usual, during = records.due_within([(load.begins_s, begin_s)]), records.due_within([(begin_s, end_s)])
    most_ms = None if usual.p99_ms is None else MOST_SLOWER * usual.p99_ms
    findings.in_time("meanwhile the others are at most half as quick", during.p99_ms, most_ms)
    return findings.result(records, seen, usual.p99_ms, during.p99_ms)


async def _drip(running: Service) -> list[Drip]:
    """Half of them in the headers, half in the body."""
    return await asyncio.gather(*(_one(running.port, ("headers", "body")[number % 2]) for number in range(DRIPPING)))


async def _one(port: int, kind: str) -> Drip:
    """A byte at a time until the other end has closed."""
    await asyncio.sleep(random.Random().uniform(0, EVERY_S))
    began_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    closed = asyncio.ensure_future(_until_closed(reader))
    rest = HEADERS if kind == "headers" else b"x" * 5000
    if kind == "body":
        writer.write(BODY)
    try:
        for place in range(len(rest)):
            writer.write(rest[place : place + 1])
            done, _ = await asyncio.wait([closed], timeout=EVERY_S)
            if done:
                return Drip(kind, time.monotonic() - began_s)
            if time.monotonic() - began_s > TWICE_S + 5:
                break
        return Drip(kind, None)
    finally:
        closed.cancel()
        writer.transport.abort()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass


def _check(findings: Findings, found: list[Drip]) -> None:
    for kind, most_s in (("headers", READ_TIMEOUT_S + 2.0), ("body", TWICE_S)):
        taken_s = [drip.seconds for drip in found if drip.kind == kind]
        closed_s = [seconds for seconds in taken_s if seconds is not None]
        told = f"{len(closed_s)} of {len(taken_s)}, the last after {max(closed_s, default=0):.1f} s"
        in_time = len(closed_s) == len(taken_s) and max(closed_s) <= most_s
        findings.promise(f"who drips {kind} is closed within {most_s:g} s", told, in_time)
