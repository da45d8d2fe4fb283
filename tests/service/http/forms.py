"""The forms in which clients that exist ask the same: where, how, and what of the answer is which."""

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from httpx2 import Response

from tests.service.conftest import ENDLESS
from tests.service.http.ask import PROMPT

CLASSIFIER = "bilstm1-classify"
INFER = "inference-header-content-length"


class Form(NamedTuple):
    """route: as the metrics tell it. ask: the body for a model, a text, and options as /generate or /classify name them.

    read: what was written, or the labels with their scores, from the body of an answer.
    """

    route: str
    ask: Callable[[str, str, dict[str, Any]], Any]
    read: Callable[[bytes], Any]
    model: str = ENDLESS

    def path(self, model: str | None = None) -> str:
        return self.route.replace("{name}", model or self.model)

    def post(self, client: Any, text: str = PROMPT, model: str | None = None, headers: Any = None, **options: Any) -> Response:
        body = self.ask(model or self.model, text, options)
        response: Response = client.post(self.path(model), json=body, headers=headers)
        return response

    def answer(self, client: Any, text: str = PROMPT, model: str | None = None, **options: Any) -> Any:
        """What a request that must succeed is answered."""
        response = self.post(client, text, model, **options)
        assert response.status_code == 200, response.text
        return self.read(response.content)


def data(content: bytes) -> list[Any]:
    """What a whole stream says, without the word that ends it where there is one."""
    blocks = content.decode().split("\n\n")
    assert blocks.pop() == "", "the stream was cut off"
    said = [block.removeprefix("data:").strip() for block in blocks if not block.startswith(":")]
    return [json.loads(one) for one in said if one != "[DONE]"]


def completion(model: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    """Greedy where /generate is, too."""
    renamed = {"max_tokens": 20} | {"max_tokens" if name == "max_new_tokens" else name: value for name, value in options.items()}
    if not renamed.pop("do_sample", "temperature" in renamed or "top_p" in renamed):
        renamed["temperature"] = 0
    return {"model": model, "prompt": text} | renamed


def _at_root(model: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": text, "parameters": options, "model": model}


def _at_model(_: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": text, "parameters": options}


def _infer(_: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": [text]}], "parameters": options}


def _text(_: str, text: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"text_input": text, "parameters": options}


def _streamed(ask: Callable[[str, str, dict[str, Any]], Any]) -> Callable[[str, str, dict[str, Any]], Any]:
    return lambda model, text, options: ask(model, text, options) | {"stream": True}


def _words(content: bytes) -> str:
    return "".join(event["token"]["text"] for event in data(content) if not event["token"]["special"])


def _scores(ranked: list[Any]) -> list[tuple[str, float]]:
    return [(one["label"], one["score"]) for one in ranked]


def _tensors(content: bytes) -> list[tuple[str, float]]:
    labels, scores = json.loads(content)["outputs"]
    return list(zip(labels["data"], scores["data"], strict=True))


WRITING = {
    "the root": Form("/", _at_root, lambda content: json.loads(content)[0]["generated_text"]),
    "a model's address": Form("/models/{name}", _at_model, lambda content: json.loads(content)[0]["generated_text"]),
    "completions": Form("/v1/completions", completion, lambda content: json.loads(content)["choices"][0]["text"]),
    "infer": Form("/v2/models/{name}/infer", _infer, lambda content: json.loads(content)["outputs"][0]["data"][0]),
    "generate": Form("/v2/models/{name}/generate", _text, lambda content: json.loads(content)["text_output"]),
}
STREAMING = {
    "the root, streamed": Form("/", _streamed(_at_root), _words),
    "a model's address, streamed": Form("/models/{name}", _streamed(_at_model), _words),
    "completions, streamed": Form(
        "/v1/completions", _streamed(completion), lambda content: "".join(one["choices"][0]["text"] for one in data(content))
    ),
    "generate_stream": Form(
        "/v2/models/{name}/generate_stream", _text, lambda content: "".join(one["text_output"] for one in data(content))
    ),
}
LABELLING = {
    "the root, labels": Form("/", _at_root, lambda content: _scores(json.loads(content)[0]), CLASSIFIER),
    "a model's address, labels": Form("/models/{name}", _at_model, lambda content: _scores(json.loads(content)[0]), CLASSIFIER),
    "predict": Form("/predict", _at_root, lambda content: _scores(json.loads(content)[0]), CLASSIFIER),
    "infer, labels": Form("/v2/models/{name}/infer", _infer, _tensors, CLASSIFIER),
}
ALL = WRITING | STREAMING | LABELLING


def sentence(form: Form, response: Response, status: int, error_type: str) -> str:
    """Of an error, after a look at its form: OpenAI's for its clients, ours for all others."""
    assert response.headers["content-type"] == "application/json", response.text
    body = response.json()
    if not form.route.startswith("/v1/"):
        assert response.status_code == status, response.text
        assert body == {"error": body["error"], "error_type": error_type}
        told = body["error"]
    else:
        assert response.status_code == (400 if status == 422 else status), response.text
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        told = body["error"]["message"]
    assert isinstance(told, str)
    assert told
    return told


def binary(texts: list[bytes], **more: Any) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an infer request whose texts follow its JSON."""
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    given = {"name": "text_input", "datatype": "BYTES", "shape": [len(texts)], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [given]} | more).encode()
    return head + raw, {INFER: str(len(head))}


def unpacked(raw: bytes) -> list[str]:
    """The texts of a tensor of an answer that follow its JSON."""
    texts = []
    while raw:
        (size,) = struct.unpack("<I", raw[:4])
        texts.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return texts
