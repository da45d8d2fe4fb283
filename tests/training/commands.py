"""Command lines of training.run as tests type them, and what they leave behind."""

import json
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.folder import METRICS
from training.run import main


def setting(*pairs: str) -> list[str]:
    """--set for each key=value."""
    return [word for pair in pairs for word in ("--set", pair)]


def begin(arguments: Sequence[str], models: Path) -> int:
    """The exit code. Runs are kept beside models."""
    return main([*arguments, "--models", str(models)])


def succeeds(arguments: Sequence[str], models: Path) -> Path:
    """The one version that a command line published."""
    assert begin(arguments, models) == 0
    (version,) = versions(models)
    return version


def versions(models: Path) -> list[Path]:
    """Every version of every name, in order."""
    return sorted(path for name in models.iterdir() for path in name.iterdir()) if models.exists() else []


def runs(models: Path) -> list[Path]:
    """The folders of all runs, the first one first."""
    folder = models.parent / "runs"
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns) if folder.exists() else []


def only_run(models: Path) -> Path:
    (run,) = runs(models)
    return run


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]


def epochs(run: Path, stage: str = "fit") -> list[int]:
    """The epochs of a stage that are done, as metrics.jsonl tells."""
    return [line["epoch"] for line in metrics(run) if line["stage"] == stage and "share" not in line]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a disk that is full: whoever writes more bytes than that into one file is told that it cannot be."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
