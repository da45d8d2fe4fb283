"""What is in the image, and what is not."""

import re
from pathlib import Path

from service.version import VERSION
from tests.container.conftest import Tell
from tests.container.image import REVISION, Image

MOST_BYTES_BEYOND_BASE = 300_000_000
TOOLS = ("cc", "c++", "gcc", "g++", "clang", "ld", "as", "make", "git", "curl", "wget", "uv")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_of_the_checkout_it_holds_the_service_the_models_and_the_licence_and_nothing_else(image: Image) -> None:
    held = files(image.root / "app")
    wanted = {name for name in files(image.context) if name.startswith(("service/", "models/")) or name == "LICENSE"}
    assert {name for name in held if "__pycache__" not in name} == wanted


def test_every_module_has_its_bytecode_for_nothing_can_be_written_later(image: Image) -> None:
    for folder in (image.root / "app/service", image.packages / "fastapi", image.packages / "onnxruntime/capi"):
        modules = list(folder.rglob("*.py"))
        assert modules
        missing = [path for path in modules if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
        assert missing == []


def test_it_holds_no_torch_no_training_and_no_tool_of_the_developers(image: Image) -> None:
    present = {path.name.partition("-")[0].lower() for path in image.packages.iterdir()}
    assert {"onnxruntime", "fastapi", "numpy"} <= present
    assert not present & {"torch", "onnx", "sklearn", "datasets", "accelerate", "pytest", "mypy", "ruff", "hypothesis"}


def test_it_holds_nobodys_tests(image: Image) -> None:
    assert (image.packages / "numpy/testing").is_dir()  # it is no test, and is kept
    assert [path for root in ("app", "opt/venv") for path in (image.root / root).rglob("tests")] == []


def test_its_environment_has_no_pip_and_the_locks_versions(image: Image) -> None:
    assert not list(image.packages.glob("pip*")) + list(image.packages.glob("setuptools*"))
    assert not list((image.root / "opt/venv/bin").glob("pip*"))
    lock = (image.context / "requirements.lock").read_text(encoding="utf-8")
    locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
    installed = {normal(path.name.split("-")[0]) for path in image.packages.glob("*.dist-info")}
    assert installed <= locked
    assert {"onnxruntime", "fastapi", "uvicorn"} <= installed


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_holds_no_compiler_and_nothing_to_download_with(image: Image) -> None:
    folders = [image.root / name for name in ("usr/local/bin", "usr/bin", "bin", "usr/sbin", "opt/venv/bin")]
    assert any((folder / "python3").exists() for folder in folders)
    assert [tool for tool in TOOLS for folder in folders if (folder / tool).exists()] == []


def test_nothing_of_ours_can_be_changed_by_the_user_that_it_runs_as(image: Image) -> None:
    for folder in ("app", "opt/venv"):
        paths = [image.root / folder, *(image.root / folder).rglob("*")]
        assert [str(path) for path in paths if not path.is_symlink() and (path.stat().st_mode & 0o022 or path.stat().st_uid)] == []


def test_it_says_what_it_is_and_how_it_is_run(image: Image) -> None:
    labels = image.facts["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    told = image.facts["Config"]
    assert told["User"] == "10001:10001"
    assert told["ExposedPorts"] == {"8000/tcp": {}}
    assert told["StopSignal"] == "SIGTERM"
    assert told["Entrypoint"] == ["python", "-m", "service"]


def test_beyond_the_base_and_without_models_it_has_at_most_300_mb(image: Image, tell: Tell) -> None:
    size = image.bytes_beyond_base
    tell(f"{size / 1e6:.0f} MB unpacked beyond the base without models, at most {MOST_BYTES_BEYOND_BASE / 1e6:.0f} are wanted")
    assert size <= MOST_BYTES_BEYOND_BASE
