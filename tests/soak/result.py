"""What a scenario comes to: what was promised, what was found. Knows nothing of how it is tried."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.records import Records
from tests.soak.watch import Watch

MOST_OTHERS = 0.1  # of the service's core: where others take more, times are theirs as well
MOST_LAG_MS = 20.0  # and where the load generator itself is held up so long


@dataclass(frozen=True)
class Promise:
    """of_time: about latencies, or how much is carried, which tell nothing of the service where others use its core."""

    what: str
    found: str
    kept: bool
    of_time: bool = False


@dataclass(frozen=True)
class Result:
    """usual_p99_ms: what p99_ms is without the fault; notes: further figures; skipped: why it could not be tried here."""

    scenario: str
    requests: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    usual_p99_ms: float | None = None
    before_mb: float | None = None
    after_mb: float | None = None
    peak_mb: float | None = None
    promises: Sequence[Promise] = ()
    notes: Sequence[str] = ()
    disturbed: str = ""
    skipped: str = ""

    @property
    def broken(self) -> list[Promise]:
        return [promise for promise in self.promises if not promise.kept and not self._unjudged(promise)]

    @property
    def unjudged(self) -> list[Promise]:
        """Which were not kept, and need not have been the service's fault."""
        return [promise for promise in self.promises if not promise.kept and self._unjudged(promise)]

    @property
    def verdict(self) -> str:
        if self.skipped:
            return "skipped"
        if self.broken:
            return "BROKEN"
        return "disturbed" if self.unjudged else "kept"

    def _unjudged(self, promise: Promise) -> bool:
        return promise.of_time and bool(self.disturbed)


@dataclass
class Findings:
    """Gathers what makes up a Result."""

    scenario: str
    promises: list[Promise] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def promise(self, what: str, found: object, kept: bool, of_time: bool = False) -> None:
        self.promises.append(Promise(what, str(found), kept, of_time))

    def in_time(self, what: str, found_ms: float | None, most_ms: float | None) -> None:
        """A time that must not be above another. Where either is not known there was too little to tell."""
        if found_ms is None or most_ms is None:
            self.notes.append(f"not told, for too few requests: {what}")
        else:
            found = f"{found_ms:,.1f} ms, at most {most_ms:,.1f} ms"
            self.promises.append(Promise(what, found, found_ms <= most_ms, of_time=True))

    def none_failed(self, records: Records, may_refuse: bool = False) -> None:
        self.promise("no request fails", records.faults() or f"none of {len(records):,}", not len(records.failed))
        if not may_refuse:
            self.promise("and none is refused", f"{len(records.refused):,}", not len(records.refused), of_time=True)

    def clean_log(self, complaints: Sequence[str]) -> None:
        self.promise("the log tells of no fault of its own", "; ".join(complaints[:3]) or "none", not complaints)

    def result(self, records: Records, seen: Watch, usual_p99_ms: float | None = None, p99_ms: float | None = None) -> Result:
        """p99_ms: of those requests that the scenario is about, where these are not all."""
        return Result(
            self.scenario,
            requests=len(records),
            answered=len(records.answered),
            refused=len(records.refused),
            failed=len(records.failed),
            left=len(records.left),
            p50_ms=records.p50_ms,
            p99_ms=records.p99_ms if p99_ms is None else p99_ms,
            usual_p99_ms=usual_p99_ms,
            before_mb=seen.first_mb,
            after_mb=seen.last_mb,
            peak_mb=max(seen.memory_mb),
            promises=self.promises,
            notes=self.notes,
            disturbed=disturbed(seen.others, records.lag_p99_ms),
        )


def disturbed(others: float, lag_p99_ms: float | None) -> str:
    """Why times tell little; empty where they do."""
    told = [f"others used {others:.0%} of the service's core"] if others > MOST_OTHERS else []
    if lag_p99_ms is not None and lag_p99_ms > MOST_LAG_MS:
        told.append(f"the load generator sent 1 in 100 more than {lag_p99_ms:.0f} ms too late")
    return ", and ".join(told)
