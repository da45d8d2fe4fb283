"""Questions to the service, and what every answer of a kind has in common."""

from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

PROMPT = "오늘 날씨가"


def generate(client: TestClient, inputs: str | list[str] = PROMPT, model: str | None = None, **parameters: Any) -> Any:
    """The answer to a request that must succeed."""
    return _answer(client, "/generate", inputs, model, parameters)


def classify(client: TestClient, inputs: str | list[str] = PROMPT, model: str | None = None, **parameters: Any) -> Any:
    """The answer to a request that must succeed."""
    return _answer(client, "/classify", inputs, model, parameters)


def refusal(response: Response, status: int, error_type: str) -> str:
    """The sentence of an error, after a look at its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error", "error_type"}
    assert body["error_type"] == error_type
    sentence = body["error"]
    assert isinstance(sentence, str)
    assert sentence
    assert "Traceback" not in sentence
    return sentence


def _answer(client: TestClient, path: str, inputs: str | list[str], model: str | None, parameters: dict[str, Any]) -> Any:
    body = {"inputs": inputs, "parameters": parameters} | ({"model": model} if model else {})
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()
