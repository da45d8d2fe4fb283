"""Chromium, without which these tests are skipped aloud: Debian's, or the one that the variable CHROMIUM names."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, ViewportSize

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXPECTED_MS = 20_000  # that something may take on a busy machine before a test gives up
LAPTOP: "ViewportSize" = {"width": 1180, "height": 860}
TELEPHONE: "ViewportSize" = {"width": 360, "height": 740}


def find_chromium() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium fonts-nanum, or CHROMIUM=/path/to/it")
    return found


@contextmanager
def opened(*options: str) -> Iterator["Browser"]:
    """A browser without a window; options: of its command line."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the development environment")
    driver.expect.set_options(timeout=EXPECTED_MS)
    # Who is root has no sandbox to put it in.
    arguments = [*options, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        yield browser
        browser.close()


def expect(locator: "Locator") -> Any:
    """playwright's own, imported when there is something to expect: without it the tests can be read all the same."""
    from playwright.sync_api import expect

    return expect(locator)
