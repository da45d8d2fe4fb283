"""GET /models and /info: what serves, what does not and why, and within which limits."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from service.version import VERSION
from tests.service.damage import copy_version
from tests.service.http.ask import PROMPT


@pytest.fixture(scope="module")
def listed(service: TestClient) -> dict[str, Any]:
    return {model["name"]: model for model in service.get("/models").json()["models"]}


def test_every_model_of_the_folder_is_listed(listed: dict[str, Any], service_models: Path) -> None:
    assert sorted(listed) == sorted(path.name for path in service_models.iterdir())


def test_a_model_is_described_by_its_manifest(listed: dict[str, Any], service_models: Path) -> None:
    for name, model in listed.items():
        manifest = json.loads((service_models / name / "1" / "manifest.json").read_bytes())
        for field in (
            "name",
            "version",
            "task",
            "description",
            "cell",
            "layers",
            "directions",
            "unit",
            "ngrams",
            "tables",
            "labels",
            "scores",
        ):
            assert model[field] == manifest[field], field
        for field in ("hidden", "vocabulary", "parameters"):
            assert model[field] == manifest["sizes"][field]
        assert model["max_input_words"] == manifest["limits"]["max_input_words"]
        assert model["trained"] == manifest["training"]["created"]


def test_a_sequence_of_two_lstm_states_takes_twice_that_of_one(listed: dict[str, Any]) -> None:
    assert {name: listed[name]["state_bytes"] for name in ("rnn1-generate", "gru2-generate", "lstm1-generate")} == {
        "rnn1-generate": 64,
        "gru2-generate": 128,
        "lstm1-generate": 128,
    }


def test_the_default_model_of_each_task_is_marked(listed: dict[str, Any], service_settings: Settings) -> None:
    defaults = {name for name, model in listed.items() if model["default"]}
    assert defaults == {service_settings.generate_model, service_settings.classify_model}


def test_every_listed_model_answers(listed: dict[str, Any], service: TestClient) -> None:
    for name, model in listed.items():
        response = service.post(f"/{model['task']}", json={"inputs": PROMPT, "model": name})
        assert response.status_code == 200
        assert response.headers["x-model"] == f"{name}/{model['version']}"


def test_nothing_is_refused_where_all_is_well(service: TestClient) -> None:
    assert service.get("/models").json()["refused"] == []


def test_what_was_refused_is_listed_with_its_reason_beside_what_serves(small_models: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        copy_version(small_models, "lstm1-generate", tmp_path, number)
    (tmp_path / "lstm1-generate" / "2" / "model.onnx").write_bytes(b"damaged")
    (copy_version(small_models, "gru1-classify", tmp_path) / "manifest.json").unlink()
    with TestClient(create_app(Settings(models=tmp_path))) as client:
        answer = client.get("/models").json()
    assert [(model["name"], model["version"]) for model in answer["models"]] == [("lstm1-generate", 1)]
    assert answer["refused"] == [
        {"name": "gru1-classify", "version": 1, "reason": "gru1-classify/1: manifest.json is missing"},
        {
            "name": "lstm1-generate",
            "version": 2,
            "reason": "lstm1-generate/2: model.onnx is damaged: its SHA-256 is not the manifest's",
        },
    ]


def test_info_tells_the_limits_that_the_operator_set(service_settings: Settings) -> None:
    limits = {
        "max_new_tokens": 41,
        "max_best_of": 42,
        "max_inputs": 43,
        "max_input_characters": 44,
        "max_body_bytes": 45,
        "max_waiting": 46,
        "max_rows": 47,
        "request_timeout_s": 48.5,
        "threads": 1,
    }
    with TestClient(create_app(service_settings.model_copy(update=limits))) as client:
        info = client.get("/info").json()
    assert {name: info[name] for name in limits} == limits


def test_info_tells_what_runs(service: TestClient, service_settings: Settings) -> None:
    info = service.get("/info").json()
    assert (info["service"], info["version"], info["onnxruntime"]) == ("seqserve", VERSION, version("onnxruntime"))
    assert info["provider"] == "cpu"
    assert info["threads"] == service_settings.operator_threads >= 1
    assert (info["generate_model"], info["classify_model"]) == (service_settings.generate_model, service_settings.classify_model)


def test_info_and_models_tell_nothing_of_the_machine(service: TestClient, service_settings: Settings) -> None:
    for path in ("/info", "/models"):
        assert str(service_settings.models) not in service.get(path).text
