"""promtool, as a person calls it."""

import shutil
import subprocess
from pathlib import Path

import pytest

MISSING = "no {} here; the package prometheus of Debian and Ubuntu has it"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=MISSING.format("promtool"))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What it says of good or of bad is on both streams: they come together, as stdout."""
    return subprocess.run(["promtool", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
