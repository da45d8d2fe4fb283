"""Rules: what a pod may do, what it may use, and what it is made of. A rule tells the faults that it finds in a rendering."""

import re
from collections.abc import Iterator

from service.version import VERSION
from tests.deploy.rendering import ROOT, Rendering

CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
LOWEST_USER = 10_000  # below, a node may have users of the same number


def pods_are_confined(rendering: Rendering) -> Iterator[str]:
    """Not root, no capability, nothing to write to but volumes, no API server, no part of the node."""
    for pod in rendering.pods:
        context = pod.spec.get("securityContext", {})
        kept = {
            "is not root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > LOWEST_USER,
            "has a filter of system calls": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "has no token": pod.spec.get("automountServiceAccountToken") is False,
            "has no names of Services in its environment": pod.spec.get("enableServiceLinks") is False,
            "shares nothing with its node": not any(key.startswith("host") for key in pod.spec),
            "mounts nothing of its node": not any("hostPath" in volume for volume in pod.spec.get("volumes", [])),
            "is confined": all(container.get("securityContext") == CONFINED for container in pod.containers),
        }
        yield from (f"{pod}: untrue that it {promise}" for promise, is_kept in kept.items() if not is_kept)


def resources_are_bounded(rendering: Rendering) -> Iterator[str]:
    """Every container says what it needs and may use, of CPU and memory; what serves gets all the memory that it may use."""
    for pod in rendering.pods:
        for container in pod.containers:
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            if not {"cpu", "memory"} <= requests.keys() & limits.keys():
                yield f"{pod}: {container['name']} has no bounds"
            elif pod.serves and requests["memory"] != limits["memory"]:
                yield f"{pod}: {requests['memory']} of {limits['memory']} of memory are its own"


def images_have_the_version(rendering: Rendering) -> Iterator[str]:
    """Every image is ours, of this version, with the suffix of a lock file at most; a label that says the version says this one."""
    for pod in rendering.pods:
        for container in pod.containers:
            found = re.fullmatch(rf"seqserve(?:-training)?:{re.escape(VERSION)}(-[a-z]+)?", container["image"])
            if found is None or not (ROOT / f"requirements{found[1] or ''}.lock").is_file():
                yield f"{pod} runs {container['image']}"
        if pod.labels.get("app.kubernetes.io/version", VERSION) != VERSION:
            yield f"{pod} says that it is another version"
