"""service.http.control: which version serves is changed over HTTP, and told."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests.builders import Small, publish_small
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version, flip_byte
from tests.service.http.ask import generate, refusal

ADMIN = "key-of-the-operator"
CLASSIFIES = "bilstm1-classify"


@pytest.fixture
def models(service_models: Path, tmp_path: Path) -> Path:
    copy_version(service_models, CLASSIFIES, tmp_path / "models")
    for version in (1, 2):
        copy_version(service_models, ENDLESS, tmp_path / "models", version)
    return tmp_path / "models"


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    settings = Settings(models=models, generate_model=ENDLESS, classify_model=CLASSIFIES, admin_keys=ADMIN, poll_s=0)
    with TestClient(create_app(settings), headers={"authorization": f"Bearer {ADMIN}"}) as client:
        yield client


def change(client: TestClient, what: str, **body: Any) -> Any:
    response = client.post(f"/models/{ENDLESS}/{what}", json=body or None)
    assert response.status_code == 200, response.text
    return response.json()


def test_versions_are_pinned_rolled_back_unloaded_and_loaded(client: TestClient, models: Path, service_models: Path) -> None:
    assert change(client, "pin", version=1) == {"name": ENDLESS, "wanted": 1, "serving": 1}
    assert change(client, "load") == {"name": ENDLESS, "wanted": "newest", "serving": 2}
    copy_version(service_models, ENDLESS, models, 3)
    assert change(client, "load")["serving"] == 3
    assert change(client, "rollback") == {"name": ENDLESS, "wanted": 2, "serving": 2}
    assert change(client, "unload") == {"name": ENDLESS, "wanted": "none", "serving": None}
    refusal(client.post("/generate", json={"inputs": "a", "model": ENDLESS}), 404, "not_found")
    assert change(client, "load")["serving"] == 3


def test_a_model_whose_folder_is_gone_can_be_unloaded(client: TestClient, models: Path) -> None:
    shutil.rmtree(models / ENDLESS)
    assert change(client, "unload") == {"name": ENDLESS, "wanted": "none", "serving": None}
    refusal(client.post("/generate", json={"inputs": "a", "model": ENDLESS}), 404, "not_found")
    refusal(client.post(f"/models/{ENDLESS}/load"), 404, "not_found")


def test_what_is_wanted_is_told_beside_what_serves(client: TestClient) -> None:
    change(client, "pin", version=1)
    told = {model["name"]: (model["version"], model["wanted"]) for model in client.get("/models").json()["models"]}
    assert told == {ENDLESS: (1, 1), CLASSIFIES: (1, "newest")}


def test_a_state_of_the_version_before_is_a_state_of_another_model(client: TestClient, models: Path, tmp_path: Path) -> None:
    state = generate(client, "오늘", max_new_tokens=2, return_state=True)["state"]
    publish_small(models, Small(cell="gru", sentence_end=False, seed=2), tmp_path / "scratch")
    assert change(client, "load")["serving"] == 3
    refusal(client.post("/generate", json={"inputs": "", "state": state}), 409, "state_mismatch")


def test_a_version_that_is_bad_is_refused_with_its_reason_and_the_other_serves_on(client: TestClient, models: Path) -> None:
    flip_byte(models / ENDLESS / "1" / "model.onnx")
    sentence = refusal(client.post(f"/models/{ENDLESS}/pin", json={"version": 1}), 422, "validation")
    assert sentence == f"{ENDLESS}/1: model.onnx is damaged: its SHA-256 is not the manifest's"
    refused = client.get("/models").json()["refused"]
    assert [(one["name"], one["version"]) for one in refused] == [(ENDLESS, 1)]
    assert generate(client, "오늘", max_new_tokens=1)["generated_text"]


@pytest.mark.parametrize("body", [{}, {"version": 0}, {"version": "1"}, {"version": 1, "more": 2}, {"version": 10**9}])
def test_a_pin_without_a_version_is_refused_by_field(body: Any, client: TestClient) -> None:
    assert "version" in refusal(client.post(f"/models/{ENDLESS}/pin", json=body), 422, "validation") or "more" in body


@pytest.mark.parametrize("content", ["", "{", "[]", "1"])
def test_a_pin_that_is_no_object_is_refused(content: str, client: TestClient) -> None:
    refusal(client.post(f"/models/{ENDLESS}/pin", content=content), 422, "validation")


def test_a_body_is_not_read_without_a_key_and_not_beyond_its_bound(client: TestClient) -> None:
    large = b'{"version": 1' + b" " * 2_000_000 + b"}"
    path = f"/models/{ENDLESS}/pin"
    refusal(client.post(path, content=large, headers={"authorization": "Bearer key-of-nobody-at-all"}), 401, "unauthorized")
    refusal(client.post(path, content=large), 413, "too_large")


def test_what_is_not_there_is_told_with_what_is(client: TestClient) -> None:
    assert "there are 1, 2" in refusal(client.post(f"/models/{ENDLESS}/pin", json={"version": 9}), 404, "not_found")
    assert ENDLESS in refusal(client.post("/models/nothing/load"), 404, "not_found")
