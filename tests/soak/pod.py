"""pod: two models within a memory limit of 256 MiB, as a small pod has it: under load, and while both are swapped."""

import time
from pathlib import Path

from tests.soak.ask import serving
from tests.soak.cgroup import Group, NoGroup, memory_group
from tests.soak.load import sending
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service
from tests.soak.soak import Soak
from tests.soak.versions import NAMES, next_version, shelf
from tests.soak.watch import watching

SHARE = 0.8
LIMIT_MIB, MIB = 256, 2**20
SERVES_WITHIN_S = 20.0
LEAST_S = 12.0


def pod(soak: Soak) -> Result:
    try:
        with memory_group(LIMIT_MIB * MIB) as group:
            return _in_group(soak, group)
    except NoGroup as error:
        # A limit of the address space would count what is mapped and never touched, which no pod's limit does.
        return Result("pod", skipped=f"no memory cgroup can be made here ({error})")


def _in_group(soak: Soak, group: Group) -> Result:
    findings = Findings("pod")
    models = shelf(soak.work / "pod")
    with service(soak.work, models, before=group.enter, poll_s=0.5) as running:
        soak.warm_up(running)
        with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
            time.sleep((load.ends_s - time.monotonic()) / 2)
            loaded_mb = max(seen.memory_mb)
            for name in NAMES:
                _swap(findings, running, models, name)
            records = load.wait()
        findings.none_failed(records)
        findings.promise("nothing is killed for memory", f"{group.killed}", not group.killed and running.popen.poll() is None)
        findings.notes += [
            f"limit {LIMIT_MIB} MiB: at most {group.peak_bytes / MIB:.0f} MiB counted, of which files may be given back",
            f"resident: {loaded_mb:.0f} MB under load, {max(seen.memory_mb):.0f} MB with swaps",
        ]
        findings.clean_log(running.complaints)
    return findings.result(records, seen)


def _swap(findings: Findings, running: Service, models: Path, name: str) -> None:
    version = next_version(models, name)
    served = eventually(lambda: serving(running, name) == version, SERVES_WITHIN_S)
    findings.promise(f"there is room for a swap of {name}", f"version {version}", served)
