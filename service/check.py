"""`python -m service check`: what would serve with these settings, what would not, and why."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from service import artifact
from service.errors import ArtifactError, SettingsError
from service.http.app import open_traces
from service.http.keys import Keys
from service.http.listener import check_address
from service.inference.runtime import require_provider
from service.metrics import Metrics
from service.model import Model, open_model
from service.registry import Registry, require_folder
from service.settings import Settings


class Finding(NamedTuple):
    """A line for a person."""

    text: str
    is_good: bool


def check(settings: Settings) -> Iterator[Finding]:
    """One finding for every version in the folder, for whatever else is wrong, and for every folder that is left out: that is no
    fault, but who looks for a model of their own learns why it does not serve.

    Raises SettingsError, with all faults at once, where the service would not start.
    """
    if faults := list(_start_faults(settings)):
        raise SettingsError(*faults)
    metrics = Metrics(settings.provider)
    with closing(Registry(settings, metrics)) as registry:
        refused = {settings.models / one.name / str(one.version): one.reason for one in registry.refused}
        for folder in (folder for _, folders in artifact.versions(settings.models) for folder in folders):
            serving = registry.models.get(folder.parent.name)
            if serving is not None and serving.manifest.version == int(folder.name):
                yield _good(serving, "serves, the default" if registry.is_default(serving.manifest) else "serves")
            elif folder in refused:
                yield _wrong(refused[folder])
            else:
                yield _tried(folder, settings, metrics)
        yield from map(_wrong, registry.warnings())
    yield from (Finding(f"skipped: {reason}", is_good=True) for reason in artifact.skipped(settings.models))


def _start_faults(settings: Settings) -> Iterator[str]:
    looks: list[Callable[[], object]] = [
        lambda: require_provider(settings.provider),
        lambda: require_folder(settings.models),
        lambda: Keys(settings),
        lambda: check_address(settings),
        lambda: open_traces().close() if settings.traces else None,
    ]
    for look in looks:
        try:
            look()
        except SettingsError as error:
            yield from error.faults


def _tried(folder: Path, settings: Settings, metrics: Metrics) -> Finding:
    """A version that does not serve now, but might be rolled back to."""
    try:
        model = open_model(folder, settings, metrics)
    except ArtifactError as error:
        return _wrong(str(error))
    model.worker.close(0.0)
    return _good(model, "could serve")


def _good(model: Model, verdict: str) -> Finding:
    manifest = model.manifest
    return Finding(f"{model.label:<28} {manifest.task:<8} {manifest.cell:<4}  {verdict}", is_good=True)


def _wrong(reason: str) -> Finding:
    return Finding(f"wrong: {reason}", is_good=False)
