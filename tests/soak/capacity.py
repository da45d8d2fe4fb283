"""capacity: what one core carries, of the mix and of each kind of request. All other scenarios send a share of it."""

from pathlib import Path
from typing import NamedTuple

from tests.bench.figure import spread
from tests.bench.load import Job, Request, run_load
from tests.soak.mix import CLASSIFY, GENERATE, STREAM, WORDS, Mix
from tests.soak.result import Findings, Result, disturbed
from tests.soak.serving import Service, service
from tests.soak.soak import MODELS
from tests.soak.watch import watching

CLIENTS = (1, 4, 16, 64, 128)  # who each send the next request when they have an answer
ALIKE_CLIENTS = 32
TOLD = {
    CLASSIFY: "/classify, a sentence of 3 to 30 words",
    GENERATE: f"/generate, {WORDS} words",
    STREAM: f"/generate_stream, {WORDS} words",
}


class Round(NamedTuple):
    """What so many clients got, requests a second."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    answered: int


def capacity(work: Path, mix: Mix, requests: list[Request], round_s: float) -> tuple[float, Result]:
    """The most requests of the mix a second, and what else was found."""
    findings = Findings("capacity")
    with service(work, MODELS) as running, watching(running) as seen:
        start_mb = running.memory_mb
        rounds = [_round(running, requests, clients, round_s) for clients in CLIENTS]
        full_mb = running.memory_mb
        alike = {kind: _round(running, mix.alike(kind), ALIKE_CLIENTS, round_s).per_s for kind in TOLD}
        findings.clean_log(running.complaints)
    best = max(rounds, key=lambda found: found.per_s)
    findings.promise("every request is answered with 200", f"{sum(found.answered for found in rounds):,}", True)  # or it had raised
    findings.notes += [f"{found.clients:>4} clients: {found.per_s:,.0f} requests/s, p99 {found.p99_ms:,.1f} ms" for found in rounds]
    findings.notes += [f"one core: {TOLD[kind]}: {per_s:,.0f} requests/s" for kind, per_s in alike.items()]
    count = sum(found.answered for found in rounds)
    result = Result(
        *("capacity", count, count),
        p50_ms=best.p50_ms,
        p99_ms=best.p99_ms,
        before_mb=start_mb,
        after_mb=full_mb,
        peak_mb=full_mb,
        promises=findings.promises,
        notes=findings.notes,
        disturbed=disturbed(seen.others, None),
    )
    return best.per_s, result


def _round(running: Service, requests: list[Request], clients: int, seconds: float) -> Round:
    found = run_load(Job(running.port, clients, requests, seconds))
    latencies_ms = [latency for tally in found.kinds.values() for latency in tally.latencies_ms]
    per_s = sum(tally.count for tally in found.kinds.values()) / found.seconds
    return Round(clients, per_s, *spread(latencies_ms), len(latencies_ms))
