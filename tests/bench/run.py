"""`make bench`: bare onnxruntime, a FastAPI route that does nothing, a server without batches, and the service over HTTP, in a run.

Server and load stand on cores of their own where there are two. Prints one table and writes runs/bench.json.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from tests.bench import parts
from tests.bench.figure import Figure, table
from tests.bench.limits import Limits
from tests.bench.load import LoadError
from tests.bench.parts import Bench
from tests.bench.process import CORES, LOAD_CORE, PROC, pin, service
from tests.bench.startup import startup
from tests.bench.subject import BENCH, ROOT, SHIPPED, Subject, make_models, newest, texts, words_of

PARTS: dict[str, Callable[[Bench], None]] = {
    "generate": parts.generate,
    "single": parts.single,
    "mixed": parts.mixed,
    "classify": parts.classify,
    "usual": parts.usual,
    "idle": parts.idle,
    "bare": parts.bare_loops,  # last: what of it others needed is known by then, and was measured beside them
}
SHIPPED_PARTS = (parts.generate, parts.single, parts.classify)
SHIPPED_PROMPTS = 2048


def run(names: list[str], models: Path, seconds: float, tell: Callable[[Figure], None]) -> None:
    chosen = [part for name, part in PARTS.items() if name in names and (name != "idle" or PROC.is_dir())]
    if chosen:
        make_models(models)
        measure(chosen, models, BENCH, seconds, tell)
    if "shipped" in names:
        measure(SHIPPED_PARTS, ROOT / "models", SHIPPED, seconds, tell)
    if "start" in names:
        tell(startup())


def measure(
    chosen: Sequence[Callable[[Bench], None]],
    models: Path,
    subject: Subject,
    seconds: float,
    tell: Callable[[Figure], None],
) -> None:
    """These parts on a service of their own."""
    generate_words, classify_words = (words_of(newest(models, name)) for name in (subject.generate, subject.classify))
    with service(models, subject) as running:
        prompts = texts(generate_words, SHIPPED_PROMPTS, 1, 8)
        lengths = parts.answer_lengths(running, prompts) if subject is SHIPPED else []
        limits = Limits(models, subject, seconds, tell)
        bench = Bench(running, subject, limits, generate_words, classify_words, seconds, tell, lengths)
        for part in chosen:
            part(bench)


def machine(seconds: float) -> dict[str, object]:
    lines = (PROC / "cpuinfo").read_text().splitlines() if PROC.is_dir() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return {"processor": processor, "cores": len(CORES) or os.cpu_count(), "python": platform.python_version(), "seconds": seconds}


def main() -> int:
    arguments = _parser().parse_args()
    pin(0, LOAD_CORE)
    names = arguments.only or [*PARTS, "shipped", "start"]
    about, figures = machine(arguments.seconds), list[Figure]()
    title = f"{about['processor']}, {about['cores']} cores, server on one, {arguments.seconds:g} s each"
    with (
        tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder,
        Live(console=Console(width=None if sys.stdout.isatty() else 160)) as live,
    ):

        def tell(figure: Figure) -> None:
            figures.append(figure)
            live.update(table(figures, title))

        try:
            run(names, Path(arguments.models or folder).absolute(), arguments.seconds, tell)
        except LoadError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    out = arguments.out or (None if arguments.only else ROOT / "runs" / "bench.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": about, "figures": [figure.record() for figure in figures]}
        out.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of every measurement (default: 5)")
    parser.add_argument(
        "--only", nargs="+", choices=[*PARTS, "shipped", "start"], help="these parts alone, and what they are compared with"
    )
    parser.add_argument("--models", type=Path, help="keep the models that are made in this folder, and use those that it holds")
    parser.add_argument("--out", type=Path, help="where to write the figures (default: runs/bench.json; with --only: nowhere)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
