"""tests.soak.versions: what is published in the middle of a load is sound, or spoiled in the one way that is meant."""

from pathlib import Path

import pytest

from service import artifact
from service.errors import ArtifactError
from service.inference.runtime import Runtime
from tests.soak.versions import NAMES, next_version, shelf


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return shelf(tmp_path / "models")


@pytest.mark.parametrize("name", NAMES)
def test_the_next_version_is_sound_and_another_one_to_a_state(models: Path, name: str) -> None:
    [before] = (artifact.load(path) for path in (models / name).iterdir())
    version = next_version(models, name)
    after = artifact.load(models / name / str(version))
    assert version == before.manifest.version + 1
    assert after.manifest.identity != before.manifest.identity
    Runtime(after)  # compares the golden examples


def test_a_spoiled_version_is_refused_for_its_graph_and_the_one_before_is_as_it_was(models: Path) -> None:
    version = next_version(models, NAMES[0], spoil=True)
    with pytest.raises(ArtifactError, match=r"model\.onnx is damaged"):
        Runtime(artifact.load(models / NAMES[0] / str(version)))
    artifact.load(models / NAMES[0] / str(version - 1))
