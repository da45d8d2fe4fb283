"""A rendered Deployment's pod, played by podman without a cluster, and its probes as a kubelet asks them.

podman 4.3 takes over the container, its limits, its rights, ConfigMaps and volumes. It knows no readiness and no start-up probe, no
sleep of preStop and no grace period, and asks a liveness probe with curl, which the image has not: the tests do with these what a
kubelet would do. It mounts Secrets as they are written, in base 64, so none is given. The other manifests are for a cluster alone.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import yaml

from tests.container.container import Container, attached
from tests.container.image import Image
from tests.container.network import PORT
from tests.deploy.rendering import Manifest, rendering
from tests.service.process import eventually

PLAYED = ("ConfigMap", "Deployment")


def probe(container: Container, spec: Manifest, kind: str) -> bool:
    """One try of a probe of the container that spec describes."""
    asked = spec[kind]
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    assert ports[asked["httpGet"]["port"]] == PORT
    return container.passes(asked["httpGet"]["path"], asked["timeoutSeconds"])


@contextmanager
def played(image: Image, folder: str, scratch: Path) -> Iterator[tuple[Container, Manifest]]:
    """The pod of a folder of deploy/, ready, and what the Deployment says of it."""
    manifests = [manifest for manifest in rendering(folder).manifests if manifest["kind"] in PLAYED]
    (deployment,) = (manifest for manifest in manifests if manifest["kind"] == "Deployment")
    deployment["metadata"]["name"] = f"seqserve-{uuid4().hex[:8]}"
    spec: Manifest = copy.deepcopy(deployment["spec"]["template"]["spec"])
    # podman would publish every port on this machine, which a pod without a network cannot.
    del deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    pod, path = f"{deployment['metadata']['name']}-pod-0", scratch / "pod.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    try:
        image.engine.podman("kube", "play", "--network=none", str(path))
        with attached(image.engine, f"{pod}-{spec['containers'][0]['name']}") as container:
            _wait_until_ready(container, spec["containers"][0])
            yield container, spec
    finally:
        image.engine.podman("pod", "rm", "--force", "--ignore", "--time=0", pod)


def _wait_until_ready(container: Container, spec: Manifest) -> None:
    """Within the time that the start-up probe gives it; a kubelet asks the other two only then."""
    start, ready = spec["startupProbe"], spec["readinessProbe"]
    eventually(lambda: probe(container, spec, "startupProbe"), start["periodSeconds"] * start["failureThreshold"])
    eventually(lambda: probe(container, spec, "readinessProbe"), ready["periodSeconds"])
