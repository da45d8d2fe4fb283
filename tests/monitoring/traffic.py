"""Requests of every kind that the service knows, again and again: counters must go on counting while Prometheus looks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from tests.service.conftest import ENDLESS

PLACES = 8  # SEQSERVE_MAX_WAITING of the service
ROWS = 4  # SEQSERVE_MAX_ROWS
CLASSIFIER = "bilstm1-classify"
PROMPT = "오늘 날씨가 정말"
MIXED = ["a", "오늘 날씨가 정말 좋다 집 앞 공원에 사람들이 모여 있다", "the cat sat on a mat"]

# Path, body, headers, and the status that it must be answered with.
Request = tuple[str, dict[str, Any], dict[str, str], int]

REQUESTS: tuple[Request, ...] = (
    (
        "/generate",
        {"inputs": PROMPT, "parameters": {"max_new_tokens": 20}},
        {},
        200,
    ),  # the prefix cache knows it from the 2nd time on
    ("/generate", {"inputs": "쀍쀍 쀎쀎 a", "parameters": {"max_new_tokens": 5}}, {}, 200),  # unknown words
    ("/generate", {"inputs": "a", "model": "lstm1-generate"}, {}, 200),
    ("/generate_stream", {"inputs": PROMPT, "parameters": {"max_new_tokens": 20}}, {}, 200),
    ("/classify", {"inputs": MIXED}, {}, 200),
    ("/classify", {"inputs": "쀍쀍 the cat"}, {}, 200),
    ("/generate", {"inputs": 5}, {}, 422),
    ("/classify", {"inputs": "a", "model": "nothing"}, {}, 404),
    ("/generate", {"inputs": ["a"] * (PLACES + 1)}, {}, 413),
    ("/generate", {"inputs": "a", "parameters": {"max_new_tokens": 10**6}}, {"x-request-timeout": "0.05"}, 504),
)
LONG = {"inputs": ["a"] * PLACES, "parameters": {"max_new_tokens": 2000}}  # takes every place, and twice the rows that there are


@contextmanager
def traffic(port: int) -> Iterator[list[str]]:
    """Until the end of the block. Gives what was not answered as it must be; where all places are taken 429 is right, too."""
    faults: list[str] = []
    stop = threading.Event()
    work = [threading.Thread(target=run, args=(port, stop, faults)) for run in (_ask_all, _fill)]
    for thread in work:
        thread.start()
    try:
        yield faults
    finally:
        stop.set()
        for thread in work:
            thread.join(60)


def _ask_all(port: int, stop: threading.Event, faults: list[str]) -> None:
    while not stop.is_set():
        with _connection(port) as client:  # a new one every time: with several workers, any may take it
            for path, body, headers, status in REQUESTS:
                answer = client.post(path, json=body, headers=headers)
                if answer.status_code not in (status, 429):
                    faults.append(f"{path} {body}: {answer.status_code} {answer.text}")
            _leave(client)


def _fill(port: int, stop: threading.Event, faults: list[str]) -> None:
    while not stop.is_set():
        with _connection(port) as client:
            answer = client.post("/generate", json=LONG)
            if answer.status_code not in (200, 429):
                faults.append(f"{LONG}: {answer.status_code} {answer.text}")


def _leave(client: httpx2.Client) -> None:
    """A client that goes away in the middle of its stream."""
    body = {"inputs": "a", "parameters": {"max_new_tokens": 10**6}}
    with suppress(httpx2.HTTPError), client.stream("POST", "/generate_stream", json=body) as answer:
        next(answer.iter_bytes(), None)


def _connection(port: int) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)


def settings(workers: int) -> dict[str, Any]:
    """Of a service that can be filled, and asked for long answers."""
    models = {"generate_model": ENDLESS, "classify_model": CLASSIFIER}
    bounds = {"max_waiting": PLACES, "max_rows": ROWS, "max_new_tokens": 10**6, "max_answer_tokens": 10**7}
    return models | bounds | {"workers": workers, "poll_s": 0.2}
