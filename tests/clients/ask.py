"""What all clients ask, and what the service itself says to it."""

from typing import Any

from tests.service.process import Server

ENDLESS, ENDING, CLASSIFIER = "gru1-generate", "lstm1-generate", "bilstm1-classify"
KEY = "a-key-of-some-length"
PROMPT = "오늘 날씨가"
FOREVER = 10**8  # words: hours of them
WRITING = "seqserve_rows_in_use"


def url(server: Server, path: str = "") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def generate(server: Server, text: Any = PROMPT, model: str = ENDLESS, **parameters: Any) -> Any:
    """As /generate answers it."""
    response = server.client.post("/generate", json={"inputs": text, "model": model, "parameters": parameters})
    assert response.status_code == 200, response.text
    return response.json()


def classify(server: Server, text: Any = PROMPT, **parameters: Any) -> Any:
    """As /classify answers it."""
    response = server.client.post("/classify", json={"inputs": text, "parameters": parameters})
    assert response.status_code == 200, response.text
    return response.json()


def written(server: Server, text: Any = PROMPT, model: str = ENDLESS, **parameters: Any) -> str:
    return str(generate(server, text, model, **parameters)["generated_text"])
