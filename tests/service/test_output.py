"""service.output: what cannot be written ends a command as a shell expects it, and never in a traceback."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from service.settings import Settings
from tests.conftest import ROOT
from tests.service.process import START, command, environment

COMMANDS = [["--help"], ["ask", "--help"], ["check"], ["ask", "오늘"]]

NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")


@pytest.fixture
def nobody() -> Iterator[int]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def full() -> Iterator[IO[bytes]]:
    """A file on a disk without any room."""
    with Path("/dev/full").open("wb") as file:
        yield file


def told(
    arguments: list[str], settings: Settings, stdout: int | IO[bytes], stderr: int | IO[bytes] = subprocess.PIPE
) -> tuple[int, str]:
    """The exit code of a command, and its standard error."""
    given = {name: getattr(settings, name) for name in ("models", "generate_model", "classify_model")}
    ended = subprocess.run(
        [*START, *arguments], cwd=ROOT, env=environment(**given), stdout=stdout, stderr=stderr, text=True, timeout=60
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_leaves_ends_a_command_quietly_and_as_a_shell_expects(
    arguments: list[str], settings: Settings, nobody: int
) -> None:
    assert told(arguments, settings, nobody) == (141, "")


@NEEDS_FULL
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_disk_that_is_full_ends_a_command_with_2_and_a_line(arguments: list[str], settings: Settings, full: IO[bytes]) -> None:
    assert told(arguments, settings, full) == (2, "error: standard output cannot be written: no space left on device\n")


@NEEDS_FULL
def test_where_not_even_a_fault_can_be_told_the_code_is_still_2(settings: Settings, full: IO[bytes]) -> None:
    assert told(["check"], settings, full, full)[0] == 2
    assert told(["ask", "오늘", "--model", "nothing"], settings, subprocess.DEVNULL, full)[0] == 2


def test_letters_that_a_terminal_does_not_know_are_written_with_backslashes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ended = command("ask", "오늘", "--model", settings.generate_model, models=settings.models)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{settings.generate_model}/1: \\uc624\\ub298")
