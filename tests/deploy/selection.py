"""Rules: who selects whom, and who may talk to whom. A rule tells the faults that it finds in a rendering."""

import json
from collections.abc import Iterator
from typing import Any

from tests.deploy.references import settings_of
from tests.deploy.rendering import TEMPLATES, Manifest, Pod, Rendering

NAMESPACE: Manifest = {"podSelector": {}}
PROMETHEUS: Manifest = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def pods_are_known(rendering: Rendering) -> Iterator[str]:
    """Every manifest with containers is one whose pods the rules look at."""
    for manifest in rendering.manifests:
        if '"containers":' in json.dumps(manifest) and manifest["kind"] not in (*TEMPLATES, "InferenceService"):
            yield f"no rule knows the pods of a {manifest['kind']}"


def selectors_choose(rendering: Rendering) -> Iterator[str]:
    """Whatever selects, selects something, and a Deployment its own pods."""
    for kind, field in (("Service", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for manifest in rendering.of(kind):
            if not rendering.chosen(manifest["spec"][field]):
                yield f"the {kind} {manifest['metadata']['name']} selects no pod"
    for monitor in rendering.of("ServiceMonitor"):
        if not _scraped(monitor, rendering):
            yield "the ServiceMonitor selects no Service"
    for pod in rendering.pods:
        spread = [constraint["labelSelector"] for constraint in pod.spec.get("topologySpreadConstraints", [])]
        if not all(pod in rendering.chosen(selector) for selector in (pod.owner["spec"].get("selector", {}), *spread)):
            yield f"{pod} does not select its own pods"


def ports_exist(rendering: Rendering) -> Iterator[str]:
    """A port that is named is one of the pods that it is named for."""
    for service in rendering.of("Service"):
        named = {port["targetPort"] for port in service["spec"]["ports"]}
        yield from _missing(named, rendering.chosen(service["spec"]["selector"]), "the Service")
    for policy in rendering.of("NetworkPolicy"):
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        yield from _missing(named, rendering.chosen(policy["spec"]["podSelector"]), "the NetworkPolicy")
    for pod in rendering.pods:
        probes = [container[key] for container in pod.containers for key in container if key.endswith("Probe")]
        yield from _missing({probe["httpGet"]["port"] for probe in probes}, [pod], "a probe")
    for monitor in rendering.of("ServiceMonitor"):
        named = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
        for service in _scraped(monitor, rendering):
            if not named <= {port["name"] for port in service["spec"]["ports"]}:
                yield f"the ServiceMonitor asks for {named}, which the Service has not"


def the_network_is_closed(rendering: Rendering) -> Iterator[str]:
    """Every pod has a policy both ways; what serves is asked by its namespace and Prometheus, and goes out for traces alone."""
    for pod in rendering.pods:
        policies = [p["spec"] for p in rendering.of("NetworkPolicy") if pod in rendering.chosen(p["spec"]["podSelector"])]
        if {kind for policy in policies for kind in policy["policyTypes"]} != {"Ingress", "Egress"}:
            yield f"{pod} has no policy both ways"
        rules = [rule for policy in policies for rule in policy["ingress"]]
        named = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        if {port["port"] for rule in rules for port in rule["ports"]} != named:
            yield f"{pod} has the ports {named}, and others are open"
        sources = [source for rule in rules for source in rule["from"]]
        if not (NAMESPACE in sources and PROMETHEUS in sources if pod.serves else not sources):
            yield f"{pod} is asked by {sources}"
        traces = pod.serves and settings_of(pod, rendering).traces
        if any(policy["egress"] for policy in policies) != traces:
            yield f"{pod} goes out, or has traces to send and cannot"


def _scraped(monitor: Manifest, rendering: Rendering) -> list[Manifest]:
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    return [service for service in rendering.of("Service") if wanted <= service["metadata"]["labels"].items()]


def _missing(named: set[Any], pods: list[Pod], whose: str) -> Iterator[str]:
    for pod in pods:
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        if not named <= ports:
            yield f"{whose} asks for {named}, {pod} has {ports}"
