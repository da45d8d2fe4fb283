"""Known vulnerabilities of what is locked, from whichever advisory source can be reached."""

import json
from pathlib import Path
from typing import Any

from tests.audit.outcome import Outcome, ran
from tests.deploy.rendering import ROOT

CHECK = "pip-audit"
SOURCES = {"pypi": "PyPI", "osv": "OSV"}
CHECKOV = "requirements-checkov.lock"  # never shipped, and held at old versions by checkov itself


def look_up() -> Outcome:
    """Bad where a package has a known vulnerability, or where the source that told of one lock file fails at another."""
    locks = [path.name for path in sorted(ROOT.glob("requirements*.lock")) if path.name != CHECKOV]
    source = next((source for source in SOURCES if _known(_asked("requirements.lock", source))), None)
    if source is None:
        return Outcome(CHECK, "not done", f"no advisory source can be reached from here: neither {' nor '.join(SOURCES.values())}")
    answers = {lock: _asked(lock, source) for lock in locks}
    words = [f"{lock}: nothing was told of it" for lock, packages in answers.items() if not _known(packages)]
    words += [_told(lock, package) for lock, packages in answers.items() for package in _known(packages) if package["vulns"]]
    if words:
        return Outcome(CHECK, "bad", f"known vulnerabilities, by {SOURCES[source]}", "\n".join(words))
    packages = {package["name"]: "vulns" in package for found in answers.values() for package in found}
    unknown = f", {len(packages) - sum(packages.values())} of them unknown to it" if not all(packages.values()) else ""
    return Outcome(CHECK, "good", f"{len(packages)} packages of {len(locks)} lock files, by {SOURCES[source]}{unknown}")


def _asked(lock: str, source: str) -> list[Any]:
    """The packages of a lock file, with "vulns" where the source knew them; none where it could not be asked."""
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    done = ran("pip-audit", "--requirement", Path(lock), "--vulnerability-service", source, *options)
    try:
        packages: list[Any] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return packages


def _known(packages: list[Any]) -> list[Any]:
    return [package for package in packages if "vulns" in package]


def _told(lock: str, package: Any) -> str:
    return f"{lock}: {package['name']} {package['version']}: {', '.join(found['id'] for found in package['vulns'])}"
