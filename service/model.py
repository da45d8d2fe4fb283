"""One version of a model that serves: read, verified, warmed up, and answering in a thread of its own. Knows no HTTP."""

from dataclasses import dataclass
from pathlib import Path

from service import artifact
from service.artifact import Manifest
from service.errors import ArtifactError, SettingsError
from service.inference.classifier import Classifier
from service.inference.generator import Generator
from service.inference.runtime import Runtime
from service.metrics import Metrics
from service.settings import Settings
from service.text import Tokenizer
from service.words import Reader


@dataclass(frozen=True, slots=True)
class Model:
    """Its worker generates or classifies, as the manifest's task says."""

    manifest: Manifest
    tokenizer: Tokenizer
    reader: Reader
    worker: Generator | Classifier

    @property
    def label(self) -> str:
        return f"{self.manifest.name}/{self.manifest.version}"


def open_model(folder: Path, settings: Settings, metrics: Metrics) -> Model:
    """The version in folder, its worker started. Raises ArtifactError where it must not serve, SettingsError where none could."""
    try:
        return _open(folder, settings, metrics)
    except (ArtifactError, SettingsError):
        raise
    except Exception as error:  # whatever else is wrong with one folder must not take the others down
        raise ArtifactError(f"{folder.parent.name}/{folder.name}: cannot be loaded: {type(error).__name__}") from error


def _open(folder: Path, settings: Settings, metrics: Metrics) -> Model:
    loaded = artifact.load(folder)
    runtime = Runtime(loaded, settings.provider, settings.operator_threads)
    runtime.warm_up(settings.max_rows)
    worker: Generator | Classifier
    if loaded.manifest.task == "generate":
        worker = Generator(runtime, loaded.tokenizer, settings, metrics)
    else:
        worker = Classifier(runtime, loaded.tokenizer, settings, metrics)
    return Model(loaded.manifest, loaded.tokenizer, loaded.reader, worker)
