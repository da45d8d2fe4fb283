"""One line of the table, and the table. Knows nothing of how a figure is measured."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from tests.bench.load import LoadError, Result


@dataclass(frozen=True)
class Figure:
    """What was measured. ratio: to what `of` names; target: the least ratio that is wanted, or with at_most the largest.

    busy: the share of a core that the load generator used; near 1 it was itself what was measured.
    """

    what: str
    per_s: float | None = None
    unit: str = ""
    p50_ms: float | None = None
    p99_ms: float | None = None
    ratio: float | None = None
    of: str = ""
    target: float | None = None
    at_most: bool = False
    busy: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.ratio is None or self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def record(self) -> dict[str, object]:
        return {**asdict(self), "reached": self.reached}


def spread(latencies_ms: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile. Raises LoadError where there are none."""
    if len(latencies_ms) < 2:
        raise LoadError("too few requests ended within the measured time; give more --seconds")
    return statistics.median(latencies_ms), statistics.quantiles(latencies_ms, n=100, method="inclusive")[98]


def loaded(what: str, result: Result, unit: str, kind: str | None = None) -> Figure:
    """The figure of a load: all its words or sentences a second, and the latencies of one kind of request, or of all."""
    chosen = [tally for name, tally in result.kinds.items() if kind in (None, name)]
    p50_ms, p99_ms = spread([latency for tally in chosen for latency in tally.latencies_ms])
    per_s = sum(tally.amount for tally in result.kinds.values()) / result.seconds
    return Figure(what, per_s, unit, p50_ms, p99_ms, busy=result.busy)


def table(figures: Iterable[Figure], title: str) -> Table:
    grid = Table(title=title, caption="busy: the share of its core that the load generator used")
    for column in ("what", "per second", "p50 ms", "p99 ms", "share or ratio", "target", "reached", "busy"):
        grid.add_column(column, justify="left" if column in ("what", "share or ratio") else "right")
    for figure in figures:
        reached = {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[figure.reached]
        wanted = "" if figure.target is None else f"{'≤' if figure.at_most else '≥'} {figure.target:g}"
        grid.add_row(
            figure.what,
            "" if figure.per_s is None else f"{figure.per_s:,.0f} {figure.unit}",
            *("" if value is None else f"{value:,.2f}" for value in (figure.p50_ms, figure.p99_ms)),
            figure.of if figure.ratio is None else f"{figure.ratio:.3f} {figure.of}",
            *(wanted, reached, "" if figure.busy is None else f"{figure.busy:.0%}"),
        )
    return grid
