"""`python -m tests.bench.soak`: whether memory stays where it is under requests of ever new shapes, some left in the middle.

Prints the resident set every 10,000 requests. Ends with 1 where it grew by 2% or more after the first of them, or where a row is
still held at the end.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.load import Job, Request, post, run_load
from tests.bench.process import LOAD_CORE, Server, pin, service
from tests.bench.subject import BENCH, make_models, newest, words_of

CLIENTS, ROUND = 32, 10_000
MOST_GROWTH = 0.02
PREFIX_BYTES = 4_000_000
LEAVE_S = (0.001, 0.03)  # within the time that an answer takes under this load


def requests(generate_words: list[str], classify_words: list[str], count: int, seed: int) -> list[Request]:
    """Two thirds classify, one third generate; a tenth of all is not waited for."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        body, kind = _generate(chance, generate_words) if chance.random() < 1 / 3 else _classify(chance, classify_words)
        leave_s = chance.uniform(*LEAVE_S) if chance.random() < 0.1 else None
        made.append(post(kind, f"/{kind}", body, leave_s=leave_s))
    return made


def _generate(chance: random.Random, words: list[str]) -> tuple[dict[str, object], str]:
    options: dict[str, object] = {"max_new_tokens": chance.choice((1, 2, 4, 8, 32))}
    if chance.random() < 0.5:
        options |= {"temperature": chance.uniform(0.5, 1.5), "top_p": chance.uniform(0.5, 0.99), "seed": chance.getrandbits(32)}
    return {"inputs": _text(chance, words, 20), "parameters": options}, "generate"


def _classify(chance: random.Random, words: list[str]) -> tuple[dict[str, object], str]:
    if chance.random() < 0.1:
        return {"inputs": [_text(chance, words, 60) for _ in range(chance.randint(2, 32))]}, "classify"
    return {"inputs": _text(chance, words, 60)}, "classify"


def _text(chance: random.Random, words: list[str], longest: int) -> str:
    return " ".join(chance.choices(words, k=chance.randint(1, longest)))


def soak(running: Server, count: int, models: Path) -> list[int]:
    """The resident bytes after every round."""
    generate_words, classify_words = (words_of(newest(models, name)) for name in (BENCH.generate, BENCH.classify))
    resident = []
    for sent in range(0, count, ROUND):
        these = min(ROUND, count - sent)
        result = run_load(Job(running.port, CLIENTS, requests(generate_words, classify_words, these, sent), None))
        resident.append(running.resident_bytes)
        print(
            f"{sent + these:>9,} requests  {resident[-1] / 2**20:8.1f} MiB  {these / result.seconds:7,.0f} requests/s", flush=True
        )
    return resident


def rows_held(running: Server) -> float:
    """Rows that are in use although nobody asks any more; those that were left get a moment to be noticed."""
    time.sleep(2)
    text = running.ask("GET", "/metrics")[1].decode()
    held = re.findall(r"^seqserve_rows_in_use\{.*\} (\S+)$", text, re.MULTILINE)
    assert held, "/metrics has no seqserve_rows_in_use"
    return sum(map(float, held))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="how many to send (default: 100,000)")
    parser.add_argument("--models", type=Path, help="keep the models that are made in this folder, and use those that it holds")
    arguments = parser.parse_args()
    pin(0, LOAD_CORE)
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as folder:
        models = Path(arguments.models or folder).absolute()
        make_models(models)
        # A cache that is full before the count begins: that one fills up is what it is for.
        with service(models, BENCH, prefix_cache_bytes=PREFIX_BYTES) as running:
            resident, held = soak(running, arguments.requests, models), rows_held(running)
    growth = resident[-1] / resident[0] - 1
    print(f"resident set after the first {ROUND:,} against the end: {growth:+.1%} (less than {MOST_GROWTH:.0%} is wanted)")
    print(f"rows in use at the end: {held:g} (0 is wanted)")
    return int(growth >= MOST_GROWTH or held > 0)


if __name__ == "__main__":
    sys.exit(main())
