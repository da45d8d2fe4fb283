"""service.manifest: what follows from a manifest; what it must not say is refused in test_artifact."""

from pathlib import Path

from service.artifact import load
from service.inference.runtime import Runtime
from service.manifest import GRAPH, TOKENIZER
from tests.service.damage import copy_version

NAME = "lstm1-generate"


def test_a_model_is_what_its_weights_and_words_are_and_not_where_it_lies(small_models: Path, tmp_path: Path) -> None:
    """By this a state is known to be of a model: sixteen bytes, the same for a copy under another version."""
    first, second = (load(copy_version(small_models, NAME, tmp_path, version)).manifest.identity for version in (1, 2))
    assert first == second
    assert len(first) == 16
    others = [load(small_models / name / "1").manifest.identity for name in ("rnn1-generate", "gru2-generate")]
    assert len({first, *others}) == 3
    folder = copy_version(small_models, NAME, tmp_path, 3)
    for name in (GRAPH, TOKENIZER):
        manifest = load(folder).manifest
        changed = manifest.model_copy(update={"files": manifest.files | {name: "0" * 64}})
        assert changed.identity != first


def test_a_row_of_state_takes_the_bytes_that_the_manifest_says(small_models: Path) -> None:
    sizes = {"rnn1-generate": 1 * 1 * 16 * 4, "gru2-generate": 1 * 2 * 16 * 4, "lstm1-generate": 2 * 1 * 16 * 4}
    for name, expected in sizes.items():
        artifact = load(small_models / name / "1")
        state = Runtime(artifact).initial_state(1)
        assert artifact.manifest.state_bytes == sum(part.nbytes for part in state) == expected
