"""The base image: the one that the Dockerfile names, or where no registry can be reached, one made of what this machine has.

The latter is Debian of this machine's release with a CPython of this machine in /usr/local, trimmed as the real one is. Its Python
may be of another minor version than the name says.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.container.engine import Engine, EngineError

BASE = "docker.io/library/python:3.12-slim"
STAND_IN = "made-of-this-machine"
LEFT_OUT = ("__pycache__", "tkinter", "_tkinter*", "test", "tests", "idle_test", "site-packages", "config-3*", "*.a", "*.py[co]")
TELL_PREFIX = "import ensurepip, sys; assert sys.version_info >= (3, 11); print(sys.base_prefix)"


def provide_base(engine: Engine, scratch: Path) -> str:
    """Puts it into the storage, if it is not there. Returns which one it is. Raises EngineError where it cannot be had."""
    if not engine.has_image(BASE):
        try:
            engine.run("timeout", "60", "podman", "pull", "--quiet", BASE)
        except EngineError:
            _make(engine, scratch)
    return "a stand-in made of this machine" if _labels(engine).get(STAND_IN) else BASE


def _labels(engine: Engine) -> dict[str, str]:
    return engine.inspect(BASE, "image")["Labels"] or {}


def _make(engine: Engine, scratch: Path) -> None:
    prefix, root = _find_python(), scratch / "root"
    packages = _packages_of(prefix)
    release = _release()
    engine.run("mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(root))
    shutil.copytree(prefix, root / "usr/local", symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for program in (root / "usr/local/bin").iterdir():
        if not program.name.startswith("python"):
            program.unlink()  # it came with a package, which was left out
    inside = ["chroot", str(root), "/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    engine.run(*inside, "ldconfig")
    engine.run(*inside, "ln", "-sf", "python3", "/usr/local/bin/python")
    engine.run(*inside, "python3", "-Bm", "ensurepip", "--default-pip")
    archive = scratch / "base.tar"
    engine.run("tar", "-C", str(root), "-cf", str(archive), ".")
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    changes = [f"--change={change}" for change in (f"ENV {path}", "ENV LANG=C.UTF-8", f"LABEL {STAND_IN}=true", 'CMD ["python3"]')]
    engine.podman("import", *changes, str(archive), BASE)
    shutil.rmtree(root)
    archive.unlink()


def _find_python() -> Path:
    """The folder of an interpreter that can be copied: 3.12 if there is one, else that of these tests."""
    for candidate in _candidates():
        told = subprocess.run([candidate, "-c", TELL_PREFIX], capture_output=True, text=True)
        prefix = Path(told.stdout.strip() or "/usr")
        if told.returncode == 0 and prefix != Path("/usr"):
            return prefix
    raise EngineError(f"{BASE} cannot be pulled, and no Python here can be copied: Debian's own is strewn over /usr")


def _candidates() -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/3.12.*/bin/python3.12")))
    if found := shutil.which("python3.12"):
        yield found
    yield sys.executable


def _packages_of(prefix: Path) -> list[str]:
    """Debian's packages with the libraries that the interpreter and its modules are linked to."""
    modules = [path for path in prefix.glob("lib/python3*/lib-dynload/*.so") if not path.name.startswith("_tkinter")]
    told = subprocess.run(
        ["ldd", str(prefix / "bin/python3"), *map(str, modules)], capture_output=True, text=True, check=True
    ).stdout
    linked = {Path(word) for word in told.split() if word.startswith("/") and not word.endswith(":")}
    names = {str(name) for path in linked for name in (path, path.resolve()) if not name.is_relative_to(prefix)}
    # /lib is /usr/lib, and the package's list has one of the two: it is found by one name, and not by the other.
    owners = subprocess.run(["dpkg-query", "-S", *sorted(names)], capture_output=True, text=True).stdout
    return ["ca-certificates", "netbase", "tzdata", *sorted({line.split(":")[0] for line in owners.splitlines()})]


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"].strip('"')
