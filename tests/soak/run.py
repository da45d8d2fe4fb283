"""`make soak`: what the service promises under load and faults, tried on the real process with the models of this repository.

Service and load stand on cores of their own where there are two. Prints one table; ends with 1 where a promise is broken.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from tests.bench.load import LoadError
from tests.bench.process import LOAD_CORE, PROC, pin
from tests.bench.subject import ROOT
from tests.soak.capacity import capacity
from tests.soak.clock import clock
from tests.soak.drips import drips
from tests.soak.folder import folder
from tests.soak.hostile import hostile
from tests.soak.mix import Mix
from tests.soak.overload import overload
from tests.soak.pod import pod
from tests.soak.resets import resets
from tests.soak.result import Promise, Result
from tests.soak.sizes import sizes
from tests.soak.soak import MODELS, Soak
from tests.soak.steady import steady
from tests.soak.swap import swap
from tests.soak.table import lines, table
from tests.soak.workers import worker

SCENARIOS: dict[str, Callable[[Soak], Result]] = {
    "steady": steady,
    "overload": overload,
    "swap": swap,
    "worker": worker,
    "folder": folder,
    "drips": drips,
    "resets": resets,
    "clock": clock,
    "pod": pod,
    "hostile": hostile,
}
UNTIMED = "--untimed was asked for"
ROUND_S, PART_S = (1.0, 5.0), (6.0, 40.0)  # the shortest and the longest that a part takes, whatever the minutes


def run(names: Sequence[str], steady_s: float, per_s: float | None, tell: Callable[[Result], None]) -> None:
    """per_s: what the service carries, where it is not to be measured."""
    with tempfile.TemporaryDirectory(prefix="seqserve-soak-") as folder:
        work, mix = Path(folder), Mix(MODELS)
        requests = mix.requests()
        if per_s is None:
            per_s, result = capacity(work, mix, requests, _between(ROUND_S, steady_s / 20))
            tell(result)
        soak = Soak(work, mix, requests, per_s, steady_s, _between(PART_S, steady_s / 15))
        for name in names:
            tell(attempt(name, SCENARIOS[name], soak))


def attempt(name: str, scenario: Callable[[Soak], Result], soak: Soak) -> Result:
    """One that cannot be tried to its end, for the service has gone, is broken; the others are tried all the same."""
    try:
        return scenario(soak)
    except Exception as error:
        return Result(name, promises=[Promise("it can be tried to its end", f"{type(error).__name__}: {error}", False)])


def main() -> int:
    arguments = _parser().parse_args()
    if not PROC.is_dir():
        print("error: what a process takes is read from /proc, which this system does not have", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    pin(0, LOAD_CORE)
    console, results = Console(width=None if sys.stdout.isatty() else 140), list[Result]()

    def tell(result: Result) -> None:
        result = replace(result, disturbed=UNTIMED) if arguments.untimed else result
        results.append(result)
        for line in lines(result, arguments.verbose or result.scenario == "capacity"):
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        run(arguments.only or list(SCENARIOS), arguments.minutes * 60, arguments.capacity, tell)
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(table(results))
    for line in sizes(results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _write(arguments.out, results)
    return int(any(result.broken for result in results))


def _write(out: Path, results: Sequence[Result]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    content = [{**asdict(result), "verdict": result.verdict} for result in results]
    out.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def _between(bounds: tuple[float, float], value: float) -> float:
    return max(bounds[0], min(bounds[1], value))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the steady load, and a measure of the rest")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="these scenarios alone, after the capacity")
    parser.add_argument("--capacity", type=float, metavar="PER_S", help="requests a second that are carried, if that is known")
    parser.add_argument("--untimed", action="store_true", help="tell latencies and judge them not: for a machine that others use")
    parser.add_argument("--verbose", action="store_true", help="tell what was kept, too")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "soak.json", help="where all is written (default: runs/soak.json)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
