"""service.artifact: a folder is read whole and verified, or refused with one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.artifact import GRAPH, MANIFEST, TOKENIZER, Artifact, load, sha256, skipped, versions
from service.errors import ArtifactError
from service.inference.runtime import Runtime
from tests.service.damage import READING, copy_version, edit_manifest, flip_byte

NAME = "lstm1-generate"
# The folder is put right again before every example.
EXAMPLES = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(small_models: Path, tmp_path: Path) -> Path:
    """A sound version that a test may damage."""
    return copy_version(small_models, NAME, tmp_path)


def refusal(folder: Path) -> str:
    """The line with which the folder is refused."""
    with pytest.raises(ArtifactError) as refused:
        load(folder)
    return one_line(refused.value, folder)


def one_line(error: ArtifactError, folder: Path) -> str:
    line = str(error)
    assert line.splitlines() == [line]
    assert line.startswith(f"{folder.parent.name}/{folder.name}: ")
    assert str(folder.parent.parent) not in line, "a client is told this line; where models lie is none of its business"
    return line


def test_a_sound_folder_is_read_whole(folder: Path) -> None:
    artifact = load(folder)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    assert artifact.path == folder
    assert artifact.graph == (folder / GRAPH).read_bytes()
    assert artifact.tokenizer.to_json() == (folder / TOKENIZER).read_text(encoding="utf-8")
    assert artifact.manifest.model_dump(mode="json") == manifest


def test_what_was_read_does_not_depend_on_the_folder_any_more(folder: Path) -> None:
    artifact = load(folder)
    graph = artifact.graph
    for path in folder.iterdir():
        path.unlink()
    assert artifact.graph == graph
    assert Runtime(artifact).initial_state(1)[0].shape == (1, 1, 16)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("한국어/1", "한국어: a name has the letters a to z, digits and ._-, "),
        ("Mine", "Mine: a name has the letters a to z, "),
        ("mine/v1", "mine/v1: a version is a whole number, "),
        ("mine/01", "mine/01: a version is a whole number, "),
        ("mine", "mine: manifest.json belongs into a folder of its version, such as mine/1"),
    ],
)
def test_a_model_that_lies_where_none_is_looked_for_is_told_with_the_reason(
    place: str, line: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "others" / place)
    shutil.copytree(folder, tmp_path / "others" / "sound" / "1")
    assert [name for name, folders in versions(tmp_path / "others") if folders] == ["sound"]
    (told,) = skipped(tmp_path / "others")
    assert told.startswith(line)


def test_what_is_hidden_or_no_model_or_closed_is_not_told_of(folder: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    for place in (".publishing-x/mine/1", "mine/.2", "sound/1"):
        shutil.copytree(folder, others / place)
    (others / "lost+found" / "deep").mkdir(parents=True)
    (others / "README.md").write_text("ours")
    (others / "Closed" / "1").mkdir(parents=True)
    (others / "Closed").chmod(0)
    try:
        assert list(skipped(others)) == []
    finally:
        (others / "Closed").chmod(0o700)


def test_a_manifest_cannot_be_changed_once_read(folder: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(folder).manifest.layers = 2  # type: ignore[misc]


@pytest.mark.parametrize("fault", READING)
def test_a_folder_with_a_fault_is_refused_with_one_line_that_names_it(fault: str, folder: Path) -> None:
    damage, reason = READING[fault]
    damage(folder)
    assert reason in refusal(folder)


def test_a_file_outside_the_folder_is_not_even_looked_at(folder: Path) -> None:
    (folder.parent / "x").write_bytes(b"secret")
    edit_manifest(folder, lambda manifest: manifest["files"].update({"../x": sha256(b"secret")}))
    assert "'../x'" in refusal(folder)


def test_every_listed_file_is_checked_and_no_other(folder: Path) -> None:
    (folder / "README.md").write_text("a card")
    load(folder)
    edit_manifest(folder, lambda manifest: manifest["files"].update({"README.md": sha256(b"another card")}))
    assert "README.md is damaged" in refusal(folder)


@EXAMPLES
@given(name=st.sampled_from([GRAPH, TOKENIZER]), at=st.integers(0, 100_000))
def test_a_change_of_any_bit_of_a_file_is_found(name: str, at: int, folder: Path) -> None:
    flip_byte(folder / name, at)
    try:
        assert f"{name} is damaged" in refusal(folder)
    finally:
        flip_byte(folder / name, at)


@EXAMPLES
@given(at=st.integers(0, 100_000), byte=st.integers(0, 255))
def test_a_manifest_with_any_byte_changed_is_read_or_refused_with_one_line(at: int, byte: int, folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    content = bytearray(whole)
    content[at % len(content)] = byte
    (folder / MANIFEST).write_bytes(content)
    try:
        load(folder)
    except ArtifactError as error:
        one_line(error, folder)
    finally:
        (folder / MANIFEST).write_bytes(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=4,
)


@EXAMPLES
@given(choice=st.integers(0, 10_000), value=JSON)
def test_a_manifest_that_says_anything_at_any_place_is_opened_or_refused_with_one_line(
    choice: int, value: Any, folder: Path
) -> None:
    whole = (folder / MANIFEST).read_bytes()
    manifest = json.loads(whole)
    places = list(_places(manifest))
    inside, key = places[choice % len(places)]
    inside[key] = value
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    try:
        artifact = load(folder)
        assert isinstance(artifact, Artifact)
        Runtime(artifact)
    except ArtifactError as error:
        one_line(error, folder)
    finally:
        (folder / MANIFEST).write_bytes(whole)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON document, as what it is in and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def test_versions_are_whole_numbers_the_highest_first(tmp_path: Path) -> None:
    for name in ("1", "2", "10", "9", "01", "0", "-1", "1.5", "3.bak", "new", ".publishing-4", "1234567890"):
        (tmp_path / "words" / name).mkdir(parents=True)
    (tmp_path / "words" / "11").write_text("a file is no version")
    assert [(name, [path.name for path in folders]) for name, folders in versions(tmp_path)] == [("words", ["10", "9", "2", "1"])]


def test_only_folders_with_a_models_name_are_looked_into(tmp_path: Path) -> None:
    for name in (".publishing-abc", "Words", "two words", "-words", "w" * 65, "good-2.words_x", "another"):
        (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / "file").write_text("no folder")
    assert [name for name, _ in versions(tmp_path)] == ["another", "good-2.words_x"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_model_of_an_older_schema_is_refused_by_name(version: int, folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest.update(schema_version=version))
    assert f"manifest.json has schema version {version}, this service reads 3" in refusal(folder)


NGRAMS = "bilstm1-classify-ngrams-int8"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ngrams": None}, "manifest.json: inputs: grams have the shapes [['unknown', 24]], and ngrams are not there"),
        ({"ngrams": {"longest": 3, "buckets": 50, "slots": 23}}, "manifest.json: inputs: grams have the shapes [['unknown', 24]]"),
        ({"ngrams": {"longest": 2, "buckets": 50, "slots": 24}}, ""),  # found by the golden examples
        ({"unit": "char"}, "manifest.json: ngrams: belong to a model that classifies and reads words"),
    ],
    ids=["none", "other slots", "shorter ones", "of characters"],
)
def test_a_model_whose_n_grams_are_not_those_of_its_graph_is_refused(
    change: dict[str, Any], reason: str, small_models: Path, tmp_path: Path
) -> None:
    folder = copy_version(small_models, NGRAMS, tmp_path)
    assert load(folder).manifest.ngrams
    edit_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(ArtifactError) as refused:
        Runtime(load(folder))
    assert reason in one_line(refused.value, folder)


def test_a_golden_example_holds_its_unknown_words_one_by_one(small_models: Path, tmp_path: Path) -> None:
    artifact = load(small_models / NGRAMS / "1")
    vocabulary = artifact.manifest.sizes.vocabulary
    assert any(max(golden.ids) >= vocabulary for golden in artifact.manifest.golden)
    folder = copy_version(small_models, NGRAMS, tmp_path)
    place = next(place for place, golden in enumerate(artifact.manifest.golden) if max(golden.ids) >= vocabulary)
    ids = [min(word, vocabulary) - (word >= vocabulary) for word in artifact.manifest.golden[place].ids]
    edit_manifest(folder, lambda manifest: manifest["golden"][place].update(ids=ids))
    assert "the tokenizer reads " in refusal(folder)


def test_an_artifact_encodes_a_text_as_its_golden_examples_are(small_models: Path) -> None:
    for name in (NGRAMS, "gru1-classify"):
        artifact = load(small_models / name / "1")
        for golden in artifact.manifest.golden:
            words = artifact.encode(golden.text)
            assert words.ids == golden.ids
            assert len(words.grams) == max(0, max(golden.ids) + 1 - artifact.manifest.sizes.vocabulary)
