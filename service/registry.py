"""Which model versions are loaded, and which were refused and why. Knows no HTTP."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from service import artifact
from service.artifact import Manifest, Task
from service.errors import ArtifactError, InvalidRequest, NotFound, SettingsError, Unavailable
from service.inference.classifier import Classifier
from service.inference.generator import Generator
from service.inference.runtime import Runtime, require_provider
from service.metrics import Metrics
from service.settings import Settings
from service.text import Tokenizer
from service.words import Reader

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 3.0  # after the server has let its connections end; nothing should be left


class Refused(NamedTuple):
    """A version's folder that does not serve."""

    name: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """A version that serves; its worker generates or classifies, as the manifest's task says."""

    manifest: Manifest
    tokenizer: Tokenizer
    reader: Reader
    worker: Generator | Classifier

    @property
    def label(self) -> str:
        return f"{self.manifest.name}/{self.manifest.version}"


class Registry:
    """Loads the highest good version of every model in the folder; a bad one is refused and the next lower one tried."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raises SettingsError where the folder or the execution provider cannot be had."""
        require_provider(settings.provider)
        if not settings.models.is_dir():
            raise SettingsError(f"SEQSERVE_MODELS={settings.models}: there is no such folder")
        self._settings, self._metrics = settings, metrics
        self.models: dict[str, Model] = {}
        self.refused: list[Refused] = []
        for name, folders in artifact.versions(settings.models):
            self._load_highest(name, folders)
        metrics.refused_models.set(len(self.refused))
        for fault in self._default_faults():
            log.warning("%s", fault)

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
        return stopped + (self._default_faults(chosen) if chosen else [])

    def _default_faults(self, fields: Iterable[str] = ("generate_model", "classify_model")) -> list[str]:
        """What is wrong with the models that answer requests that name none."""
        faults = []
        for field in sorted(fields):
            name, task = getattr(self._settings, field), field.removesuffix("_model")
            model = self.models.get(name)
            if model is None or model.manifest.task != task:
                faults.append(f"SEQSERVE_{field.upper()}={name}: no model of that name is loaded for /{task}")
        return faults

    def close(self) -> None:
        """Answers what was accepted and stops."""
        for model in self.models.values():
            model.worker.close(CLOSE_TIMEOUT_S)

    def _find(self, name: str | None, default: str, task: Task) -> Model:
        model = self.models.get(default if name is None else name)
        if name is None:
            if model is None or model.manifest.task != task:
                raise Unavailable(f"the default model {default} is not loaded for /{task}; name another as model")
            return model
        if model is None:
            raise NotFound(f"model: there is no {name!r}; there are {', '.join(sorted(self.models)) or 'none'}")
        if model.manifest.task != task:
            raise InvalidRequest(f"model: {name} is for /{model.manifest.task}, not for /{task}")
        return model

    def _load_highest(self, name: str, folders: list[Path]) -> None:
        for folder in folders:
            try:
                model = self._load(folder)
            except SettingsError:
                raise
            except ArtifactError as error:
                self._refuse(name, folder, str(error))
                continue
            except Exception as error:  # whatever else is wrong with one folder must not take the others down
                self._refuse(name, folder, f"{name}/{folder.name}: cannot be loaded: {type(error).__name__}")
                continue
            log.info("serving %s (%s, %s)", model.label, model.manifest.task, model.manifest.cell)
            self.models[name] = model
            self._metrics.models.labels(name, folder.name, model.manifest.task).set(1)
            return

    def _refuse(self, name: str, folder: Path, reason: str) -> None:
        log.warning("refused: %s", reason)
        self.refused.append(Refused(name, int(folder.name), reason))

    def _load(self, folder: Path) -> Model:
        loaded = artifact.load(folder)
        runtime = Runtime(loaded, self._settings.provider, self._settings.operator_threads)
        worker: Generator | Classifier
        if loaded.manifest.task == "generate":
            worker = Generator(runtime, loaded.tokenizer, self._settings, self._metrics)
        else:
            worker = Classifier(runtime, loaded.tokenizer.padding_id, self._settings, self._metrics)
        return Model(loaded.manifest, loaded.tokenizer, loaded.reader, worker)
