"""The table of a run, and what stands below it."""

from collections.abc import Sequence

from rich.table import Table

from tests.soak.result import Result

VERDICTS = {"kept": "[green]kept[/green]", "BROKEN": "[red]BROKEN[/red]", "skipped": "[yellow]skipped[/yellow]"}
NUMBERS = ("requests", "answered", "refused", "failed", "left")


def table(results: Sequence[Result]) -> Table:
    grid = Table(title="make soak")
    for column in ("scenario", *NUMBERS, "p50 ms", "p99 ms", "usual p99", "MB before", "after", "verdict"):
        grid.add_column(column, justify="left" if column in ("scenario", "verdict") else "right")
    for result in results:
        if result.skipped:
            grid.add_row(result.scenario, *[""] * 10, VERDICTS["skipped"])
            continue
        times = (result.p50_ms, result.p99_ms, result.usual_p99_ms)
        grid.add_row(
            result.scenario,
            *(f"{getattr(result, name):,}" for name in NUMBERS),
            *("" if value is None else f"{value:,.1f}" for value in times),
            *("" if value is None else f"{value:,.0f}" for value in (result.before_mb, result.after_mb)),
            VERDICTS.get(result.verdict, result.verdict),
        )
    return grid


def lines(result: Result, everything: bool) -> list[str]:
    """What was found of a scenario; everything: of what was kept, too."""
    told = [f"skipped: {result.skipped}"] if result.skipped else []
    told += [f"BROKEN: {promise.what}: {promise.found}" for promise in result.broken]
    told += [f"not judged, for {result.disturbed}: {promise.what}: {promise.found}" for promise in result.unjudged]
    if everything:
        told += [f"kept: {promise.what}: {promise.found}" for promise in result.promises if promise.kept]
        told += result.notes
    return [f"{result.scenario}: {line}" for line in told]
