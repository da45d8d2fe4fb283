"""The manifests, rendered, against the schemas of many versions of Kubernetes and against checkov."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.audit.outcome import Outcome, judged, ran
from tests.deploy.rendering import DEPLOY, kubectl, kustomizations, render

OLDEST_MINOR = 30  # preStop's sleep is there from Kubernetes 1.30 on
# Of operators: kubernetes-validate has no schema for them. Any other kind that it does not know is a fault.
OF_OPERATORS = {"InferenceService", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
SKIPPED = DEPLOY / "checkov.yaml"


def look_at(scratch: Path) -> Iterator[Outcome]:
    """scratch: an empty folder for what is rendered."""
    if kubectl() is None:
        yield Outcome("kubectl kustomize", "not done", "there is no kubectl here that is new enough")
        return
    try:
        for folder in kustomizations():
            (scratch / f"{folder.replace('/', '-')}.yaml").write_text(render(folder), encoding="utf-8")
    except AssertionError as error:
        yield Outcome("kubectl kustomize", "bad", "a folder cannot be rendered", str(error))
        return
    rendered = sorted(scratch.iterdir())
    yield Outcome("kubectl kustomize", "good", f"{len(rendered)} folders and components are rendered")
    yield from _validate(rendered)
    yield _ask_checkov(scratch)


def _validate(rendered: list[Path]) -> Iterator[Outcome]:
    unknown: set[str] = set()
    for minor in itertools.count(OLDEST_MINOR):
        done = ran("kubernetes-validate", "--strict", "-k", f"1.{minor}", *rendered)
        if "does not support kubernetes version" in done.stdout:
            break
        without = set(re.findall(r"Couldn't find schema for kind (\w+)", done.stdout))
        unknown |= without & OF_OPERATORS
        passed = done.stdout.count("INFO ")
        outcome = judged(f"kubernetes-validate 1.{minor}", done, f"{passed} manifests, strictly")
        if without - OF_OPERATORS or not passed:
            outcome = Outcome(outcome.check, "bad", f"no schema for {sorted(without - OF_OPERATORS)}", done.stdout)
        yield outcome
    yield Outcome("kubernetes-validate", "not done", f"schema not checked, an operator's: {', '.join(sorted(unknown))}")


def _ask_checkov(scratch: Path) -> Outcome:
    command = ("--directory", scratch, "--config-file", SKIPPED, "--skip-download", "--compact", "--quiet")
    done = ran("checkov", *command, "--output", "json")
    try:
        summary = json.loads(done.stdout)["summary"]
    except (ValueError, KeyError, TypeError):
        return Outcome("checkov", "bad", "it answered nothing that can be read", done.stdout + done.stderr)
    left_out = SKIPPED.read_text(encoding="utf-8").count("- CKV")
    line = f"{summary['passed']} passed, {summary['failed']} failed; {left_out} are not asked, see deploy/{SKIPPED.name}"
    if done.returncode or summary["failed"] or not summary["passed"]:
        return Outcome("checkov", "bad", line, ran("checkov", *command).stdout)
    return Outcome("checkov", "good", line)
