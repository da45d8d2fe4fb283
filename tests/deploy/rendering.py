"""What `kubectl kustomize` makes of the folders of deploy/, and operators of that. Knows no rule, and nothing of the service."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OLDEST_MINOR = 27  # kubectl 1.27 was the first with kustomize 5
NAMING = ("resources", "components")  # the fields of a kustomization that name folders

Manifest = dict[str, Any]

# Where a manifest has the template of its pods.
TEMPLATES = {
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Pod:
    owner: Manifest
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def serves(self) -> bool:
        return self.labels.get("app.kubernetes.io/component") == "server"

    def __str__(self) -> str:
        return f"{self.owner['kind']} {self.owner['metadata']['name']}"


@dataclass(frozen=True)
class Rendering:
    """manifests: as rendered, and after them those that KEDA and KServe make of them."""

    manifests: list[Manifest]

    @classmethod
    def made_of(cls, rendered: list[Manifest]) -> "Rendering":
        return cls([*rendered, *(made for manifest in rendered for made in _made_by_operators(manifest))])

    def of(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    @cached_property
    def pods(self) -> list[Pod]:
        return [_pod(manifest) for manifest in self.manifests if manifest["kind"] in TEMPLATES]

    @property
    def servers(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.serves]

    def chosen(self, selector: Manifest) -> list[Pod]:
        """The pods that have the labels of a selector: a Service's says them at once, the others' in matchLabels."""
        return [pod for pod in self.pods if selector.get("matchLabels", selector).items() <= pod.labels.items()]


def kustomizations() -> list[str]:
    """The folders that are applied, and the components: those are rendered on top of the base."""
    found = sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml"))
    applied = [path for path in found if "kind: Kustomization" in (path / "kustomization.yaml").read_text(encoding="utf-8")]
    return [str(path.relative_to(DEPLOY)) for path in (*applied, *(path for path in found if path.parent == DEPLOY / "components"))]


@cache
def kubectl() -> str | None:
    """One that is new enough, where there is any: beside this Python, in the environment of `make audit`, or on the PATH."""
    places = [str(Path(sys.executable).parent), str(ROOT / ".venv-audit" / "bin"), *os.environ["PATH"].split(os.pathsep)]
    for place in places:
        program = shutil.which("kubectl", path=place)
        if program and _minor(program) >= OLDEST_MINOR:
            return program
    return None


@cache
def render(folder: str) -> str:
    """Raises AssertionError with what kubectl says of a folder that cannot be rendered."""
    if not folder.startswith("components/"):
        return _rendered(DEPLOY / folder)
    return render_on_top({"resources": ["base"], "components": [folder]})


def render_on_top(kustomization: Manifest) -> str:
    """A kustomization that names folders of deploy/."""
    with tempfile.TemporaryDirectory() as scratch:
        named = {
            key: [os.path.relpath(DEPLOY / path, Path(scratch).resolve()) for path in kustomization.get(key, [])] for key in NAMING
        }
        (Path(scratch) / "kustomization.yaml").write_text(json.dumps(kustomization | named), encoding="utf-8")
        return _rendered(Path(scratch))


def rendering(folder: str) -> Rendering:
    """A fresh one each time: who breaks it breaks it for no one else."""
    return Rendering.made_of(copy.deepcopy(_documents(folder)))


@cache
def _documents(folder: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(render(folder)) if document]


def _minor(program: str) -> int:
    told = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, text=True).stdout
    found = re.match(r"\d+", json.loads(told)["clientVersion"]["minor"]) if told else None
    return int(found.group()) if found else 0


def _rendered(path: Path) -> str:
    program = kubectl()
    assert program is not None
    done = subprocess.run([program, "kustomize", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, f"{path}: {done.stderr}"
    return done.stdout


def _pod(manifest: Manifest) -> Pod:
    template = manifest
    for key in TEMPLATES[manifest["kind"]]:
        template = template[key]
    return Pod(manifest, template["metadata"]["labels"], template["spec"])


def _made_by_operators(manifest: Manifest) -> Iterator[Manifest]:
    spec = manifest.get("spec", {})
    name = manifest["metadata"]["name"]
    if manifest["kind"] == "ScaledObject":
        bounds = {"minReplicas": spec["minReplicaCount"], "maxReplicas": spec["maxReplicaCount"]}
        yield _made("HorizontalPodAutoscaler", name, {"scaleTargetRef": spec["scaleTargetRef"], "metrics": [], **bounds})
    if manifest["kind"] == "InferenceService":
        name, predictor, labels = f"{name}-predictor", spec["predictor"], manifest["metadata"]["labels"]
        ports = [{"name": port["name"], "targetPort": port["name"]} for port in predictor["containers"][0]["ports"]]
        bounds = {"minReplicas": predictor["minReplicas"], "maxReplicas": predictor["maxReplicas"]}
        template = {"metadata": {"labels": labels}, "spec": predictor}
        yield _made("Deployment", name, {"template": template, "selector": {"matchLabels": {}}}, labels)
        yield _made("Service", name, {"selector": labels, "ports": ports}, labels)
        yield _made("HorizontalPodAutoscaler", name, {"scaleTargetRef": {"name": name}, "metrics": [], **bounds})


def _made(kind: str, name: str, spec: Manifest, labels: Manifest | None = None) -> Manifest:
    return {"kind": kind, "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
