"""The folder of one run: its configuration, what it measured, and where it stands. Knows nothing of models."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from errno import EEXIST
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from training import hub
from training.config import HUB, SPLITS, Config
from training.errors import ConfigError, PublishError
from training.preset import describe

CONFIG, METRICS, DATA, MISTAKES = "config.json", "metrics.jsonl", "data", "mistakes.tsv"


class Plan(BaseModel):
    """config.json: all that a run depends on, so that it can be resumed. command: how to make the model again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    command: str
    models: str
    config: Config


class RunFolder:
    """runs/<name>-<time>/

    resumed: whether it was there before.
    """

    def __init__(self, path: Path, plan: Plan, resumed: bool = False) -> None:
        self.path, self.plan, self.resumed = path, plan, resumed

    @classmethod
    def create(cls, runs: Path, plan: Plan) -> "RunFolder":
        """A new folder that holds the plan, all of it or nothing. Raises PublishError where it cannot be written."""
        try:
            path = _new_folder(runs, plan.config.name)
            try:
                _write_whole(path / CONFIG, _found_from_anywhere(plan).model_dump_json(indent=2))
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
        except OSError as error:
            raise PublishError(
                f"{runs}: no run can be kept there: {error.strerror or error} (--runs names another folder)"
            ) from error
        return cls(path, plan)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Raises ConfigError where path is no folder of a run."""
        try:
            return cls(path, Plan.model_validate_json((path / CONFIG).read_text(encoding="utf-8")), resumed=True)
        except ValidationError as error:
            raise ConfigError(f"--resume {path}: is no folder of a run: its {CONFIG} says: {describe(error)}") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"--resume {path}: is no folder of a run: its {CONFIG} cannot be read") from error

    def checkpoint(self, stage: str) -> Path:
        return self.path / f"{stage}.checkpoint"

    def data_folder(self, process: int) -> Path:
        """Where a process keeps the encoded texts while it runs. Raises PublishError where it cannot be made."""
        folder = self.path / DATA / str(process)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PublishError(f"{folder}: cannot be made: {error.strerror or error}") from error
        return folder

    def forget_data(self) -> None:
        """The encoded texts can be made again, and are as large as the text. A new run that learnt nothing leaves no folder."""
        shutil.rmtree(self.path / DATA, ignore_errors=True)
        if not self.resumed and [path.name for path in self.path.iterdir()] == [CONFIG]:
            shutil.rmtree(self.path, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """A file for a person. A full disk costs the file, not the run."""
        try:
            (self.path / name).write_text(text, encoding="utf-8")
        except OSError:
            return

    def record(self, stage: str, values: Mapping[str, object]) -> None:
        """One line of metrics.jsonl. A full disk costs the line, not the run."""
        line = json.dumps({"time": round(time.time(), 3), "stage": stage, **values})
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return


def _new_folder(runs: Path, name: str) -> Path:
    """One that was not there before, whoever else begins a run in the same second."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = runs / f"{name}-{stamp}{f'-{attempt}' if attempt else ''}"
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise FileExistsError(EEXIST, os.strerror(EEXIST))


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whenever the process is killed."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _found_from_anywhere(plan: Plan) -> Plan:
    """Whoever resumes may stand in another folder."""
    data = plan.config.data
    places = {split: getattr(data, split) for split in SPLITS}
    absolute = {split: _absolute(place) for split, place in places.items() if place is not None}
    config = plan.config.model_copy(update={"data": data.model_copy(update=absolute)})
    return plan.model_copy(update={"config": config})


def _absolute(place: str) -> str:
    if not place.startswith(HUB):
        return str(Path(place).absolute())
    return place if hub.folder_of(place) is None else f"{HUB}{Path(place.removeprefix(HUB)).absolute()}"
