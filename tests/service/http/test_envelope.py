"""service.http.envelope: what is told of a request when it is over."""

import json
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.logs import formatter
from service.settings import Settings
from tests.service.http.ask import PROMPT


class Lines(logging.Handler):
    """What the log would be."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter(Settings(log_format="json"), is_terminal=False))
        self.written: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))

    @property
    def access(self) -> list[dict[str, object]]:
        return [line for line in self.written if line["logger"] == "service.access"]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def logged(settings: Settings, lines: Lines) -> Iterator[TestClient]:
    with TestClient(create_app(settings.model_copy(update={"access_log": True}))) as client:
        yield client


def test_the_access_log_has_a_line_for_every_request(logged: TestClient, lines: Lines, settings: Settings) -> None:
    for path in ("/generate", "/generate_stream", "/classify"):
        response = logged.post(path, json={"inputs": PROMPT}, headers={"x-request-id": f"id-of{path.replace('/', '-')}"})
        told = lines.access.pop()
        assert told["request_id"] == response.headers["x-request-id"]
        assert (told["event"], told["route"], told["status"], told["outcome"]) == (f"POST {path}", path, 200, "answer")
        assert told["model"] == (settings.classify_model if path == "/classify" else settings.generate_model)
        parts = [told[f"{part}_s"] for part in ("encode", "queue", "inference", "total")]
        assert all(isinstance(part, float) for part in parts)
    assert len(lines.access) == 3


def test_a_refused_request_has_a_line_that_says_why(logged: TestClient, lines: Lines) -> None:
    logged.post("/classify", json={"inputs": ""})
    logged.get("/nothing-there")
    told = [(line["route"], line["status"], line["outcome"]) for line in lines.access]
    assert told == [("/classify", 422, "validation"), ("other", 404, "not_found")]


def test_nothing_that_a_client_writes_stands_in_the_access_log(logged: TestClient, lines: Lines) -> None:
    logged.post("/classify", json={"inputs": "비밀", "model": "secret"})
    logged.get("/secret?secret=1", headers={"authorization": "Bearer secret"})
    assert len(lines.access) == 2
    assert "secret" not in json.dumps(lines.access)
    assert "비밀" not in json.dumps(lines.access, ensure_ascii=False)


def test_without_being_asked_nothing_is_logged_of_a_request(client: TestClient, lines: Lines) -> None:
    client.post("/classify", json={"inputs": PROMPT})
    assert lines.access == []
