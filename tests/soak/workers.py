"""worker: one of two is killed under load. Its own connections break, nothing else does, and another one begins."""

import os
import signal
import socket
import time
from contextlib import ExitStack

import numpy as np

from tests.bench.load import LoadError
from tests.soak import proc
from tests.soak.ask import counted
from tests.soak.load import sending
from tests.soak.records import CLOSED, RESET, Records
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, Soak
from tests.soak.watch import watching

SHARE = 0.4  # two workers share one core here, and while one starts it takes half of it
COMES_BACK_WITHIN_S = 10.0
AT_ONCE_S = 0.5
LEAST_S = 12.0
KNOCKS, KNOCK_S = 32, 0.2  # connections that are held so long, to see who takes them


def worker(soak: Soak) -> Result:
    findings = Findings("worker")
    with service(soak.work, MODELS, workers=2, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        _wait_for_both(running)
        soak.warm_up(running)
        before = counted(running)
        with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
            time.sleep((load.ends_s - time.monotonic()) / 3)
            victim = _busiest(running)
            held, killed_s = proc.connections(victim, running.port), time.monotonic()
            os.kill(victim, signal.SIGKILL)
            came_back = eventually(lambda: len(set(_answering(running)) - {victim}) == 2, COMES_BACK_WITHIN_S)
            back_s = time.monotonic() - killed_s
            records = load.wait()
        _check_broken(findings, records, held, killed_s)
        findings.promise(f"another one answers within {COMES_BACK_WITHIN_S:g} s", f"{back_s:.1f} s", came_back)
        _check_totals(findings, running, before, records, held)
        findings.clean_log(running.complaints)
    usual = records.due_within([(load.begins_s, killed_s - 1.0)])
    return findings.result(records, seen, usual.p99_ms)


def _wait_for_both(running: Service) -> None:
    """Ready is said by whichever was ready first."""
    if not eventually(lambda: len(_answering(running)) == 2, 30):
        raise LoadError("two workers did not start")


def _workers(running: Service) -> list[int]:
    return running.processes[1:]


def _busiest(running: Service) -> int:
    return max(_workers(running), key=lambda pid: proc.connections(pid, running.port))


def _answering(running: Service) -> list[int]:
    """Workers that take connections."""
    with ExitStack() as stack:
        for _ in range(KNOCKS):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
        time.sleep(KNOCK_S)
        return [pid for pid in _workers(running) if proc.connections(pid, running.port)]


def _check_broken(findings: Findings, records: Records, held: int, killed_s: float) -> None:
    """Which connections are whose is not known to a client; how many the dead one held, and when it died, is."""
    failed = records.failed
    broken = np.isin(failed.status, (RESET, CLOSED)) & (np.abs(failed.ended_s - killed_s) < AT_ONCE_S)
    found = f"{len(failed)} requests on {held} connections{f': {records.faults()}' if len(failed) else ''}"
    findings.promise("only requests on its own connections fail", found, len(failed) <= held and bool(broken.all()))


def _check_totals(findings: Findings, running: Service, before: int, records: Records, held: int) -> None:
    """What the dead one had counted counts on. It may have sent what it then could not count, or counted what it could not send."""
    answered, failed = len(records.answered), len(records.failed)
    eventually(lambda: counted(running) - before >= answered, 5)
    found = counted(running) - before
    findings.promise(
        "the totals in /metrics go on", f"{found:,} of {answered:,} answered", answered - held <= found <= answered + failed
    )
