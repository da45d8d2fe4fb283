"""GET /livez, /readyz, /health: live is not ready, and not ready says why."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests.service.damage import copy_version
from tests.service.http.ask import PROMPT, classify, generate, refusal, registry_of

READY = ["/readyz", "/health"]


def test_a_service_with_models_is_live_and_ready(service: TestClient) -> None:
    assert service.get("/livez").json() == {"status": "live"}
    for path in READY:
        assert service.get(path).json() == {"status": "ready"}


@pytest.mark.parametrize("path", READY)
def test_an_empty_models_folder_is_live_and_not_ready_and_says_why(path: str, tmp_path: Path) -> None:
    with TestClient(create_app(Settings(models=tmp_path))) as client:
        assert client.get("/livez").status_code == 200
        assert "no model could be loaded" in refusal(client.get(path), 503, "unavailable")
        for route in ("/generate", "/classify"):
            refusal(client.post(route, json={"inputs": PROMPT}), 503, "unavailable")
        for route in ("/models", "/info", "/docs", "/metrics"):
            assert client.get(route).status_code == 200


def test_a_folder_of_bad_models_is_not_ready_and_names_each(small_models: Path, tmp_path: Path) -> None:
    for name in ("lstm1-generate", "gru1-classify"):
        (copy_version(small_models, name, tmp_path) / "model.onnx").unlink()
    with TestClient(create_app(Settings(models=tmp_path))) as client:
        sentence = refusal(client.get("/readyz"), 503, "unavailable")
        assert "lstm1-generate/1: model.onnx cannot be read" in sentence
        assert "gru1-classify/1: model.onnx cannot be read" in sentence


@pytest.mark.parametrize("model", ["lstm1-generate", "bilstm1-classify"])
def test_a_loop_that_died_turns_readiness_off_and_only_its_own_model(
    model: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies() -> None:
        raise MemoryError("nothing left")

    monkeypatch.setattr(registry_of(client.app).models[model].worker, "_round", dies)
    route, other = ("/generate", classify) if model == "lstm1-generate" else ("/classify", generate)
    assert client.get("/readyz").status_code == 200
    # The request that it dies on is answered, and so is every later one.
    for _ in range(3):
        refusal(client.post(route, json={"inputs": PROMPT}), 503, "unavailable")
    for path in READY:
        assert refusal(client.get(path), 503, "unavailable") == f"the loop of {model}/1 has stopped"
    assert client.get("/livez").status_code == 200
    assert other(client)


def test_a_closed_service_is_live_and_not_ready_and_answers_nothing_more(settings: Settings) -> None:
    app = create_app(settings)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
    after = TestClient(app)  # without the start: as it is at the end
    assert after.get("/livez").status_code == 200
    assert "has stopped" in refusal(after.get("/readyz"), 503, "unavailable")
    refusal(after.post("/generate", json={"inputs": PROMPT}), 503, "unavailable")
