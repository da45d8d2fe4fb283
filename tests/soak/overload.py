"""overload: three times what it carries. What is accepted is answered in time, the rest refused at once, then all is as before."""

from tests.soak.load import send
from tests.soak.mix import CLASSIFY, GENERATE, STREAM
from tests.soak.numbers import share_ms
from tests.soak.records import Records
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, service
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, Soak
from tests.soak.watch import watching

SHARE, USUAL_SHARE = 3.0, 0.5
REFUSED_MS = 100.0
SLACK = 4.0  # of what a full queue takes on average: a long text gives up its row to others, and waits again
MOST_SLOWER = 2.0
LEAST_ANSWERED = 0.7  # the rest of the processor refuses
MAX_WAITING = 128


def overload(soak: Soak) -> Result:
    findings = Findings("overload")
    with service(
        soak.work, MODELS, max_waiting=MAX_WAITING, max_requests=2 * MAX_WAITING, prefix_cache_bytes=PREFIX_CACHE_BYTES
    ) as running:
        soak.warm_up(running)
        usual = send(soak.job(running, USUAL_SHARE, soak.part_s, seed=2), soak.work)
        with watching(running) as seen:
            records, after = _too_much(soak, running)
        findings.none_failed(records, may_refuse=True)
        refused = records.refused
        findings.promise("what is too much is refused", f"{len(refused):,}", bool(len(refused)))
        findings.promise("every refusal tells when to come again", f"{int(refused.retry.sum()):,}", bool(refused.retry.all()))
        findings.in_time("refusals are quick", share_ms(refused.latencies_ms, 0.99), REFUSED_MS)
        for name, kinds in (("/classify", [CLASSIFY]), ("/generate", [GENERATE, STREAM])):
            _check_accepted(findings, records.of(*kinds), name, soak.part_s)
        share = len(records.answered) / soak.part_s / soak.per_s
        findings.promise(
            f"at least {LEAST_ANSWERED:.0%} of what it carries are answered", f"{share:.0%}", share >= LEAST_ANSWERED, of_time=True
        )
        findings.none_failed(after)
        findings.in_time("afterwards it is as quick as before", after.p99_ms, _times(MOST_SLOWER, usual.p99_ms))
        findings.clean_log(running.complaints)
    return findings.result(records, seen, usual.p99_ms)


def _too_much(soak: Soak, running: Service) -> tuple[Records, Records]:
    """The records of the overload, and of a usual load right after it."""
    records = send(soak.job(running, SHARE, soak.part_s), soak.work)
    return records, send(soak.job(running, USUAL_SHARE, soak.part_s, seed=3), soak.work)


def _check_accepted(findings: Findings, records: Records, name: str, seconds: float) -> None:
    """Of one model, which has a queue of its own: at this pace it is left after MAX_WAITING / pace, on average (Little's law)."""
    pace = len(records.answered) / seconds
    most_ms = 1000 * SLACK * MAX_WAITING / pace if pace else None
    findings.in_time(f"{name}: accepted, it waits no longer than a full queue does", records.p99_ms, most_ms)


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
