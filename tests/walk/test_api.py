"""docs/api.md: every command is typed as it stands, at a service with the models that ship; and nothing is left out of it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from service.http import examples
from service.http.requests import ClassifyParameters, GenerateParameters
from tests.conftest import ROOT
from tests.service.process import Server, running
from tests.walk.pages import Command, commands, is_said

PAGE = ROOT / "docs" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")
ADDRESS = "localhost:8000"
ADMIN_KEY = "a-key-for-admins"
PACKAGES = ["huggingface_hub", "openai", "tritonclient"]


@pytest.fixture(scope="module")
def shipped() -> Iterator[Server]:
    with running(models="models", admin_keys=ADMIN_KEY, threads=1) as server:
        yield server


def typed(command: Command, server: Server) -> str:
    """What a command says. It must end well."""
    line = command.line.replace(ADDRESS, f"127.0.0.1:{server.port}")
    program = ["bash", "-o", "pipefail", "-c"] if command.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run([*program, line], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command.line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_of_the_page_says_what_the_page_says(shipped: Server) -> None:
    """In their order, in one service."""
    wrong = []
    for command in commands(PAGE):
        if command.language == "sh":
            said = typed(command, shipped)
            if not is_said(command, said):
                wrong.append(f"{command.line}\nsays  {said}\nnot   {command.answer}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_client_of_the_page_prints_what_the_page_says(package: str, shipped: Server) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    (command,) = [one for one in commands(PAGE) if one.language == "python" and package in one.line]
    said = typed(command, shipped)
    assert is_said(command, said), f"{command.line}\nsays  {said}\nnot   {command.answer}"


def test_every_command_asks_the_same_address_and_says_something() -> None:
    found = commands(PAGE)
    assert len(found) > 30
    assert [one.line for one in found if ADDRESS not in one.line] == []
    assert [one.line for one in found if one.answer is None] == []


def test_every_route_has_an_example_of_its_own(shipped: Server) -> None:
    """Which is asked for with its method, and not only named."""
    document = shipped.client.get("/openapi.json").json()
    asked = [command.line for command in commands(PAGE) if command.language == "sh"]
    for path, methods in document["paths"].items():
        address = re.compile(ADDRESS + re.sub(r"\\{\w+\\}", r"[^/\\s]+", re.escape(path)) + r"(?=['\"\s|]|$)")
        (method,) = methods
        lines = [line for line in asked if address.search(line)]
        assert any(_is_post(line) is (method == "post") for line in lines), f"{method} {path}"


def _is_post(line: str) -> bool:
    return " -d " in line or "-X POST" in line or "--data-binary" in line


@pytest.mark.parametrize("parameters", [GenerateParameters, ClassifyParameters])
def test_every_parameter_is_told_with_its_default_and_meaning(parameters: type[BaseModel]) -> None:
    assert [row for row in rows(parameters) if row not in TEXT] == []


def rows(parameters: type[BaseModel]) -> list[str]:
    found = []
    for name, field in parameters.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        found.append(f"| `{name}` | {shown} | {field.description} |")
    return found


def test_every_error_is_told() -> None:
    faults = {**examples.ERRORS, **{kind: fault for kind, fault in examples.CHANGES.items() if kind not in examples.ERRORS}}
    for kind, (told, sentence) in faults.items():
        assert f"| {kind.status} | `{kind.error_type}` | {told} | {sentence} |" in TEXT


def test_what_openapi_shows_is_what_comes(shipped: Server) -> None:
    """Of every inference: the example of the answer is that of the example of the request."""
    document = shipped.client.get("/openapi.json").json()
    fitting = 0
    for path, (method, operation) in ((path, *methods.items()) for path, methods in document["paths"].items()):
        content = operation["responses"]["200"]["content"]
        if method == "post" and "requestBody" in operation and "application/json" in content and "/pin" not in path:
            asked = operation["requestBody"]["content"]["application/json"]["example"]
            told = content["application/json"]["example"]
            name = "korean-sentiment" if "infer" in path else "korean-next-word"
            response = shipped.client.post(path.replace("{name}", name).replace("{version}", "2"), json=asked)
            assert _told_alike(told, response.json()), f"{path}: {response.text}"
            fitting += 1
    assert fitting == 10


def _told_alike(told: Any, found: Any) -> bool:
    if isinstance(told, dict):
        told = told | {
            name: "..." for name in ("id", "created") if name in told and name in found and isinstance(told[name], str | int)
        }
    return is_said(Command("", json.dumps(told)), json.dumps(found))
