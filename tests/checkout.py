"""The working tree as a commit of all that is here would have it, and nothing that was built."""

import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.conftest import ROOT


def check_out(folder: Path) -> Path:
    """Puts it into folder, which is made."""
    for name in _names():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _names() -> Iterator[str]:
    # safe.directory: somebody else may have checked it out.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return filter(None, listed.stdout.split("\0")) if listed.returncode == 0 else _exported()


def _exported() -> Iterator[str]:
    """Of a tree without a history: all but what .gitignore names."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not any(fnmatch(part, pattern) for part in parts for pattern in (*ignored, ".git")):
            yield str(path.relative_to(ROOT))
