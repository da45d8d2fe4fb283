"""service.http.cards: a model's card and its pictures as they were published, and no other file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.artifact import load
from service.http.app import create_app
from service.settings import Settings
from tests.conftest import ROOT
from tests.service.http.ask import refusal
from tests.service.http.test_keys import KEY, bearer

MODEL = "english-spam"
PLOTS = ["curves.png", "confusion.png", "calibration.png"]
FILES = {"card": "README.md", **{plot: plot for plot in PLOTS}}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one shipped model, which tests may damage."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / MODEL, folder / MODEL)
    return folder


@pytest.fixture
def shelf(published: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(models=published))) as client:
        yield client


def folder_of(models: Path) -> Path:
    (version,) = (models / MODEL).iterdir()
    return version


def test_files_are_served_as_they_were_published(shelf: TestClient, published: Path) -> None:
    for path, name in FILES.items():
        response = shelf.get(f"/models/{MODEL}/{path}")
        assert response.content == (folder_of(published) / name).read_bytes()
        kind = "text/markdown; charset=utf-8" if path == "card" else "image/png"
        assert response.headers["content-type"] == kind
        assert response.headers["x-content-type-options"] == "nosniff"


def test_a_file_is_sent_again_only_when_it_has_changed(shelf: TestClient) -> None:
    tags = set()
    for path in FILES:
        first = shelf.get(f"/models/{MODEL}/{path}")
        tags.add(first.headers["etag"])
        again = shelf.get(f"/models/{MODEL}/{path}", headers={"if-none-match": first.headers["etag"]})
        assert (first.headers["cache-control"], again.status_code, again.content) == ("no-cache", 304, b"")
    assert len(tags) == len(FILES)


def test_the_list_of_models_tells_which_pictures_there_are(shelf: TestClient, service: TestClient, published: Path) -> None:
    (model,) = shelf.get("/models").json()["models"]
    assert model["plots"] == PLOTS
    assert {*PLOTS} <= load(folder_of(published)).manifest.files.keys()
    for other in service.get("/models").json()["models"]:
        assert other["plots"] == []
        refusal(service.get(f"/models/{other['name']}/curves.png"), 404, "not_found")


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "manifest.json", "README.md", "..%2fcard", "%2e%2e/curves.png"])
def test_no_other_file_of_the_folder_is_served(file: str, shelf: TestClient) -> None:
    refusal(shelf.get(f"/models/{MODEL}/{file}"), 404, "not_found")


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", MODEL.upper(), f"{MODEL}%2f2"])
def test_what_does_not_serve_has_no_card(name: str, shelf: TestClient) -> None:
    refusal(shelf.get(f"/models/{name}/card"), 404, "not_found")


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_is_not_what_was_published_is_not_served(damage: str, published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "models")
    curves = folder_of(tmp_path / "models") / "curves.png"
    with TestClient(create_app(Settings(models=tmp_path / "models"))) as client:
        curves.unlink()
        if damage == "changed":
            curves.write_bytes(b"<script>")
        sentence = refusal(client.get(f"/models/{MODEL}/curves.png"), 404, "not_found")
        assert sentence == f"curves.png of {MODEL} is not there any more, or not what it was"
        assert client.get(f"/models/{MODEL}/card").status_code == 200


def test_who_may_not_see_the_models_may_not_see_their_cards(published: Path) -> None:
    with TestClient(create_app(Settings.model_validate({"models": published, "api_keys": KEY}))) as client:
        for path in FILES:
            refusal(client.get(f"/models/{MODEL}/{path}"), 401, "unauthorized")
            assert client.get(f"/models/{MODEL}/{path}", headers=bearer(KEY)).status_code == 200


def test_what_changes_a_model_is_still_no_file_of_it(shelf: TestClient) -> None:
    for change in ("pin", "rollback", "load", "unload"):
        refusal(shelf.get(f"/models/{MODEL}/{change}"), 405, "method_not_allowed")
