"""Questions to the service, and what every answer of a kind has in common."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from fastapi.testclient import TestClient
from httpx2 import Response

from service.http.schemas import StreamEvent
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.registry import Registry

PROMPT = "오늘 날씨가"
FOREVER = 100_000_000  # words: hours of them


def generate(
    client: TestClient, inputs: str | list[str] = PROMPT, model: str | None = None, state: str | None = None, **parameters: Any
) -> Any:
    """The answer to a request that must succeed."""
    return _answer(client, "/generate", question(inputs, model, state, **parameters)).json()


def classify(client: TestClient, inputs: str | list[str] = PROMPT, model: str | None = None, **parameters: Any) -> Any:
    """The answer to a request that must succeed."""
    return _answer(client, "/classify", question(inputs, model, **parameters)).json()


def stream(
    client: TestClient, inputs: str = PROMPT, model: str | None = None, state: str | None = None, **parameters: Any
) -> list[Any]:
    """The events of a stream that must succeed."""
    response = _answer(client, "/generate_stream", question(inputs, model, state, **parameters))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events(response.content)


def question(inputs: str | list[str] = PROMPT, model: str | None = None, state: str | None = None, **parameters: Any) -> Any:
    """The body of a request."""
    named = {"model": model, "state": state}
    return {"inputs": inputs, "parameters": parameters} | {name: value for name, value in named.items() if value is not None}


def events(content: bytes) -> list[Any]:
    """What a whole stream says, after a look at its form; comments say nothing."""
    *blocks, rest = content.decode().split("\n\n")
    assert rest == "", "the stream was cut off"
    return [json.loads(block.removeprefix("data:")) for block in blocks if not is_comment(block)]


def is_comment(block: str) -> bool:
    """Whether a block of a stream is a comment, after a look at its form: if not, it is one line of data."""
    assert block.startswith((":", "data:")), block
    assert "\n" not in block
    return block.startswith(":")


def written(told: list[Any]) -> str:
    """The pieces of a stream, joined as a client joins them; every event is of the documented form and has nothing beside it."""
    for index, event in enumerate(told):
        assert StreamEvent.model_validate(event, strict=True).model_dump(exclude_unset=True) == event
        assert event["index"] == index + 1
    return "".join(event["token"]["text"] for event in told if not event["token"]["special"])


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


def registry_of(app: object) -> Registry:
    """What create_app() has put behind its application."""
    registry: Registry = cast(Any, app).state.registry
    return registry


@contextmanager
def taken(app: object, places: int, words: int = FOREVER) -> Iterator[None]:
    """Some places are taken by a generation that goes on until the end of the block."""
    model, worker = registry_of(app).generator(None)
    ids = model.tokenizer.encode_prompt(PROMPT).ids
    ticket = worker.submit([Prompt(ids, [GenerationOptions(words)])] * places)
    try:
        yield
    finally:
        ticket.leave()


def accepted(app: object, name: str | None = None) -> int:
    """Inputs of a generator that were accepted and have not ended."""
    return registry_of(app).generator(name)[1]._door.taken


@contextmanager
def standing_still(app: object, name: str | None = None) -> Iterator[None]:
    """The loop of a generator, the default one, stands still in the middle of a generation until the end of the block."""
    model, worker = registry_of(app).generator(name)
    still, go_on = threading.Event(), threading.Event()

    def stand() -> None:
        still.set()
        go_on.wait(60)

    ticket, _ = worker.stream(Prompt(model.tokenizer.encode_prompt(PROMPT).ids, [GenerationOptions(FOREVER)]))
    ticket.progress = stand
    try:
        assert still.wait(20)
        yield
    finally:
        ticket.leave()
        go_on.set()


def _answer(client: TestClient, path: str, body: Any) -> Response:
    response: Response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response
