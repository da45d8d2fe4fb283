"""Which version of every model serves, and how another takes its place under load. Knows no HTTP.

Requests look a model up in a table that is only ever replaced whole. A version that is to serve is read, verified and warmed up
beside the one that serves; then the table is replaced, and the old version answers what it had accepted and goes. Whatever fails
before that leaves the old one serving.
"""

import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from service.allocator import give_back
from service.artifact import Manifest, Task, skipped
from service.choices import Choices
from service.errors import ArtifactError, InvalidRequest, NotFound, SettingsError, Unavailable
from service.farewell import Farewell
from service.inference.classifier import Classifier
from service.inference.generator import Generator
from service.inference.runtime import require_provider
from service.metrics import Metrics
from service.model import Model, open_model
from service.settings import NEWEST, UNLOADED, Settings, Wanted
from service.shelf import Refused, Shelf

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 3.0  # after the server has let its connections end; nothing should be left
LEAVES_S = 10.0  # that one has to go before the next comes; longer answers go on beside it


def require_folder(models: Path) -> None:
    """Raises SettingsError where there is none."""
    if not models.is_dir():
        raise SettingsError(f"SEQSERVE_MODELS={models}: there is no such folder")


class Registry:
    """The highest good version of every model in the folder serves, unless another, or none, is wanted."""

    def __init__(self, settings: Settings, metrics: Metrics, shared: Path | None = None) -> None:
        """shared: a file through which several processes want the same versions.

        Raises SettingsError where the folder or the execution provider cannot be had.
        """
        require_provider(settings.provider)
        require_folder(settings.models)
        self._settings, self._metrics = settings, metrics
        self._shelf = Shelf(settings.models)
        self._choices = Choices(settings.versions, shared)
        self._changing = threading.Lock()
        self._farewell = Farewell(settings.request_timeout_s + CLOSE_TIMEOUT_S)
        self._closed = False
        self.models: dict[str, Model] = {}
        self.refresh(at_once=True)
        give_back()
        for fault in self.warnings():
            log.warning("%s", fault)
        for reason in skipped(settings.models):  # once: who adds one later asks check
            log.warning("skipped: %s", reason)

    @property
    def refused(self) -> list[Refused]:
        return self._shelf.refused

    def wanted(self, name: str) -> Wanted:
        """The version that is asked for, NEWEST or UNLOADED."""
        return self._choices.of(name)

    def generator(self, name: str | None) -> tuple[Model, Generator]:
        """The named model or the default one. Raises NotFound, InvalidRequest or Unavailable."""
        model = self._find(name, self._settings.generate_model, "generate")
        assert isinstance(model.worker, Generator)  # _find has compared the task
        return model, model.worker

    def classifier(self, name: str | None) -> tuple[Model, Classifier]:
        """The named model or the default one. Raises NotFound, InvalidRequest or Unavailable."""
        model = self._find(name, self._settings.classify_model, "classify")
        assert isinstance(model.worker, Classifier)  # _find has compared the task
        return model, model.worker

    def is_default(self, manifest: Manifest) -> bool:
        return (
            manifest.name == {"generate": self._settings.generate_model, "classify": self._settings.classify_model}[manifest.task]
        )

    def faults(self) -> list[str]:
        """Why the service is not ready; empty where it is."""
        if not self.models:
            return [f"no model could be loaded from {self._settings.models}", *(refused.reason for refused in self.refused)]
        stopped = [f"the loop of {model.label} has stopped" for model in self.models.values() if not model.worker.alive]
        # A default that nobody chose may be missing: a service may classify only. One that was chosen is promised.
        chosen = {"generate_model", "classify_model"} & self._settings.model_fields_set
        return stopped + self._pin_faults() + (self._default_faults(chosen) if chosen else [])

    def warnings(self) -> list[str]:
        """What is asked for and does not serve, be it by a default that nobody chose."""
        return self._pin_faults() + self._default_faults()

    # Changes, one at a time; each may take seconds, and none holds up a request.

    def refresh(self, at_once: bool = False) -> None:
        """Brings what serves up to what lies in the folder. at_once: also what may still be being copied.

        A folder that cannot be read changes nothing: what serves is in memory.
        """
        with self._changing, suppress(Unavailable):  # it is the end
            self._bring_up_all(at_once)

    def follow(self) -> None:
        """Does what another process was told to."""
        if self._choices.refresh():
            self.refresh(at_once=True)

    def choose(self, name: str, wanted: Wanted) -> None:
        """From now on this version of a model serves, the newest, or none.

        Raises NotFound for what is not in the folder, InvalidRequest for a version that is refused, Unavailable at the end; then
        nothing has changed.
        """
        with self._changing:
            self._check_open()
            gone = wanted == UNLOADED and name in self.models  # whether or not its folder is still there
            folders = [] if gone else self._folders(name)
            self._settle_on(name, wanted, self._pinned(name, wanted, folders) if isinstance(wanted, int) else None)
            self._bring_up(name, folders, at_once=True)

    def roll_back(self, name: str) -> None:
        """The highest good version below the one that serves serves instead, until another is chosen.

        Raises NotFound where there is none, Unavailable at the end; then nothing has changed.
        """
        with self._changing:
            serving = self.models.get(name)
            for folder in self._folders(name):
                below = serving is not None and int(folder.name) < serving.manifest.version
                if below and (model := self._open(folder)) is not None:
                    self._settle_on(name, int(folder.name), model)
                    return
            raise NotFound(f"{name}: there is no good version below the one that serves")

    def retire(self) -> None:
        """Nothing is changed any more, and of what is being changed no more is done than to finish reading a version."""
        self._closed = True
        self._farewell.hurry()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Answers what was accepted and stops. What is left of it after timeout_s ends as unavailable."""
        self.retire()
        with self._changing:
            for model in self.models.values():
                model.worker.close(timeout_s)
            self._farewell.close(timeout_s)

    def _check_open(self) -> None:
        """Raises Unavailable where all loops have stopped, or are about to: none is to be begun anew."""
        if self._closed:
            raise Unavailable("the service is shutting down; ask again, and another one answers")

    def _folders(self, name: str) -> list[Path]:
        try:
            found = dict(self._shelf.versions())
        except OSError as error:
            raise Unavailable(f"the models folder cannot be read: {error.strerror or error}") from error
        if name not in found:
            raise NotFound(f"there is no model {name!r}; there are {', '.join(found) or 'none'}")
        return found[name]

    def _pinned(self, name: str, version: int, folders: list[Path]) -> Model | None:
        """The version, ready to serve; None where it serves already."""
        folder = self._shelf.folder(name, version)
        if folder not in folders:
            raise NotFound(f"{name}: there is no version {version}; there are {', '.join(f.name for f in reversed(folders))}")
        serving = self.models.get(name)
        if serving is not None and serving.manifest.version == version:
            return None
        model = self._open(folder)
        if model is None:
            reasons = {(refused.name, refused.version): refused.reason for refused in self.refused}
            raise InvalidRequest(reasons[name, version])
        return model

    def _settle_on(self, name: str, wanted: Wanted, model: Model | None) -> None:
        """The choice is kept, and then what it comes to serves. Raises Unavailable where other processes cannot be told."""
        try:
            others_chose = self._choices.set(name, wanted)
        except OSError as error:
            if model is not None:
                model.worker.close(0.0)
            raise Unavailable(f"the choice cannot be kept: {error.strerror or error}") from error
        if model is not None:
            self._put_up(model)
        if others_chose:
            self._bring_up_all(at_once=True)

    def _bring_up_all(self, at_once: bool) -> None:
        try:
            found = list(self._shelf.versions())
        except OSError as error:
            log.warning("%s: cannot be read: %s", self._settings.models, error.strerror or error)
            return
        for name, folders in found:
            self._bring_up(name, folders, at_once)
        self._metrics.refused_models.set(len(self.refused))

    def _bring_up(self, name: str, folders: list[Path], at_once: bool) -> None:
        """The first folder that may and can serve does; folders: the highest version first. Raises Unavailable."""
        wanted = self.wanted(name)
        if wanted == UNLOADED:
            self._take_down(name)
            return
        serving = self.models.get(name)
        for folder in folders:
            if wanted not in (NEWEST, int(folder.name)):
                continue
            if serving is not None and serving.worker.alive and int(folder.name) == serving.manifest.version:
                return
            if self._shelf.is_refused(folder) or not (self._shelf.settled(folder) or at_once):
                continue
            if (model := self._open(folder)) is not None:
                self._put_up(model)
                return

    def _open(self, folder: Path) -> Model | None:
        """The version in folder, ready to serve; None where it was refused, aloud. Raises Unavailable."""
        self._farewell.wait(LEAVES_S)
        self._check_open()
        try:
            model = open_model(folder, self._settings, self._metrics, meanwhile=bool(self.models))
        except ArtifactError as error:
            self._refuse(folder, str(error))
        else:
            self._shelf.accept(folder)
            return model
        finally:
            self._metrics.refused_models.set(len(self.refused))
        return None

    def _refuse(self, folder: Path, reason: str) -> None:
        log.warning("refused: %s", reason)
        self._shelf.refuse(folder, reason)
        self._metrics.loads.labels(folder.parent.name, "refused").inc()

    def _put_up(self, model: Model) -> None:
        manifest = model.manifest
        before = self.models.get(manifest.name)
        self.models = dict(sorted({**self.models, manifest.name: model}.items()))
        log.info("serving %s (%s, %s)", model.label, manifest.task, manifest.cell)
        self._metrics.loads.labels(manifest.name, "served").inc()
        if before is not None:
            self._let_go(before)
        self._metrics.models.labels(manifest.name, str(manifest.version), manifest.task).set(1)

    def _take_down(self, name: str) -> None:
        before = self.models.get(name)
        if before is not None:
            self.models = {other: model for other, model in self.models.items() if other != name}
            log.info("unloaded %s", before.label)
            self._let_go(before)

    def _let_go(self, model: Model) -> None:
        manifest = model.manifest
        self._metrics.forget_model(manifest.name, str(manifest.version), manifest.task)
        self._farewell.see_off(model)

    def _find(self, name: str | None, default: str, task: Task) -> Model:
        model = self.models.get(default if name is None else name)
        if name is None:
            if model is None or model.manifest.task != task:
                raise Unavailable(f"the default model {default} is not loaded for /{task}; name another as model")
            return model
        if model is None:
            raise NotFound(f"model: there is no {name!r}; there are {', '.join(self.models) or 'none'}")
        if model.manifest.task != task:
            raise InvalidRequest(f"model: {name} is for /{model.manifest.task}, not for /{task}")
        return model

    def _pin_faults(self) -> list[str]:
        """Versions that are asked for and do not serve."""
        versions = {name: model.manifest.version for name, model in self.models.items()}
        return [
            f"{name}/{pin} is asked for and not loaded" for name, pin in self._choices.pins.items() if versions.get(name) != pin
        ]

    def _default_faults(self, fields: Iterable[str] = ("generate_model", "classify_model")) -> list[str]:
        """What is wrong with the models that answer requests that name none."""
        faults = []
        for field in sorted(fields):
            name, task = getattr(self._settings, field), field.removesuffix("_model")
            model = self.models.get(name)
            if model is None:
                faults.append(f"SEQSERVE_{field.upper()}={name}: no model of that name is loaded for /{task}")
            elif model.manifest.task != task:
                faults.append(f"SEQSERVE_{field.upper()}={name}: that model is for /{model.manifest.task}, not for /{task}")
        return faults
