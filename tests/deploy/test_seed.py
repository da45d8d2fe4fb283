"""components/models/seed.sh: a fresh volume gets the image's models, and one with models loses none."""

import os
import subprocess
from pathlib import Path

import pytest

from service import artifact
from tests.deploy.rendering import DEPLOY

SCRIPT = DEPLOY / "components" / "models" / "seed.sh"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Models as they lie in the image: one with two versions, one with one."""
    for folder in ("a/1", "a/2", "b/1"):
        (tmp_path / "image" / folder).mkdir(parents=True)
        (tmp_path / "image" / folder / "manifest.json").write_text(folder)
    return tmp_path / "image"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def seed(image: Path, volume: Path) -> None:
    subprocess.run(["sh", str(SCRIPT), str(image), str(volume)], check=True)


def versions(models: Path) -> dict[str, str]:
    """What the service would find: a version's folder, and its manifest."""
    found = [folder for _, folders in artifact.versions(models) for folder in folders]
    return {str(folder.relative_to(models)): (folder / "manifest.json").read_text() for folder in found}


def test_a_fresh_volume_gets_every_version_of_every_model(image: Path, volume: Path) -> None:
    seed(image, volume)
    assert versions(volume) == versions(image)
    assert [path.name for path in volume.glob("*/.*")] == []


def test_a_version_that_is_there_stays_as_it_is(image: Path, volume: Path) -> None:
    (volume / "a" / "2").mkdir(parents=True)
    (volume / "a" / "2" / "manifest.json").write_text("trained here")
    seed(image, volume)
    seed(image, volume)
    assert versions(volume) == {**versions(image), "a/2": "trained here"}


def test_what_a_killed_pod_has_left_half_way_is_made_anew(image: Path, volume: Path) -> None:
    half = volume / "a" / ".publishing-seed-1"
    half.mkdir(parents=True)
    (half / "half.onnx").touch()
    assert versions(volume) == {}
    seed(image, volume)
    assert versions(volume) == versions(image)
    assert [path.name for path in (volume / "a" / "1").iterdir()] == ["manifest.json"]


def test_a_copy_that_fails_half_way_is_no_version(
    image: Path, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk."""
    (tmp_path / "cp").write_text('#!/bin/sh\nmkdir -p "$3" && touch "$3/manifest.json"\nexit 1\n')
    (tmp_path / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(subprocess.CalledProcessError):
        seed(image, volume)
    assert [path.name for path in volume.glob("*/.*")] == [".publishing-seed-1"]
    assert versions(volume) == {}
