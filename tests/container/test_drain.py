"""The end of a container: told to stop, it answers what it has begun, sends the rest away, and loses nothing."""

import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest

from tests.builders import Small, publish_small
from tests.container.clients import ANSWERED, NOT_CONNECTED, SENT_AWAY, Client
from tests.container.conftest import Tell
from tests.container.container import Container, running, started
from tests.container.image import Image
from tests.service.process import eventually

ENDLESS = Small(cell="gru", sentence_end=False)  # writes as many words as it is asked for
WORDS = 12_000  # seconds of them, and more than the server gives to connections that are closing
EACH = 4
DRAIN_S, GRACE_S = 100, 120  # a machine that others use too may take long to write them
AT_ONCE_S = 5
NO_BOUNDS = {"max_new_tokens": 10**8, "max_answer_tokens": 10**9}
KILLED_BY_SIGTERM = 128 + 15

QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/generate_stream", {"inputs": "오늘", "model": ENDLESS.name, "parameters": {"max_new_tokens": WORDS}}),
    ("/generate", {"inputs": "이 영화는", "parameters": {"max_new_tokens": 20}}),
    ("/classify", {"inputs": ["정말 재미있고 감동적인 영화", "지루하다"]}),
)


@pytest.fixture
def models(models: Path, tmp_path: Path) -> Path:
    """Those of the image, and one that never ends by itself."""
    publish_small(models, ENDLESS, tmp_path / "scratch")
    return models


def clients(container: Container) -> list[Client]:
    """Some for each question; they know its answer, which no load changes."""
    answers = [container.client.post(path.removesuffix("_stream"), json=body).json() for path, body in QUESTIONS]
    asked = [(path, body, answer) for (path, body), answer in zip(QUESTIONS, answers, strict=True)]
    return [Client(container.network, *one) for one in asked for _ in range(EACH)]


def endless(container: Container) -> tuple[threading.Thread, list[Exception]]:
    """A request that runs until something ends it; what its client saw."""
    seen: list[Exception] = []
    body = {"inputs": "오늘", "model": ENDLESS.name, "parameters": {"max_new_tokens": 10**8}}

    def ask() -> None:
        try:
            container.client.post("/generate", json=body)
        except httpx2.TransportError as error:
            seen.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: container.metric("seqserve_rows_in_use", model=ENDLESS.name) == 1)
    return thread, seen


@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_under_load_it_loses_no_request_and_ends_well(image: Image, models: Path, tell: Tell, workers: int) -> None:
    mount = f"--volume={models}:/app/models:ro"
    with running(image, mount, arguments=("--workers", str(workers)), drain_s=DRAIN_S, **NO_BOUNDS) as container:
        crowd = [client.start() for client in clients(container)]
        assert all(client.begun.wait(30) for client in crowd)
        assert container.metric("seqserve_rows_in_use", model=ENDLESS.name) > 0
        begun_s = monotonic()
        image.engine.podman("stop", f"--time={GRACE_S}", container.name)
        took_s = monotonic() - begun_s
        ended = sum((client.join() for client in crowd), Counter[str]())
        assert container.state["ExitCode"] == 0, container.log
        assert "Traceback" not in container.log
    tell(f"drained {workers} in {took_s:.1f} s: {dict(ended)}")
    assert ended.keys() <= {ANSWERED, SENT_AWAY, NOT_CONNECTED}
    assert all(client.ended[ANSWERED] for client in crowd)
    assert took_s < DRAIN_S


@pytest.mark.parametrize("workers", [1, 2])
def test_told_twice_it_ends_at_once(image: Image, models: Path, workers: int) -> None:
    mount = f"--volume={models}:/app/models:ro"
    with running(image, mount, arguments=("--workers", str(workers)), **NO_BOUNDS) as container:
        thread, seen = endless(container)
        container.signal("TERM")
        eventually(lambda: container.metric("seqserve_rows_in_use", model=ENDLESS.name) == 1 and not container.ready())
        container.signal("TERM")
        code = container.wait(AT_ONCE_S)
        thread.join(30)
    assert len(seen) == 1
    assert code in (0, KILLED_BY_SIGTERM)


def test_told_to_stop_while_it_loads_it_ends_at_once(image: Image) -> None:
    with started(image) as container:
        maps = Path(f"/proc/{container.pid}/maps")
        eventually(lambda: "onnxruntime" in maps.read_text())
        container.signal("TERM")
        container.wait(AT_ONCE_S)
