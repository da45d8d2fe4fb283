"""The real service with the models of this repository, and a real browser with the page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.browser import LAPTOP, opened
from tests.browser.screen import Screen
from tests.conftest import ROOT
from tests.service.process import Process, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    with opened() as browser:
        yield browser


@pytest.fixture(scope="package")
def service() -> Iterator[Process]:
    """For all tests that leave it as it was."""
    with running(models=ROOT / "models") as process:
        yield process


@pytest.fixture
def context(browser: "Browser", request: pytest.FixtureRequest) -> Iterator["BrowserContext"]:
    """As a Korean has it, unless a test says otherwise by a mark: @pytest.mark.parametrize("context", [options], indirect=True)."""
    options = {"locale": "ko-KR", "viewport": LAPTOP, "reduced_motion": "reduce", **getattr(request, "param", {})}
    context = browser.new_context(**options)
    yield context
    context.close()


@pytest.fixture
def screen(context: "BrowserContext", service: Process) -> Iterator[Screen]:
    """The page, which must do nothing that it never may."""
    screen = Screen(context.new_page(), service)
    screen.watch()
    yield screen.open()
    assert screen.unexpected() == []
