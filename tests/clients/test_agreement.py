"""The same question, asked by every client that there is, has the same answer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.clients.ask import CLASSIFIER, PROMPT, classify, url, written
from tests.service.process import Server

MODELS = ["gru1-generate", "lstm1-generate"]
OPTIONS: list[dict[str, Any]] = [
    {"max_new_tokens": 30},
    {"max_new_tokens": 30, "temperature": 1.2, "top_p": 0.8, "seed": 11},
    {"max_new_tokens": 30, "temperature": 0.7, "seed": 2**40, "frequency_penalty": 0.5},
]


def of_the_hub(server: Server, model: str, options: dict[str, Any]) -> list[str]:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with hub.InferenceClient(base_url=url(server, f"/models/{model}"), token="none") as client:
        return [
            client.text_generation(PROMPT, **options),
            "".join(_unended(client.text_generation(PROMPT, stream=True, **options))),
        ]


def _unended(words: Any) -> list[str]:
    return [word for word in words if word != "</s>"]


def of_openai(server: Server, model: str, options: dict[str, Any]) -> list[str]:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    renamed = {"max_tokens" if name == "max_new_tokens" else name: value for name, value in options.items()}
    asked: dict[str, Any] = {"model": model, "prompt": PROMPT, "temperature": 0} | renamed
    with openai.OpenAI(base_url=url(server, "/v1"), api_key="none", max_retries=0) as client:
        streamed = [event.choices[0].text for event in client.completions.create(stream=True, **asked)]
        return [client.completions.create(**asked).choices[0].text, "".join(streamed)]


def of_triton(server: Server, model: str, options: dict[str, Any]) -> list[str]:
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    given = triton.InferInput("text_input", [1], "BYTES")
    given.set_data_from_numpy(np.array([PROMPT.encode()], dtype=np.object_))
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        return [client.infer(model, [given], parameters=options).as_numpy("text_output")[0].decode()]


@pytest.mark.parametrize("ask", [of_the_hub, of_openai, of_triton])
@pytest.mark.parametrize("options", OPTIONS, ids=["greedy", "drawn", "penalised"])
@pytest.mark.parametrize("model", MODELS)
def test_every_client_is_told_the_same_words(
    ask: Callable[[Server, str, dict[str, Any]], list[str]], options: dict[str, Any], model: str, server: Server
) -> None:
    assert set(ask(server, model, options)) == {written(server, model=model, **options)}


def labels_of_the_hub(server: Server) -> list[tuple[str, float]]:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with hub.InferenceClient(base_url=url(server, "/predict"), token="none") as client:
        return [(one.label, one.score) for one in client.text_classification(PROMPT)]


def labels_of_triton(server: Server) -> list[tuple[str, float]]:
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    given = triton.InferInput("text_input", [1], "BYTES")
    given.set_data_from_numpy(np.array([PROMPT.encode()], dtype=np.object_))
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        answer = client.infer(CLASSIFIER, [given])
        return [
            (label.decode(), score) for label, score in zip(answer.as_numpy("labels")[0], answer.as_numpy("scores")[0], strict=True)
        ]


@pytest.mark.parametrize("ask", [labels_of_the_hub, labels_of_triton])
def test_every_client_is_told_the_same_labels(ask: Callable[[Server], list[tuple[str, float]]], server: Server) -> None:
    expected = [(one["label"], np.float32(one["score"])) for one in classify(server)]
    assert [(label, np.float32(score)) for label, score in ask(server)] == expected
