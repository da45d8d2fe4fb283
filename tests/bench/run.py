"""`make bench`: the bare onnxruntime loop, a FastAPI route that does nothing, and the service over HTTP, measured in one run.

Server and load stand on cores of their own where there are two. Prints a table of ratios and writes runs/bench.json.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import numpy as np
from rich.console import Console
from rich.table import Table

from service import artifact
from service.inference.runtime import Runtime, pad

ROOT = Path(__file__).parents[2]
PROMPTS = ["이 영화는", "정말", "배우들의 연기가", "시간이 아까운", "다시 보고 싶은", "오늘 처음", "사랑", "감동적인 이야기"]
CLIENTS = 32
NEW_WORDS = 32

Ask = Callable[[httpx2.AsyncClient, int], Awaitable[int]]


@dataclass(frozen=True)
class Figure:
    """One measurement; share is of the limit that it is named beside."""

    name: str
    per_s: float
    unit: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    limit: str | None = None
    share: float | None = None


def bare_generation(name: str, rows: int, seconds: float) -> Figure:
    """Words/s of a loop that only feeds the graph its own state and takes the highest logit."""
    loaded = newest(name)
    runtime = Runtime(loaded)
    texts = [loaded.tokenizer.encode_prompt(PROMPTS[row % len(PROMPTS)]).ids for row in range(rows)]
    logits, state = runtime.step(*pad(texts, 0), runtime.initial_state(rows))
    steps, ones, started = 0, np.ones(rows, np.int32), time.perf_counter()
    while time.perf_counter() - started < seconds:
        logits, state = runtime.step(logits.argmax(axis=1)[:, None], ones, state)
        steps += 1
    return Figure(f"bare loop, generation, B={rows}", steps * rows / (time.perf_counter() - started), "words/s")


def bare_classification(name: str, rows: int, seconds: float) -> Figure:
    """Sentences/s of a loop that encodes and classifies padded batches."""
    loaded = newest(name)
    runtime, done, started = Runtime(loaded), 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        texts = sorted((loaded.tokenizer.encode(sentence(done + row)).ids for row in range(rows)), key=len)
        runtime.classify(*pad(texts, 0))
        done += rows
    return Figure(f"bare loop, classification, B={rows}", done / (time.perf_counter() - started), "sentences/s")


async def load(port: int, clients: int, seconds: float, ask: Ask) -> tuple[float, list[float]]:
    """What `clients` at once get done a second, and every request's milliseconds, after a warm-up."""
    limits = httpx2.Limits(max_connections=clients)
    done = 0
    times: list[float] = []
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as client:

        async def work(number: int) -> None:
            nonlocal done
            while time.perf_counter() < ends:
                started = time.perf_counter()
                amount = await ask(client, number)
                number += clients
                if started >= counted_from:
                    done += amount
                    times.append((time.perf_counter() - started) * 1000)

        counted_from = time.perf_counter() + 0.5
        ends = counted_from + seconds
        await asyncio.gather(*(work(number) for number in range(clients)))
        return done / (time.perf_counter() - counted_from), times


async def ask_generate(client: httpx2.AsyncClient, number: int) -> int:
    body = {"inputs": PROMPTS[number % len(PROMPTS)], "parameters": {"max_new_tokens": NEW_WORDS, "details": True}}
    answer = await client.post("/generate", json=body)
    return int(answer.json()["details"]["generated_tokens"])


async def ask_classify(client: httpx2.AsyncClient, number: int) -> int:
    answer = await client.post("/classify", json={"inputs": sentence(number)})
    answer.raise_for_status()
    return 1


async def ask_nothing(client: httpx2.AsyncClient, number: int) -> int:
    answer = await client.post("/nothing", json={"inputs": sentence(number)})
    answer.raise_for_status()
    return 1


def measure(name: str, port: int, clients: int, seconds: float, ask: Ask, unit: str, limit: Figure | None) -> Figure:
    per_s, times = asyncio.run(load(port, clients, seconds, ask))
    quantiles = statistics.quantiles(times, n=100)
    share = None if limit is None else per_s / limit.per_s
    return Figure(name, per_s, unit, statistics.median(times), quantiles[98], limit.name if limit else None, share)


def sentence(number: int) -> str:
    """3 to 30 words."""
    words = " ".join(PROMPTS).split()
    return " ".join(words[(number * 7 + i) % len(words)] for i in range(3 + number * 11 % 28))


def newest(name: str) -> artifact.Artifact:
    return artifact.load(dict(artifact.versions(ROOT / "models"))[name][0])


@contextmanager
def server(command: list[str], port: int) -> Iterator[None]:
    """A server process on the first core; this process keeps the second."""
    environment = {**os.environ, "SEQSERVE_PORT": str(port), "SEQSERVE_LOG_LEVEL": "warning", "SEQSERVE_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)
    pin(process.pid, 0)
    try:
        for _ in range(200):
            try:
                httpx2.get(f"http://127.0.0.1:{port}/livez")
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def pin(process: int, core: int) -> None:
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > core:
        os.sched_setaffinity(process, {sorted(os.sched_getaffinity(0))[core]})


def run(seconds: float, port: int) -> list[Figure]:
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    pin(0, 0)  # the bare loops run where the server will
    bare = {rows: bare_generation("korean-next-word", rows, seconds) for rows in (1, 8, 32)}
    bare_texts = {rows: bare_classification("korean-sentiment", rows, seconds) for rows in (1, 8, 32)}
    if cores:
        os.sched_setaffinity(0, cores)
    figures = [*bare.values(), *bare_texts.values()]
    with server(["-m", "tests.bench.nothing"], port):
        pin(0, 1)
        nothing = measure("FastAPI route that does nothing, 32 clients", port, CLIENTS, seconds, ask_nothing, "requests/s", None)
    figures.append(nothing)
    if cores:
        os.sched_setaffinity(0, cores)
    with server(["-m", "service"], port):
        pin(0, 1)
        figures += [
            measure("/generate, 32 clients", port, CLIENTS, seconds, ask_generate, "words/s", bare[32]),
            measure("/generate, 1 client", port, 1, seconds, ask_generate, "words/s", bare[1]),
            measure("/classify, 32 clients", port, CLIENTS, seconds, ask_classify, "requests/s", nothing),
            measure("/classify, 1 client", port, 1, seconds, ask_classify, "requests/s", bare_texts[1]),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of every measurement (default: 5)")
    parser.add_argument("--port", type=int, default=8990, help="port for the measured servers (default: 8990)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench.json", help="where to write the figures")
    arguments = parser.parse_args()
    figures = run(arguments.seconds, arguments.port)
    table = Table(title=f"{os.cpu_count()} cores, server on one")
    for column in ("what", "per second", "p50 ms", "p99 ms", "share of"):
        table.add_column(column, justify="left" if column in ("what", "share of") else "right")
    for figure in figures:
        share = "" if figure.share is None else f"{figure.share:.2f} of {figure.limit}"
        spread = ("", "") if figure.p50_ms is None else (f"{figure.p50_ms:.1f}", f"{figure.p99_ms:.1f}")
        table.add_row(figure.name, f"{figure.per_s:,.0f} {figure.unit}", *spread, share)
    Console().print(table)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([asdict(figure) for figure in figures], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
