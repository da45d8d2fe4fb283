"""The image under test: built from what a clean checkout of the working tree has, and looked into without running it."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from service.version import VERSION
from tests.conftest import ROOT
from tests.container.base import BASE
from tests.container.engine import Engine

NAME = f"localhost/seqserve:{VERSION}"  # as deploy/ names it
REVISION = "0123abc"

# Read-only, and only while a step runs: how this machine reaches the package index is no business of the image's.
HOST_FILES = ("/etc/ssl/certs", "/etc/pip.conf")


@dataclass(frozen=True)
class Image:
    """What was built, and the folder with the files that it was built from."""

    engine: Engine
    name: str
    context: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.engine.inspect(self.name, "image")

    @cached_property
    def root(self) -> Path:
        """Its whole file system, to be read."""
        return Path(self.engine.podman("image", "mount", self.name))

    @cached_property
    def packages(self) -> Path:
        return next(self.root.glob("opt/venv/lib/python3*/site-packages"))

    @property
    def bytes_beyond_base(self) -> int:
        """Unpacked, all layers, without the models."""
        models = sum(path.stat().st_size for path in (self.root / "app/models").rglob("*") if path.is_file())
        base: int = self.engine.inspect(BASE, "image")["Size"]
        return int(self.facts["Size"]) - base - models


def check_out(folder: Path) -> Path:
    """The files that a commit of all that is here would have, as closed as a strict umask leaves them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
    return folder


def build(engine: Engine, context: Path) -> Image:
    """As docker build does it. Raises EngineError, with the end of what the build said."""
    mounts = [f"--volume={path}:{path}:ro" for path in HOST_FILES if Path(path).exists()]
    arguments = [f"--build-arg={key}={value}" for key, value in {"VERSION": VERSION, "REVISION": REVISION}.items()]
    how = ["--isolation=chroot", "--pull-never", "--format=docker", "--layers", *mounts, *arguments]
    engine.buildah("bud", *how, "--tag", NAME, str(context))
    return Image(engine, NAME, context)
