"""One application in this process for all tests that leave it as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests.service.conftest import ENDLESS


@pytest.fixture(scope="session")
def service_settings(service_models: Path) -> Settings:
    return Settings(models=service_models, generate_model=ENDLESS, classify_model="bilstm1-classify")


@pytest.fixture(scope="session")
def service(service_settings: Settings) -> Iterator[TestClient]:
    """Generates with the endless model and classifies with the BiLSTM where a request names no other."""
    with TestClient(create_app(service_settings)) as client:
        yield client
