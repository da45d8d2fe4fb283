"""service.shelf: which folders are worth a try, and that none is tried twice for nothing."""

from pathlib import Path

import pytest

from service.shelf import Refused, Shelf, fingerprint


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for version in (1, 2, 10):
        folder = tmp_path / "a" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_text("x")
    return Shelf(tmp_path)


def test_versions_come_the_highest_first(shelf: Shelf) -> None:
    ((name, folders),) = shelf.versions()
    assert name == "a"
    assert [folder.name for folder in folders] == ["10", "2", "1"]


def test_a_folder_has_settled_when_it_looks_as_it_did_before(shelf: Shelf) -> None:
    folder = shelf.folder("a", 2)
    assert not shelf.settled(folder)
    (folder / "model.onnx").write_text("xy")  # it is still being copied
    assert not shelf.settled(folder)
    assert shelf.settled(folder)
    (folder / "tokenizer.json").write_text("x")
    assert not shelf.settled(folder)


def test_a_folder_that_cannot_be_looked_into_has_no_marks(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "nothing") == ()


def test_what_was_refused_stays_so_until_something_in_it_changes(shelf: Shelf) -> None:
    folder = shelf.folder("a", 2)
    assert not shelf.is_refused(folder)
    shelf.refuse(folder, "a/2: no good")
    assert shelf.is_refused(folder)
    assert shelf.refused == [Refused("a", 2, "a/2: no good")]
    (folder / "model.onnx").write_text("mended")
    assert not shelf.is_refused(folder)
    assert shelf.refused == [Refused("a", 2, "a/2: no good")]  # nobody has tried it since
    shelf.accept(folder)
    assert shelf.refused == []


def test_what_is_gone_is_forgotten(shelf: Shelf) -> None:
    folder = shelf.folder("a", 2)
    shelf.refuse(folder, "a/2: no good")
    (folder / "model.onnx").unlink()
    folder.rmdir()
    list(shelf.versions())
    assert shelf.refused == []
    assert not shelf.is_refused(folder)


def test_the_refused_stand_by_name_the_highest_version_first(shelf: Shelf, tmp_path: Path) -> None:
    for name, version in (("b", 1), ("a", 2), ("a", 10)):
        shelf.refuse(tmp_path / name / str(version), "no good")
    assert [(refused.name, refused.version) for refused in shelf.refused] == [("a", 10), ("a", 2), ("b", 1)]
