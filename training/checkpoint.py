"""Where an interrupted stage of training stood, in one file of the run folder. Knows nothing of what that means."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError

Contents = dict[str, Any]  # tensors, numbers, texts, and lists and dicts of them: what torch reads without unpickling code


class Checkpoint:
    """One file, replaced as a whole: a reader finds the last complete one, whenever the run was killed."""

    def __init__(self, path: Path, identity: str, every_s: float, warn: Callable[[str], None]) -> None:
        """identity: what the contents belong to, configuration and data; warn: is told where writing fails."""
        self._path, self._identity, self._every_s, self._warn = path, identity, every_s, warn
        self._written_s = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._written_s >= self._every_s

    def save(self, contents: Contents) -> None:
        """A disk that is full costs the checkpoint, never the run or the checkpoint before."""
        self._written_s = time.monotonic()
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                torch.save({"identity": self._identity, **contents}, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError where it cannot write
            fresh.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            self._warn(f"{self._path}: the checkpoint could not be written ({reason}); training goes on, the one before is kept")

    def load(self) -> Contents | None:
        """None where there is none yet. Raises TrainingError where it cannot be read, or belongs to another run."""
        if not self._path.exists():
            return None
        try:
            contents: Contents = torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes torch raise
            raise TrainingError(f"{self._path}: the checkpoint cannot be read; remove it to begin this stage anew") from error
        if contents.pop("identity", None) != self._identity:
            raise TrainingError(f"{self._path}: the checkpoint is that of another configuration or other data")
        return contents
