"""kserve's InferenceRESTClient, as it is, on /v2.

It wants older packages than this repository is locked to, so it is seldom installed beside it; then this is skipped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.clients.ask import CLASSIFIER, ENDLESS, classify, generate, url
from tests.service.process import Server

kserve = pytest.importorskip("kserve", reason="kserve is not installed (it wants older packages than those of this repository)")

TEXTS = ["오늘 날씨가", "the cat sat 고래"]


def ask(question: Callable[[Any], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
            return await question(client)

    return asyncio.run(whole())


def tensor(binary: bool) -> Any:
    given = kserve.InferInput("text_input", [len(TEXTS)], "BYTES")
    given.set_data_from_numpy(np.array(TEXTS, dtype=np.object_), binary_data=binary)
    return given


def test_health_is_told(server: Server) -> None:
    assert ask(lambda client: client.is_server_live(url(server)))
    assert ask(lambda client: client.is_server_ready(url(server)))
    assert ask(lambda client: client.is_model_ready(url(server), CLASSIFIER))
    assert not ask(lambda client: client.is_model_ready(url(server), "nothing"))


@pytest.mark.parametrize("asks_bytes", [True, False])
@pytest.mark.parametrize("sends_bytes", [True, False])
def test_texts_are_labelled_and_written(sends_bytes: bool, asks_bytes: bool, server: Server) -> None:
    for model in (CLASSIFIER, ENDLESS):
        first = _infer(server, model, sends_bytes, asks_bytes)
        if model == CLASSIFIER:
            assert first == [[one["label"] for one in text] for text in classify(server, TEXTS)]
        else:
            assert first == [one["generated_text"] for one in generate(server, TEXTS)]


def _infer(server: Server, model: str, sends_bytes: bool, asks_bytes: bool) -> Any:
    """The first output."""
    request = kserve.InferRequest(model, [tensor(sends_bytes)], parameters={"binary_data_output": asks_bytes})
    return ask(lambda client: client.infer(url(server), request, model_name=model)).outputs[0].as_numpy().tolist()
