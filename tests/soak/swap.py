"""swap: new versions come every few seconds, under load, and nobody notices."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.soak.ask import begin_state, go_on, serving
from tests.soak.load import Running, sending
from tests.soak.records import Records
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import PREFIX_CACHE_BYTES, Soak
from tests.soak.versions import NAMES, next_version, shelf
from tests.soak.watch import watching

SHARE = 0.5
POLL_S = 0.5
BETWEEN_S = 2.0  # while nothing is swapped
SERVES_WITHIN_S = 20.0
LEAVES_S = 0.3  # in which the old version answers what it had accepted
LEAST_S = 16.0
ASK_EVERY_S = 0.1  # or the asking is what is measured
MOST_SLOWER = 2.0
MOST_MORE_MB = 40.0  # pages of the memory that two versions beside each other took, and that is used again


@dataclass(frozen=True)
class Swap:
    """Of one model, from when its version lay there until it served and the old one was gone, monotonic seconds."""

    name: str
    begin_s: float
    end_s: float
    served: bool


def swap(soak: Soak) -> Result:
    findings = Findings("swap")
    models = shelf(soak.work / "swap")
    with service(soak.work, models, poll_s=POLL_S, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        soak.warm_up(running)
        state = begin_state(running)
        job = soak.job(running, SHARE, max(soak.part_s, LEAST_S))
        with watching(running) as seen, sending(job, soak.work) as load:
            swaps = _swap_again_and_again(running, models, load)
            records = load.wait()
        findings.none_failed(records)
        findings.promise("every version serves", f"{len(swaps)}", len(swaps) > 1 and all(swap.served for swap in swaps))
        status = go_on(running, state)
        findings.promise("a state of the old version gets 409", f"{status}", status == 409)
        during, usual = _compare(findings, records, swaps, load.begins_s)
        more_mb = seen.last_mb - seen.first_mb
        findings.promise(f"at most {MOST_MORE_MB:.0f} MB are kept of all that went", f"{more_mb:+.0f} MB", more_mb <= MOST_MORE_MB)
        findings.clean_log(running.complaints)
    return findings.result(records, seen, usual.p99_ms, during.p99_ms)


def _swap_again_and_again(running: Service, models: Path, load: Running) -> list[Swap]:
    """A generator and a classifier in turn."""
    swaps: list[Swap] = []
    while time.monotonic() + 2 * BETWEEN_S < load.ends_s:
        time.sleep(BETWEEN_S)
        name = NAMES[len(swaps) % len(NAMES)]
        version, begin_s = next_version(models, name), time.monotonic()
        served = eventually(lambda name=name, version=version: serving(running, name) == version, SERVES_WITHIN_S, ASK_EVERY_S)  # type: ignore[misc]
        swaps.append(Swap(name, begin_s, time.monotonic() + LEAVES_S, served))
    return swaps


def _compare(findings: Findings, records: Records, swaps: list[Swap], begin_s: float) -> tuple[Records, Records]:
    """Requests that were due during a swap, and those between: of the same run, so that a slow machine is slow for both."""
    ends_s = [begin_s, *(swap.end_s for swap in swaps)]
    usual = records.due_within([(end_s, swap.begin_s) for end_s, swap in zip(ends_s, swaps, strict=False)])
    during = records.due_within([(swap.begin_s, swap.end_s) for swap in swaps])
    most_ms = None if usual.p99_ms is None else MOST_SLOWER * usual.p99_ms
    findings.in_time("during a swap it is at most half as quick", during.p99_ms, most_ms)
    for name in NAMES:
        these = records.due_within([(swap.begin_s, swap.end_s) for swap in swaps if swap.name == name])
        taken_s = [swap.end_s - swap.begin_s for swap in swaps if swap.name == name]
        if taken_s and these.p99_ms is not None:
            findings.notes.append(f"{name}: a swap takes {sum(taken_s) / len(taken_s):.1f} s, p99 meanwhile {these.p99_ms:,.1f} ms")
    return during, usual
