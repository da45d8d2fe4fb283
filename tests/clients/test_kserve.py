"""What KServe's InferenceRESTClient sends to /v2, by plain HTTP: its package wants older ones than those of this repository."""

import json
from typing import Any

import pytest

from tests.clients.ask import CLASSIFIER, ENDLESS, classify, generate
from tests.service.http.forms import INFER, binary, unpacked
from tests.service.process import Server

TEXTS = ["오늘 날씨가", "the cat sat 고래"]


def first_output(server: Server, model: str, sends_bytes: bool, asks_bytes: bool) -> list[str]:
    more = {"id": "one", "model_name": model, "parameters": {"binary_data_output": asks_bytes}}
    path = f"/v2/models/{model}/infer"
    if sends_bytes:
        content, headers = binary([text.encode() for text in TEXTS], **more)
        response = server.client.post(path, content=content, headers=headers | {"content-type": "application/octet-stream"})
    else:
        given = {"name": "text_input", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
        response = server.client.post(path, json={"inputs": [given]} | more)
    assert response.status_code == 200, response.text
    output, raw = _head(response)
    return output["data"] if raw is None else unpacked(raw[: output["parameters"]["binary_data_size"]])


def _head(response: Any) -> tuple[Any, bytes | None]:
    """The first output as JSON tells it, and where tensors follow as bytes, these."""
    if INFER not in response.headers:
        return response.json()["outputs"][0], None
    size = int(response.headers[INFER])
    return json.loads(response.content[:size])["outputs"][0], response.content[size:]


def test_health_is_told(server: Server) -> None:
    """Its client reads these two fields, and takes another status for no."""
    assert server.client.get("/v2/health/live").json()["live"] is True
    assert server.client.get("/v2/health/ready").json()["ready"] is True
    assert server.client.get(f"/v2/models/{CLASSIFIER}/ready").json()["ready"] is True
    assert server.client.get("/v2/models/nothing/ready").status_code == 404


@pytest.mark.parametrize("asks_bytes", [True, False])
@pytest.mark.parametrize("sends_bytes", [True, False])
def test_texts_are_labelled_and_written(sends_bytes: bool, asks_bytes: bool, server: Server) -> None:
    labels = [one["label"] for text in classify(server, TEXTS) for one in text]
    assert first_output(server, CLASSIFIER, sends_bytes, asks_bytes) == labels
    written = [one["generated_text"] for one in generate(server, TEXTS)]
    assert first_output(server, ENDLESS, sends_bytes, asks_bytes) == written
