"""A version is whole or it is not there: whatever happens in the middle, and however many publish at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from service import artifact
from service.artifact import Manifest, load, sha256, versions
from service.inference.runtime import Runtime, pad
from tests.builders import Small, publish_small, small_model
from tests.training.commands import files_no_larger_than
from tests.training.samples import left_in
from training.errors import PublishError
from training.model import LanguageModel
from training.publish import STAGING, next_version, publish

ROOT = Path(__file__).parents[2]
SMALL = Small(cell="gru")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one published model; tests must not change it."""
    folder = tmp_path_factory.mktemp("published")
    return publish_small(folder / "models", SMALL, folder / "scratch")


@pytest.fixture(scope="module")
def manifest(published: Path) -> Manifest:
    return load(published).manifest


@pytest.fixture(scope="module")
def files(published: Path, manifest: Manifest) -> dict[str, bytes]:
    return {name: (published / name).read_bytes() for name in manifest.files}


def visible(models: Path) -> list[str]:
    """What the service would see, each of which must load."""
    found = [path for _, paths in versions(models) for path in paths]
    for path in found:
        Runtime(load(path))
    return [f"{path.parent.name}/{path.name}" for path in found]


# What is published


def test_what_was_published_loads_and_answers_as_the_model_did(published: Path, tmp_path: Path) -> None:
    _, corpus, model = small_model(SMALL, tmp_path)
    assert isinstance(model, LanguageModel)
    runtime = Runtime(load(published))
    ids, lengths = pad([corpus.tokenizer.encode_prompt("the cat sat").ids], corpus.tokenizer.padding_id)
    logits, _ = runtime.step(ids, lengths, runtime.initial_state(1))
    with torch.no_grad():
        expected = model.logits(torch.from_numpy(ids), torch.from_numpy(lengths).long())[0][0, -1]
    assert torch.allclose(torch.from_numpy(logits[0]), expected, atol=1e-4)


def test_the_manifest_holds_the_version_and_the_hash_of_every_other_file(published: Path) -> None:
    written = json.loads((published / artifact.MANIFEST).read_text(encoding="utf-8"))
    others = {path.name: sha256(path.read_bytes()) for path in published.iterdir() if path.name != artifact.MANIFEST}
    assert written["files"] == others
    assert written["version"] == int(published.name) == 1


def test_nothing_but_the_version_s_folder_is_left(published: Path, manifest: Manifest) -> None:
    models = published.parents[1]
    names = [artifact.MANIFEST, *manifest.files]
    assert left_in(models) == sorted([manifest.name, f"{manifest.name}/1", *(f"{manifest.name}/1/{name}" for name in names)])


def test_what_is_published_may_be_read_by_whom_the_umask_lets(published: Path) -> None:
    """The service often runs as another user than the one who trained."""
    umask = os.umask(0)
    os.umask(umask)
    assert published.stat().st_mode & 0o777 == 0o777 & ~umask
    assert all(path.stat().st_mode & 0o777 == 0o666 & ~umask for path in published.iterdir())


def test_a_models_folder_that_is_missing_is_made(manifest: Manifest, files: dict[str, bytes], tmp_path: Path) -> None:
    assert publish(tmp_path / "new" / "models", manifest, files) == tmp_path / "new" / "models" / manifest.name / "1"


# Which version


