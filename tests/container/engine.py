"""buildah and podman over a storage of their own, so that nobody else's images and containers are touched. Knows no seqserve."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEEDED = ("buildah", "podman", "runc", "conmon", "catatonit", "mmdebstrap")
PACKAGES = (*NEEDED, "netavark", "uidmap")
INSTALL = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
RUN = Path("/run/seqserve-image-test")  # what the engines know of running containers; gone after a restart, as they are
PATIENCE_S = 600.0

# default_ulimits: podman's own are higher than a root without CAP_SYS_RESOURCE may set.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
static_dir = "{storage}/libpod"
volume_path = "{storage}/volumes"
tmp_dir = "{run}/libpod"

[network]
network_backend = "netavark"
"""

STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{storage}"
runroot = "{run}/storage"
"""


class EngineError(Exception):
    """buildah or podman failed; the message has what it said."""


@dataclass(frozen=True)
class Engine:
    """Images, layers and containers, where the environment says that they are kept."""

    environment: dict[str, str]

    def podman(self, *arguments: str) -> str:
        return self.run("podman", *arguments).stdout.strip()

    def buildah(self, *arguments: str) -> str:
        return self.run("buildah", *arguments).stdout.strip()

    def run(self, *command: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Raises EngineError where it fails, and TimeoutExpired."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode:
            raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done

    def inspect(self, name: str, kind: str = "container") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.podman("inspect", "--type", kind, name))[0]
        return found

    def has_image(self, name: str) -> bool:
        return bool(self.podman("image", "ls", "--quiet", "--filter", f"reference={name}"))

    def clean(self) -> None:
        """Removes every container, and layers that no build has made use of for a week."""
        self.podman("pod", "rm", "--all", "--force", "--time", "0")
        self.podman("rm", "--all", "--force", "--time", "0")
        self.podman("volume", "prune", "--force")
        self.podman("secret", "rm", "--all")
        self.buildah("rm", "--all")
        self.podman("image", "umount", "--all", "--force")
        self.podman("image", "prune", "--force", "--filter", "until=168h")


def missing() -> str | None:
    """What this machine lacks, and how to get it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the tests of the image need root on Linux: they enter the containers' networks"
    if absent := [program for program in NEEDED if shutil.which(program, path=_path()) is None]:
        return f"the tests of the image need {', '.join(absent)}: {INSTALL}"
    apart = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"the tests of the image need namespaces, which are refused here: {apart.stderr.strip()}" if apart.returncode else None


@contextmanager
def engine() -> Iterator[Engine]:
    """Layers stay in the cache folder, so that only the first build takes long. Waits until no other run uses them."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqserve-image-test"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Engine(_environment(folder))
        made.clean()  # a run that was killed leaves its containers
        try:
            yield made
        finally:
            made.clean()


def _environment(folder: Path) -> dict[str, str]:
    """This environment, with configurations that say where everything is kept."""
    places = {"storage": folder / "storage", "run": RUN}
    (folder / "storage.conf").write_text(STORAGE.format(**places))
    (folder / "containers.conf").write_text(CONTAINERS.format(**places))
    return {
        **os.environ,
        "PATH": _path(),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "DISABLE_HC_SYSTEMD": "true",  # a health check would want a timer of systemd, which may not run here
    }


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
