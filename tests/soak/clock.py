"""clock: the wall clock jumps by an hour, forwards and back, while requests run. Deadlines, looks and answers do not care.

libfaketime shifts what the process takes for the wall clock, and leaves the monotonic one alone, as setting a machine's time does.
"""

import threading
import time
from pathlib import Path

from tests.soak.ask import serving, timed, wall_clock_s
from tests.soak.load import sending
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import PREFIX_CACHE_BYTES, Soak
from tests.soak.versions import NAMES, next_version, shelf
from tests.soak.watch import watching

SHARE = 0.2
HOUR_S = 3600
LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
SEEN_WITHIN_S = 5.0
DEADLINE_S, LATEST_S = 1.0, 2.0  # how long a request may take, and when it must have been told so
SERVES_WITHIN_S = 15.0
LEAST_S = 12.0
# More words than can be written in that time.
TOO_MUCH: dict[str, object] = {
    "inputs": ["오늘"] * 16,
    "parameters": {"max_new_tokens": 512, "best_of": 4, "temperature": 5.0, "seed": 1},
}


def clock(soak: Soak) -> Result:
    library = next(iter(sorted(Path("/").glob(LIBRARIES.lstrip("/")))), None)
    if library is None:
        return Result("clock", skipped="libfaketime is not installed (apt install libfaketime)")
    findings = Findings("clock")
    models, told = shelf(soak.work / "clock"), soak.work / "faketime"
    _set(told, 0)
    extra = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(told)}
    extra |= {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    with service(soak.work, models, extra=extra, poll_s=0.5, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        soak.warm_up(running)
        with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
            for hours in (1, -1, 0):
                _jump(findings, running, told, hours)
            version = next_version(models, NAMES[1])
            served = eventually(lambda: serving(running, NAMES[1]) == version, SERVES_WITHIN_S)
            findings.promise("a new version is found afterwards", "", served)
            records = load.wait()
        findings.none_failed(records)
        findings.clean_log(running.complaints)
    return findings.result(records, seen)


def _jump(findings: Findings, running: Service, told: Path, hours: int) -> None:
    """While a request runs that would take longer than it may."""
    found: list[tuple[int, float]] = []
    asking = threading.Thread(target=lambda: found.append(timed(running, TOO_MUCH, DEADLINE_S)))
    asking.start()
    _set(told, hours)
    jumped = eventually(lambda: abs(wall_clock_s(running) - time.time() - hours * HOUR_S) < 60, SEEN_WITHIN_S)
    asking.join()
    [(status, seconds)] = found
    findings.promise(f"the clock jumps to {hours:+d} h", "", jumped)
    not_early = status == 504 and seconds >= DEADLINE_S
    findings.promise("a deadline is not early", f"{status} after {seconds:.2f} s of {DEADLINE_S:g} s", not_early)
    findings.in_time("and not late", 1000 * seconds, 1000 * LATEST_S)


def _set(told: Path, hours: int) -> None:
    """Replaced whole, for it is read at any time."""
    scratch = told.with_suffix(".new")
    scratch.write_text(f"{hours * HOUR_S:+d}\n")
    scratch.rename(told)
