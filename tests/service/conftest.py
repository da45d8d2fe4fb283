"""What the tests of the service share: a model that never ends by itself, and the service in a process of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import Small, publish_small
from tests.service.process import Process, running

ENDLESS = "gru1-generate"  # knows no end of a sentence: it writes as many words as it is asked for


@pytest.fixture(scope="session")
def service_models(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small models and one more, which never ends by itself; tests must not change the folder."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(small_models, folder / "models")
    publish_small(folder / "models", Small(cell="gru", sentence_end=False), folder / "scratch")
    return folder / "models"


@pytest.fixture(scope="session")
def server(service_models: Path) -> Iterator[Process]:
    """The service in a process of its own, for all tests that leave it as it was. Its generations may be very long."""
    with running(
        models=service_models,
        generate_model=ENDLESS,
        classify_model="bilstm1-classify",
        max_new_tokens=100_000_000,
        max_answer_tokens=100_000_000_000,
    ) as process:
        yield process
