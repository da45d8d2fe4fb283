"""Several processes in one container, whose root file system cannot be written to: what they share is in /tmp."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from tests.container.conftest import Tell
from tests.container.container import Container, resident_bytes, running
from tests.container.image import Image
from tests.service.process import eventually, sample

WORKERS = 2
BODY = {"inputs": "정말 재미있다"}
ANSWERS = "seqserve_inputs_total"
LABELS = {"model": "korean-sentiment", "outcome": "answer"}


@pytest.fixture
def several(image: Image) -> Iterator[Container]:
    with running(image, "--memory=1g", arguments=("--workers", str(WORKERS))) as container:
        yield container


def asked_until_answered_by(container: Container, processes: int) -> int:
    """How many requests that took, each over a connection of its own, which any of the processes may take."""
    count = 0

    def ask() -> bool:
        nonlocal count
        with container.network.client() as client:
            assert client.post("/classify", json=BODY).status_code == 200
        count += 1
        return len(counted(container)) == processes

    eventually(ask)
    return count


def counted(container: Container) -> dict[str, float]:
    """The processes that have answered something, and how much, as each of them keeps it in the folder that they share."""
    found: dict[str, float] = {}
    for path in Path(f"/proc/{container.pid}/root/tmp").glob("*/counter_*.db"):
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            _, name, labels, _ = json.loads(key)
            if (name, labels) == (ANSWERS, LABELS) and value:
                found[path.stem] = value
    return found


def told(container: Container) -> set[float]:
    """What they tell of it, whichever is asked."""
    totals = set()
    for _ in range(10):
        with container.network.client() as client:
            totals.add(sample(client.get("/metrics").text, ANSWERS, **LABELS))
    return totals


def test_whichever_is_asked_tells_what_all_have_answered(several: Container, tell: Tell) -> None:
    count = asked_until_answered_by(several, WORKERS)
    eventually(lambda: told(several) == {count})  # an answer is counted when it has been sent
    size = sum(resident_bytes(pid) for pid in several.processes)
    tell(f"{size / 1e6:.0f} MB resident with {WORKERS} workers, what they share counted for each")


def test_one_that_is_killed_comes_back_and_what_it_has_answered_still_counts(several: Container) -> None:
    first, *before = several.processes
    count = asked_until_answered_by(several, WORKERS)
    os.kill(before[0], signal.SIGKILL)
    count += asked_until_answered_by(several, WORKERS + 1)
    eventually(lambda: told(several) == {count})  # an answer is counted when it has been sent
    now = several.processes
    assert len(now) == 1 + WORKERS
    assert first in now
    assert before[0] not in now
