"""New versions that are put into a mounted models folder from outside, while the container serves from it."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.container.clients import ANSWERED, NOT_CONNECTED, SENT_AWAY, Client
from tests.container.container import Container, running
from tests.container.engine import EngineError
from tests.container.image import Image
from tests.service.damage import edit_manifest, flip_byte
from tests.service.process import eventually

NAME = "korean-sentiment"
BODY = {"inputs": ["정말 재미있고 감동적인 영화", "지루하다"]}


@pytest.fixture
def mounted(image: Image, models: Path) -> Iterator[Container]:
    with running(image, f"--volume={models}:/app/models:ro", poll_s=0.2) as container:
        yield container


def newest(models: Path) -> int:
    return max(int(folder.name) for folder in (models / NAME).iterdir())


def put(models: Path, damaged: bool = False) -> int:
    """The next version, all at once, as training publishes it."""
    version = newest(models) + 1
    staged = models / ".publishing-here" / str(version)
    shutil.copytree(models / NAME / str(version - 1), staged)
    edit_manifest(staged, lambda manifest: manifest.update(version=version))
    if damaged:
        flip_byte(staged / "model.onnx")
    staged.rename(models / NAME / str(version))
    return version


def serving(container: Container) -> str:
    return container.client.post("/classify", json=BODY).headers["x-model"]


def wait_for(container: Container, version: int) -> None:
    eventually(lambda: serving(container) == f"{NAME}/{version}")


def listed(container: Container) -> dict[str, Any]:
    told: dict[str, Any] = container.client.get("/models").json()
    return told


def test_a_version_that_is_put_there_is_found_and_served_and_no_request_fails(mounted: Container, models: Path) -> None:
    expected = mounted.client.post("/classify", json=BODY).json()
    crowd = [Client(mounted.network, "/classify", BODY, expected).start() for _ in range(2)]
    for _ in range(2):
        wait_for(mounted, put(models))
    mounted.engine.podman("stop", "--time=40", mounted.name)
    ended = sum((client.join() for client in crowd), Counter[str]())
    assert ended.keys() <= {ANSWERED, SENT_AWAY, NOT_CONNECTED}
    assert ended[ANSWERED] > 10


def test_a_version_that_is_damaged_is_refused_and_told_and_the_old_one_serves_on(mounted: Container, models: Path) -> None:
    before = serving(mounted)
    version = put(models, damaged=True)
    eventually(lambda: mounted.metric("seqserve_refused_models") == 1)
    assert [refused for refused in listed(mounted)["refused"] if f"{NAME}/{version}" in str(refused)]
    assert serving(mounted) == before == f"{NAME}/{version - 1}"
    assert mounted.ready()


def test_the_container_itself_can_publish_nothing(mounted: Container) -> None:
    with pytest.raises(EngineError, match="Read-only file system"):
        mounted.execute("mkdir", f"/app/models/{NAME}/99")
