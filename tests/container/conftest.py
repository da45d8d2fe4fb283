"""What the tests of the image share: the image, and one hardened container for all that leave it as it was."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkout import check_out
from tests.container.base import provide_base
from tests.container.container import Container, running
from tests.container.engine import Engine, EngineError, engine, missing
from tests.container.image import Image, build

FOLDER = Path(__file__).parent

Tell = Callable[[str], None]
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Takes a line with a figure, which is told at the end, also where all is well."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"image: {line}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a program is missing, one test is skipped for all: one line says which, and how to get it."""
    here = [item for item in items if item.path.is_relative_to(FOLDER)]
    if here and (lack := missing()):
        here[0].add_marker(pytest.mark.skip(reason=lack))
        config.hook.pytest_deselected(items=here[1:])
        items[:] = [item for item in items if item not in here[1:]]


@pytest.fixture(scope="session")
def engines() -> Iterator[Engine]:
    with engine() as both:
        yield both


@pytest.fixture(scope="session")
def image(engines: Engine, tmp_path_factory: pytest.TempPathFactory, tell: Tell) -> Image:
    """Built once, with the service of the working tree."""
    folder = tmp_path_factory.mktemp("image")
    try:
        tell(f"built on {provide_base(engines, folder)}")
    except EngineError as error:
        pytest.skip(f"there is no base image: {str(error).splitlines()[0]}")
    return build(engines, _closed(check_out(folder / "checkout")))


def _closed(folder: Path) -> Path:
    """As closed as a strict umask leaves what is checked out: nobody else may read what the build does not open to them."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
    return folder


@pytest.fixture(scope="session")
def service(image: Image) -> Iterator[Container]:
    """As small as a pod may be, with the models of the repository."""
    with running(image, "--cpus=1", "--memory=512m") as container:
        yield container


@pytest.fixture
def models(image: Image, tmp_path: Path) -> Path:
    """A copy of the image's models folder, which a container can read and a test may change."""
    return Path(shutil.copytree(image.root / "app/models", tmp_path / "models"))
