"""One service over real sockets for all clients, and one with a key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.http.app import create_app
from service.settings import Settings
from tests.builders import Small, publish_small
from tests.clients.ask import CLASSIFIER, ENDLESS, KEY
from tests.service.process import Server, serving


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that never ends by itself, one that does, and a classifier; tests must not change the folder."""
    folder = tmp_path_factory.mktemp("clients")
    for small in (Small(cell="gru", sentence_end=False), Small(cell="lstm"), Small("classify", "lstm", bidirectional=True)):
        publish_small(folder / "models", small, folder / "scratch")
    return folder / "models"


@pytest.fixture(scope="session")
def settings(models: Path) -> Settings:
    return Settings(models=models, generate_model=ENDLESS, classify_model=CLASSIFIER, max_new_tokens=10**8, max_answer_tokens=10**9)


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[Server]:
    with serving(create_app(settings)) as server:
        yield server


@pytest.fixture(scope="session")
def guarded(settings: Settings) -> Iterator[Server]:
    keys = {"api_keys": KEY}
    with serving(create_app(Settings.model_validate(settings.model_dump(exclude_unset=True) | keys))) as server:
        yield server


@pytest.fixture
def full(settings: Settings) -> Iterator[tuple[Server, object]]:
    """A service with one place, and its application."""
    app = create_app(settings.model_copy(update={"max_waiting": 1}))
    with serving(app) as server:
        yield server, app
