"""What many tests share: published small models, an application over them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests.builders import Small, publish_small

ROOT = Path(__file__).parent.parent

GENERATORS = (Small(cell="rnn"), Small(cell="gru", layers=2), Small(cell="lstm"))
# The last one reads unknown words by their characters.
CLASSIFIERS = (
    Small("classify", "gru"),
    Small("classify", "lstm", bidirectional=True, pooling="mean"),
    Small("classify", "lstm", bidirectional=True, pooling="attention", ngrams=3, tables="int8"),
)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one small model of every kind; tests must not change it."""
    folder = tmp_path_factory.mktemp("small")
    for small in (*GENERATORS, *CLASSIFIERS):
        publish_small(folder / "models", small, folder / "scratch")
    return folder / "models"


@pytest.fixture(scope="session")
def settings(small_models: Path) -> Settings:
    return Settings(models=small_models, generate_model="lstm1-generate", classify_model="bilstm1-classify")


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A fresh application in this process, with its loops running."""
    with TestClient(create_app(settings)) as client:
        yield client
