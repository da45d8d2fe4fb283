"""steady: for minutes at 80% of what it carries, with no error, no growth and no slowing down."""

from tests.soak.load import send
from tests.soak.numbers import growth, tenths
from tests.soak.result import Findings, Result
from tests.soak.serving import service
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, Soak
from tests.soak.watch import watching

SHARE = 0.8
MOST_GROWTH = 0.03
SETTLED = 3  # after a third of the time the tables of known words are full
MOST_SLOWER = 2.0  # the last third's p99 to the first's


def steady(soak: Soak) -> Result:
    findings = Findings("steady")
    with service(soak.work, MODELS, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        soak.warm_up(running, SHARE)
        with watching(running) as seen:
            records = send(soak.job(running, SHARE, soak.steady_s), soak.work)
        findings.none_failed(records)
        grown = growth(seen.memory_mb[len(seen.memory_mb) // SETTLED :])
        findings.notes.append(f"memory, MB, ten times from begin to end: {', '.join(f'{mb:.0f}' for mb in tenths(seen.memory_mb))}")
        findings.promise(f"memory grows by less than {MOST_GROWTH:.0%}", f"{grown:+.1%}", grown < MOST_GROWTH)
        begin_s, third_s = float(records.due_s.min()), soak.steady_s / 3
        first, last = (records.due_within([(begin_s + at * third_s, begin_s + (at + 1) * third_s)]) for at in (0, 2))
        most_ms = None if first.p99_ms is None else MOST_SLOWER * first.p99_ms
        findings.in_time("the last third is as quick as the first", last.p99_ms, most_ms)
        findings.clean_log(running.complaints)
    return findings.result(records, seen, first.p99_ms, last.p99_ms)
