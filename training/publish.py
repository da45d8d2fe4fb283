"""A finished model as the next version in models/, all of it or nothing of it."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from service import artifact
from service.artifact import Manifest
from service.errors import ArtifactError, SettingsError
from service.inference.runtime import Runtime
from training.errors import PublishError

STAGING = ".publishing-"
ABANDONED_S = 3600.0  # publishing takes seconds


def next_version(models: Path, name: str) -> int:
    """One more than the highest version there is, good or bad."""
    folder = models / name
    taken = [int(p.name) for p in folder.iterdir() if artifact.VERSION_PATTERN.fullmatch(p.name)] if folder.is_dir() else []
    return max(taken, default=0) + 1


def require_writable(models: Path) -> None:
    """Raises PublishError where nothing could be published: better before an hour of training than after."""
    place = next(folder for folder in (models, *models.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise PublishError(f"{models}: cannot be published to: {place} is not a folder that can be written to")


def publish(models: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Writes the folder beside the others, reads it back as the service will, and renames it into place.

    manifest's version and files are filled in here. A reader sees the whole folder or none, at any moment and after a crash.
    Raises PublishError; then nothing is published.
    """
    try:
        models.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(models)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=models) as staging:
            while True:
                version = next_version(models, manifest.name)
                staged = _stage(Path(staging), manifest.model_copy(update={"version": version}), files)
                target = models / manifest.name / str(version)
                target.parent.mkdir(exist_ok=True)
                if _rename(staged, target):
                    _flush_folder(target.parent)
                    return target
    except (ArtifactError, SettingsError) as error:
        raise PublishError(f"what was written does not load again: {error}") from error
    except OSError as error:
        raise PublishError(f"{models}: cannot be published to: {error.strerror or error}") from error


def _clear_abandoned(models: Path) -> None:
    """What runs that were killed in mid-publish left behind; never a folder that another one may be writing now."""
    for folder in models.glob(f"{STAGING}*"):
        with suppress(FileNotFoundError):  # one who publishes at the same time has just removed it
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _stage(staging: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """The folder, flushed to the disk and verified, still out of sight."""
    hashes = {name: artifact.sha256(content) for name, content in files.items()}
    manifest = manifest.model_copy(update={"files": hashes})
    folder = staging / manifest.name / str(manifest.version)
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in {**files, artifact.MANIFEST: manifest.model_dump_json(indent=2).encode()}.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _flush_folder(folder)
    Runtime(artifact.load(folder))
    return folder


def _rename(source: Path, target: Path) -> bool:
    """False where another run took the version in the meantime."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