def test_every_publication_is_the_next_version_and_the_former_ones_stay(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    paths = [publish(tmp_path, manifest, files) for _ in range(3)]
    assert [path.name for path in paths] == ["1", "2", "3"]
    assert visible(tmp_path) == [f"{manifest.name}/{version}" for version in (3, 2, 1)]
    assert [load(path).manifest.version for path in paths] == [1, 2, 3]


def test_versions_are_counted_as_numbers_and_for_each_name_alone(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    for version in ("2", "9", "10"):
        (tmp_path / manifest.name / version).mkdir(parents=True)
    (tmp_path / "another" / "77").mkdir(parents=True)
    assert publish(tmp_path, manifest, files).name == "11"


@pytest.mark.parametrize("other", ["latest", "007", "0", "-5", "12.bak", ".13", "1e3"])
def test_what_is_no_version_number_is_no_version(other: str, tmp_path: Path) -> None:
    for name in ("3", other):
        (tmp_path / "model" / name).mkdir(parents=True)
    assert next_version(tmp_path, "model") == 4


def test_a_broken_version_is_never_overwritten(manifest: Manifest, files: dict[str, bytes], tmp_path: Path) -> None:
    broken = tmp_path / manifest.name / "1"
    broken.mkdir(parents=True)
    assert publish(tmp_path, manifest, files).name == "2"
    assert list(broken.iterdir()) == []


# At once


class Meddled(Mapping[str, bytes]):
    """Files during whose writing others take versions, one at every look."""

    def __init__(self, files: dict[str, bytes], models: Path, manifest: Manifest, times: int) -> None:
        self.files, self.models, self.manifest, self.times = files, models, manifest, times

    def __iter__(self) -> Iterator[str]:
        if self.times > 0:
            self.times -= 1
            publish(self.models, self.manifest, self.files)
        return iter(self.files)

    def __getitem__(self, name: str) -> bytes:
        return self.files[name]

    def __len__(self) -> int:
        return len(self.files)


def test_one_who_is_overtaken_while_publishing_gets_another_version(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = publish(tmp_path, manifest, Meddled(files, tmp_path, manifest, times=3))
    assert visible(tmp_path) == [f"{manifest.name}/{version}" for version in (4, 3, 2, 1)]
    assert (path.name, load(path).manifest.version) == ("4", 4)


def test_many_who_publish_at_once_each_get_a_version_of_their_own(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: publish(tmp_path, manifest, files), range(6)))
    assert sorted(path.name for path in paths) == list("123456")
    assert len(visible(tmp_path)) == 6
    assert [path.name for path in tmp_path.iterdir()] == [manifest.name]


# Failures

BOTH = ["model.onnx", "tokenizer.json"]


@pytest.mark.parametrize("name", BOTH)
def test_a_file_that_does_not_load_again_is_not_published(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    with pytest.raises(PublishError, match="does not load again"):
        publish(tmp_path, manifest, {**files, name: b"not what it should be"})
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", BOTH)
def test_a_folder_that_lacks_a_file_is_not_published(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    with pytest.raises(PublishError, match=name):
        publish(tmp_path, manifest, {other: content for other, content in files.items() if other != name})
    assert left_in(tmp_path) == []


def test_a_graph_that_gives_other_answers_than_the_model_did_is_not_published(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    first = manifest.golden[0]
    wrong = first.model_copy(update={"logits": [logit + 0.1 for logit in first.logits]})
    with pytest.raises(PublishError, match="golden") as refusal:
        publish(tmp_path, manifest.model_copy(update={"golden": [wrong]}), files)
    assert len(str(refusal.value).splitlines()) == 1
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("below", ["models", "models/deeper"])
def test_a_models_folder_that_cannot_be_written_to_is_named(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path, below: str
) -> None:
    (tmp_path / "models").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(PublishError, match="cannot be published to") as refusal:
        publish(tmp_path / below, manifest, files)
    assert str(tmp_path / below) in str(refusal.value)
    assert left_in(tmp_path) == ["models"]


def test_a_file_where_the_model_s_folder_should_be_is_refused_and_left_alone(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / manifest.name).write_text("a file in the way", encoding="utf-8")
    with pytest.raises(PublishError, match="cannot be published to"):
        publish(tmp_path, manifest, files)
    assert left_in(tmp_path) == [manifest.name]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_on_a_full_disk_nothing_is_published(manifest: Manifest, files: dict[str, bytes], tmp_path: Path, share: float) -> None:
    largest = max(len(content) for content in files.values())
    with pytest.raises(PublishError, match="File too large") as refusal, files_no_larger_than(int(share * largest)):
        publish(tmp_path, manifest, files)
    assert str(refusal.value).startswith(f"{tmp_path}: cannot be published to")
    assert len(str(refusal.value).splitlines()) == 1
    assert left_in(tmp_path) == []


def test_what_was_abandoned_an_hour_ago_is_cleared_away_and_what_another_may_be_writing_is_not(
    manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    now = time.time()
    for name, age_s in (("old", 3700), ("young", 3500), ("new", 0)):
        half = tmp_path / f"{STAGING}{name}" / manifest.name / "1"
        half.mkdir(parents=True)
        (half / "model.onnx").write_bytes(b"half")
        os.utime(tmp_path / f"{STAGING}{name}", (now - age_s, now - age_s))
    assert publish(tmp_path, manifest, files).name == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{STAGING}new", f"{STAGING}young", manifest.name]
    assert visible(tmp_path) == [f"{manifest.name}/1"]


# Killed

# Publishes into one folder after another, and is killed at the first flush to disk, the second, and so on; every flush is a
# place where a crash of the machine could leave any part of what was written before it. Then again and again into one folder,
# and is killed at any moment.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from service.artifact import Manifest
from training.publish import publish

source, target, deaths = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
manifest = Manifest.model_validate_json((source / "manifest.json").read_bytes())
files = {name: (source / name).read_bytes() for name in manifest.files}
flush = os.fsync

for last in range(1, deaths + 1):
    if os.fork() == 0:
        left = last

        def flush_or_die(descriptor):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(descriptor)

        os.fsync = flush_or_die
        publish(target / str(last), manifest, files)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))

chance = random.Random(1)
for _ in range(deaths):
    child = os.fork()
    if child == 0:
        while True:
            publish(target / "again and again", manifest, files)
    time.sleep(chance.uniform(0.02, 0.2))
    os.kill(child, signal.SIGKILL)
    os.wait()
"""
DEATHS = 8


@pytest.fixture(scope="module")
def killed(published: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """Folders in each of which somebody was killed while publishing, one flush later in each; and how each ended."""
    target = tmp_path_factory.mktemp("killed")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(published), str(target), str(DEATHS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return target, [int(line) for line in ended.stdout.splitlines()]


def test_one_killed_while_publishing_leaves_no_version_or_a_whole_one(killed: tuple[Path, list[int]], manifest: Manifest) -> None:
    target, ends = killed
    deaths = ends.count(-signal.SIGKILL)
    assert ends == [-signal.SIGKILL] * deaths + [0] * (DEATHS - deaths)
    assert 4 <= deaths < DEATHS  # model, tokenizer, manifest, their folder; in the end it came through unharmed
    seen = [visible(target / str(last)) for last in range(1, DEATHS + 1)]
    assert seen == sorted(seen)  # nothing for a while, and then for good
    assert seen[:4] == [[]] * 4
    assert seen[-1] == [f"{manifest.name}/1"]


def test_one_killed_at_any_moment_leaves_none_but_whole_versions(killed: tuple[Path, list[int]], manifest: Manifest) -> None:
    seen = visible(killed[0] / "again and again")
    assert seen == [f"{manifest.name}/{version}" for version in range(len(seen), 0, -1)]
    assert len(seen) > 1


def test_after_one_was_killed_the_next_publishes_as_ever(
    killed: tuple[Path, list[int]], manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    for models in sorted(shutil.copytree(killed[0], tmp_path / "models").iterdir()):
        before = visible(models)
        path = publish(models, manifest, files)
        assert path.name == str(len(before) + 1)
        assert visible(models) == [f"{manifest.name}/{path.name}", *before]
