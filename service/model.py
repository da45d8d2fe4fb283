"""One version of a model that serves: read, verified, warmed up, and answering in a thread of its own. Knows no HTTP."""

from dataclasses import dataclass
from pathlib import Path

from service import artifact
from service.artifact import Artifact, Manifest
from service.errors import ArtifactError, SettingsError
from service.inference.classifier import Classifier
from service.inference.generator import Generator
from service.inference.runtime import Runtime
from service.metrics import Metrics
from service.priority import LOADING, behind
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


def open_model(folder: Path, settings: Settings, metrics: Metrics, meanwhile: bool = False) -> Model:
    """The version in folder, its worker started. Raises ArtifactError where it must not serve, SettingsError where none could.

    meanwhile: others are being answered, and have the processor first.
    """
    try:
        return _open(folder, settings, metrics, meanwhile)
    except (ArtifactError, SettingsError):
        raise
    except Exception as error:  # whatever else is wrong with one folder must not take the others down
        raise ArtifactError(f"{folder.parent.name}/{folder.name}: cannot be loaded: {type(error).__name__}") from error


def _open(folder: Path, settings: Settings, metrics: Metrics, meanwhile: bool) -> Model:
    loaded = behind(LOADING, lambda: artifact.load(folder)) if meanwhile else artifact.load(folder)
    # Threads that onnxruntime starts of its own would give way for as long as they live.
    alone = meanwhile and settings.operator_threads == 1
    runtime = behind(LOADING, lambda: _open_runtime(loaded, settings)) if alone else _open_runtime(loaded, settings)
    worker: Generator | Classifier
    if loaded.manifest.task == "generate":
        worker = Generator(runtime, loaded.tokenizer, settings, metrics)
    else:
        worker = Classifier(runtime, loaded.tokenizer, settings, metrics)
    return Model(loaded.manifest, loaded.tokenizer, loaded.reader, worker)


def _open_runtime(loaded: Artifact, settings: Settings) -> Runtime:
    runtime = Runtime(loaded, settings.provider, settings.operator_threads)
    runtime.warm_up(settings.max_rows)
    return runtime
