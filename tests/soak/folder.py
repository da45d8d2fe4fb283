"""folder: a version that is damaged, a disk that is full, a folder that is gone, all under load. What served serves on."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.soak.ask import refused, serving
from tests.soak.load import sending
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import PREFIX_CACHE_BYTES, Soak
from tests.soak.versions import NAMES, newest, next_version, shelf
from tests.soak.watch import watching

SHARE = 0.5
POLL_S = 0.5
SEEN_WITHIN_S = 15.0
LEFT_BYTES = 3_000_000  # on the disk: less than a version takes
LEAST_S = 16.0
NAME = NAMES[1]


def folder(soak: Soak) -> Result:
    """Without the right to mount a small disk, all but the full one is tried."""
    findings = Findings("folder")
    with _small_disk(soak.work / "folder", findings) as (disk, is_small):
        models = shelf(disk / "models")
        steps = [_damaged, *([_full] if is_small else []), _gone]
        with service(soak.work, models, poll_s=POLL_S, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
            soak.warm_up(running)
            with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
                for step in steps:
                    step(findings, running, models)
                records = load.wait()
            findings.none_failed(records)
            findings.clean_log(running.complaints)
    return findings.result(records, seen)


def _damaged(findings: Findings, running: Service, models: Path) -> None:
    """A bit of the graph has turned over."""
    before = serving(running, NAME)
    version = next_version(models, NAME, spoil=True)
    told = eventually(lambda: (NAME, version) in refused(running), SEEN_WITHIN_S)
    counted = running.total("seqserve_refused_models"), running.total("seqserve_model_loads_total", model=NAME, outcome="refused")
    findings.promise("a damaged version is refused in /models", f"{refused(running)}", told)
    findings.promise("and in the metrics", f"{counted}", counted == (1, 1))
    findings.promise("the old version serves on", f"{serving(running, NAME)}", serving(running, NAME) == before)
    shutil.rmtree(models / NAME / str(version))
    findings.promise("and is forgotten when it is gone", "", eventually(lambda: not refused(running), SEEN_WITHIN_S))


def _full(findings: Findings, running: Service, models: Path) -> None:
    """A copy that breaks off, as a person's does, and stays as it is."""
    before = serving(running, NAME)
    version = models / NAME / str((before or 0) + 1)
    free = shutil.disk_usage(models).free
    filler = models / "filler"
    filler.write_bytes(bytes(max(0, free - LEFT_BYTES)))
    try:
        shutil.copytree(newest(models, NAME), version)
        findings.promise("the disk is full", "it was not", False)
    except (OSError, shutil.Error) as error:
        findings.promise("the disk is full", f"{error}"[-60:], "No space left" in str(error))
    told = eventually(lambda: (NAME, int(version.name)) in refused(running), SEEN_WITHIN_S)
    findings.promise("what came of the copy is refused", f"{refused(running)}", told)
    findings.promise("the old version serves on beside a full disk", "", serving(running, NAME) == before)
    filler.unlink()
    shutil.rmtree(version)
    _take_up(findings, running, models, "with room again the next version serves")


def _gone(findings: Findings, running: Service, models: Path) -> None:
    """All of it, and then it is back with a new version."""
    before = [serving(running, name) for name in NAMES]
    aside = models.with_name("aside")
    models.rename(aside)
    shutil.copytree(aside, models.with_name("back"))
    shutil.rmtree(aside)
    time.sleep(3 * POLL_S)  # so that it is looked for more than once
    findings.promise("without a folder all serve on", "", [serving(running, name) for name in NAMES] == before)
    findings.promise("and it is ready", "", running.ask("GET", "/readyz")[0] == 200)
    models.with_name("back").rename(models)
    _take_up(findings, running, models, "when it is back the next version serves")


def _take_up(findings: Findings, running: Service, models: Path, what: str) -> None:
    version = next_version(models, NAME)
    findings.promise(what, f"{version}", eventually(lambda: serving(running, NAME) == version, SEEN_WITHIN_S))


@contextmanager
def _small_disk(folder: Path, findings: Findings) -> Iterator[tuple[Path, bool]]:
    """A disk in memory with room for a few versions, if we may have one."""
    folder.mkdir()
    if os.geteuid() != 0 or _run("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)):
        findings.notes.append("skipped: the full disk, for a small one could not be mounted (needs root)")
        yield folder, False
        return
    try:
        yield folder, True
    finally:
        _run("umount", "-l", str(folder))


def _run(*command: str) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode
