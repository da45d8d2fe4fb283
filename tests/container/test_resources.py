"""How much memory and how many cores a container takes, and that it holds to what it is given."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.settings import available_cores
from service.text import SPACE
from tests.container.conftest import Tell
from tests.container.container import Container, resident_bytes, running
from tests.container.image import Image

MOST_RESIDENT_BYTES = 200_000_000
SMALL_POD_BYTES = 256 * 2**20
CLIENTS, REQUESTS, INPUTS = 8, 320, 64
FULL_CACHE_BYTES = 60_000_000  # of SEQSERVE_PREFIX_CACHE_BYTES, which is 64,000,000
TWO_MODELS = "english-spam=none,starter-next-word=none"
CORES = "from service.settings import available_cores; print(available_cores())"


def bodies(image: Image) -> list[tuple[str, dict[str, Any]]]:
    """Lists of ever new texts: every prompt of a generation leaves its state in the prefix cache, until that is full."""
    chance, words = random.Random(1), vocabulary(image)
    some: list[tuple[str, dict[str, Any]]] = []
    for number in range(REQUESTS):
        inputs = ["".join(chance.choices(words, k=chance.randint(1, 12))) for _ in range(INPUTS)]
        generate = {"inputs": inputs, "parameters": {"max_new_tokens": 4}}
        some.append(("/generate", generate) if number % 2 else ("/classify", {"inputs": inputs}))
    return some


def vocabulary(image: Image) -> list[str]:
    """The words of the model that generates, as they stand within a text."""
    (path,) = (image.root / "app/models/korean-next-word").glob("*/tokenizer.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return [word.replace(SPACE, " ") for word in content["model"]["vocab"]]


def memory_limit(container: Container) -> int:
    """As the kernel keeps it, of either version of cgroups."""
    folder = "/sys/fs/cgroup"
    return int(container.execute("sh", "-c", f"cat {folder}/memory.max || cat {folder}/memory/memory.limit_in_bytes"))


def test_with_the_models_of_the_repository_one_process_takes_at_most_200_mb(image: Image, tell: Tell) -> None:
    with running(image, "--cpus=1") as container:
        ready_bytes = resident_bytes(container.pid)
        for path in ("/classify", "/generate"):
            assert container.client.post(path, json={"inputs": "영화가 정말 좋다"}).status_code == 200
        size = resident_bytes(container.pid)
    tell(f"{size / 1e6:.0f} MB resident with the default models after an answer of each kind ({ready_bytes / 1e6:.0f} when ready)")
    assert size <= MOST_RESIDENT_BYTES


def test_in_a_small_pod_two_models_hold_under_load(image: Image, tell: Tell) -> None:
    some, limit = bodies(image), f"{SMALL_POD_BYTES}b"
    with running(image, "--cpus=1", f"--memory={limit}", f"--memory-swap={limit}", versions=TWO_MODELS) as container:
        assert memory_limit(container) == SMALL_POD_BYTES
        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = list(pool.map(lambda one: container.client.post(one[0], json=one[1]).status_code, some))
        cache = container.metric("seqserve_prefix_cache_bytes", model="korean-next-word")
        most, own = (resident_bytes(container.pid, field) for field in ("VmHWM", "RssAnon"))
        assert container.state["OOMKilled"] is False
        assert container.ready()
    tell(
        f"{most / 1e6:.0f} MB resident at most, {own / 1e6:.0f} of it no file's, with two models and a full prefix cache in 256 MiB"
    )
    assert statuses == [200] * REQUESTS
    assert cache > FULL_CACHE_BYTES


@pytest.mark.parametrize(("cpus", "cores"), [("0.5", 1), ("1", 1), ("1.5", 2)])
def test_the_cores_that_its_threads_are_counted_from_are_those_that_it_is_granted(image: Image, cpus: str, cores: int) -> None:
    with running(image, f"--cpus={cpus}") as container:
        assert int(container.execute("python", "-c", CORES)) == min(cores, available_cores())
