"""What a check found: one line, and the tool's own words where it failed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.deploy.rendering import ROOT

TOOLS = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".venv-checkov" / "bin")])


@dataclass(frozen=True)
class Outcome:
    """state: good, bad, or not done for a reason that is no fault of what was to be checked."""

    check: str
    state: Literal["good", "bad", "not done"]
    line: str
    words: str = ""

    def __str__(self) -> str:
        return f"{self.state:<9} {self.check:<32} {self.line}"


def ran(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A locked tool, never one that happens to be on the PATH, run in the repository."""
    program = shutil.which(tool, path=TOOLS)
    assert program is not None, f"there is no {tool} in {TOOLS}"
    return subprocess.run([program, *arguments], cwd=ROOT, env={**os.environ, "LOG_LEVEL": "ERROR"}, capture_output=True, text=True)


def judged(check: str, done: subprocess.CompletedProcess[str], line: str) -> Outcome:
    """By the exit code."""
    if done.returncode == 0:
        return Outcome(check, "good", line)
    return Outcome(check, "bad", f"exit code {done.returncode}", done.stdout + done.stderr)


def report(outcomes: Sequence[Outcome]) -> int:
    """The exit code: 1 where anything is bad."""
    bad = [outcome for outcome in outcomes if outcome.state == "bad"]
    for outcome in bad:
        print(f"\n{outcome.check}:\n{outcome.words.strip()}")
    return 1 if bad else 0
