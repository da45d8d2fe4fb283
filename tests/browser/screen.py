"""The page as a person uses it, and what it must never do meanwhile."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.browser.browser import EXPECTED_MS, expect
from tests.service.process import Process

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request


@dataclass
class Screen:
    """A tab with the page, and the service behind it."""

    page: "Page"
    service: Process
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self) -> "Screen":
        """Until the page knows what serves."""
        self.page.goto(f"{self.address}/")
        expect(self.page.locator("#card .name")).to_be_visible()
        return self

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def watch(self) -> None:
        """Notes what the page must never do: errors, broken rules of its policy, and other hosts."""
        self.page.set_default_timeout(EXPECTED_MS)
        self.page.on("console", lambda said: self._note(f"{said.type}: {said.text} {said.location['url']}", said.type != "log"))
        self.page.on("pageerror", lambda error: self._note(f"error: {error}", True))
        self.page.on("request", lambda request: self._note(f"asks {request.url}", not self._is_ours(request.url)))

    def unexpected(self) -> list[str]:
        """What it did and should not have; expected: parts of what this test provokes."""
        return [fault for fault in self.faults if not any(part in fault for part in self.expected)]

    def _note(self, fault: str, is_fault: bool) -> None:
        if is_fault:
            self.faults.append(fault)

    def _is_ours(self, url: str) -> bool:
        return url.removeprefix("blob:").startswith(f"{self.address}/")

    # What a person does

    def find(self, selector: str) -> "Locator":
        return self.page.locator(selector)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tab(self, name: str) -> None:
        self.find(f"#tab-{name}").click()

    def write(self, text: str) -> None:
        """Into the text, at once; then its suggestions are there."""
        self.find("#text").fill(text)
        self.suggested_after(text)

    def generate(self, text: str, **options: object) -> None:
        """Writes on, until it ends."""
        self.write(text)
        self.set_options(**options)
        self.find("#generate").click()
        self.ended()

    def classify(self, text: str) -> None:
        with self.page.expect_response(lambda response: response.url.endswith("/classify")):
            self.find("#review").fill(text)
        expect(self.find("#tinted")).to_have_text(text, use_inner_text=False)

    def set_options(self, **options: object) -> None:
        """way: greedy or sample; the others by the names they have in a request."""
        if not self.find("#options").is_visible():
            self.find(".options > summary").click()
        if way := options.pop("way", None):
            self.find(f"#options [value={way}]").check()
        for name, value in options.items():
            self.find(f"#options [name={name}]").fill(str(value))

    # What a person sees

    def suggested_after(self, text: str) -> None:
        expect(self.find("#suggestions")).to_have_attribute("data-after", text)

    def ended(self) -> None:
        expect(self.find("#answer")).to_have_attribute("aria-busy", "false")

    def chips(self, selector: str = "#suggestions") -> list[str]:
        return list(self.find(f"{selector} li:visible .text").all_inner_texts())

    def words(self) -> list[str]:
        return list(self.find("#answer .word").all_inner_texts())

    def answer(self) -> str:
        return " ".join(self.find("#answer").inner_text().split())

    def focused(self) -> str:
        """What the focus is on, by its id or its text."""
        return str(self.page.evaluate("document.activeElement.id || document.activeElement.textContent"))

    # What the service says to the same

    def ask(self, path: str, inputs: Any, model: str | None = None, **parameters: Any) -> Any:
        body = {"inputs": inputs, "parameters": parameters} | ({"model": model} if model else {})
        return self.service.client.post(path, json=body).raise_for_status().json()

    def asked(self, path: str) -> list[Any]:
        """From now on the bodies that the page sends there."""
        bodies: list[Any] = []

        def note(request: "Request") -> None:
            if request.url.endswith(path):
                bodies.append(json.loads(request.post_data or ""))

        self.page.on("request", note)
        return bodies

    def failed(self) -> list[str]:
        """From now on the requests of the page that got no answer, and why."""
        requests: list[str] = []
        self.page.on("requestfailed", lambda request: requests.append(f"{request.url}: {request.failure}"))
        return requests
