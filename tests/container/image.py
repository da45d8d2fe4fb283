"""The image under test: built from what a clean checkout of the working tree has, and looked into without running it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from service.version import VERSION
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


def build(engine: Engine, context: Path) -> Image:
    """As docker build does it. Raises EngineError, with the end of what the build said."""
    mounts = [f"--volume={path}:{path}:ro" for path in HOST_FILES if Path(path).exists()]
    arguments = [f"--build-arg={key}={value}" for key, value in {"VERSION": VERSION, "REVISION": REVISION}.items()]
    how = ["--isolation=chroot", "--pull-never", "--format=docker", "--layers", *mounts, *arguments]
    engine.buildah("bud", *how, "--tag", NAME, str(context))
    return Image(engine, NAME, context)
