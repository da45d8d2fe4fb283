"""`make audit`: what linters, advisories and schemas say of the images, the code, the locks and the manifests. A line a check.

Runs in an environment of its own, from requirements-audit.lock, and loads nothing of the service.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.audit import advisories, manifests
from tests.audit.outcome import Outcome, judged, ran, report

DOCKERFILES = ("Dockerfile", "Dockerfile.training")
# What bandit is not asked, since ruff is not either (pyproject.toml), and why.
LEFT_OUT = {
    "B101": "assert tells the type checker what the code above it made sure of",
    "B311": "random numbers here are for shuffling, not for secrets",
    "B404": "to import subprocess is no fault; every call of it is looked at",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit.run", description=__doc__)
    parser.add_argument("--environment", type=Path, required=True, help="the virtual environment that serves")
    parser.add_argument("--sbom", type=Path, required=True, help="where the list of what it holds goes (CycloneDX, JSON)")
    arguments = parser.parse_args()
    outcomes = []
    for outcome in _checks(arguments.environment.absolute(), arguments.sbom.absolute()):
        print(outcome, flush=True)
        outcomes.append(outcome)
    return report(outcomes)


def _checks(environment: Path, sbom: Path) -> Iterator[Outcome]:
    for name in DOCKERFILES:
        yield judged(f"hadolint {name}", ran("hadolint", name), "nothing to say")
    options = ["--skip", ",".join(LEFT_OUT), "-f", "custom", "--msg-template", "{relpath}:{line}: {test_id} {msg}"]
    yield judged("bandit", ran("bandit", "-q", *options, "-r", "service", "training"), "service and training")
    yield advisories.look_up()
    with tempfile.TemporaryDirectory() as scratch:
        yield from manifests.look_at(Path(scratch))
    yield _list_packages(environment, sbom)


def _list_packages(environment: Path, sbom: Path) -> Outcome:
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-format", "JSON"]
    done = ran("cyclonedx-py", "environment", *options, "--output-file", sbom, environment)
    if done.returncode:
        return judged("sbom", done, "")
    packages = json.loads(sbom.read_text(encoding="utf-8"))["components"]
    return Outcome("sbom", "good" if packages else "bad", f"{len(packages)} packages in {sbom.name}")


if __name__ == "__main__":
    sys.exit(main())
