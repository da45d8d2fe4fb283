"""Rules: how many pods there are, and how few there may be. A rule tells the faults that it finds in a rendering."""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from service.metrics import Metrics
from tests.deploy.rendering import DEPLOY, Manifest, Rendering

ADAPTER = yaml.safe_load((DEPLOY / "components" / "queue-autoscaler" / "adapter-rules.yaml").read_text())["rules"]
SERIES = re.compile(r"\b(?:seqserve|process)_\w+")
MOST_OF_A_LIMIT = 0.8  # of the CPU: a busy pod is throttled before it uses all of it


def autoscalers_fit(rendering: Rendering) -> Iterator[str]:
    """Every Deployment has one autoscaler, which alone says how many pods it has."""
    targets = sorted(scaler["spec"]["scaleTargetRef"]["name"] for scaler in rendering.of("HorizontalPodAutoscaler"))
    if targets != sorted(found["metadata"]["name"] for found in rendering.of("Deployment")):
        yield f"the autoscalers are for {targets}"
    if any("replicas" in deployment["spec"] for deployment in rendering.of("Deployment")):
        yield "the Deployment says how many pods it has, and so does the autoscaler"
    for scaler in rendering.of("HorizontalPodAutoscaler"):
        if not 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]:
            yield "the autoscaler has no room"


def cpu_targets_are_reached(rendering: Rendering) -> Iterator[str]:
    """No share of the requested CPU is waited for that the limit does not allow, or that KServe refuses."""
    for pod in rendering.servers:
        resources = pod.containers[0]["resources"]
        highest = 100 * MOST_OF_A_LIMIT * float(resources["limits"]["cpu"]) / float(resources["requests"]["cpu"])
        for scaler in rendering.of("HorizontalPodAutoscaler"):
            for metric in scaler["spec"]["metrics"]:
                if metric["type"] == "Resource" and metric["resource"]["target"]["averageUtilization"] > highest:
                    yield f"a pod never uses so much CPU, but {highest} % at most"
    for service in rendering.of("InferenceService"):
        if not 1 <= service["spec"]["predictor"]["scaleTarget"] <= 100:
            yield "KServe takes a target from 1 to 100"


def metrics_exist(rendering: Rendering) -> Iterator[str]:
    """What autoscalers go by is told by /metrics, or made of that by the adapter's rules."""
    adapted = {rule["name"]["as"]: rule for rule in ADAPTER}
    for scaler in rendering.of("HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods" and metric["pods"]["metric"]["name"] not in adapted:
                yield f"no rule of the adapter makes {metric['pods']['metric']['name']}"
    queries = [trigger["metadata"]["query"] for scaled in rendering.of("ScaledObject") for trigger in scaled["spec"]["triggers"]]
    for query in queries:
        yield from untold(query)


def budgets_allow_an_eviction(rendering: Rendering) -> Iterator[str]:
    """With the fewest pods that the autoscaler leaves, one may go, and one stays."""
    for budget in rendering.of("PodDisruptionBudget"):
        owners = {pod.owner["metadata"]["name"] for pod in rendering.chosen(budget["spec"]["selector"])}
        scalers = [scaler["spec"] for scaler in rendering.of("HorizontalPodAutoscaler")]
        fewest = min(spec["minReplicas"] for spec in scalers if spec["scaleTargetRef"]["name"] in owners)
        may_go = _evictable(budget["spec"], fewest)
        if not 1 <= may_go < fewest:
            yield f"of {fewest} pods {may_go} may go"


def untold(query: str) -> Iterator[str]:
    """The series of a query that /metrics does not tell."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    families = Metrics().registry.collect()
    told = {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}
    named = set(SERIES.findall(query))
    if not named or not named <= told:
        yield f"/metrics does not tell {named - told or 'what this asks for'}: {query}"


def _evictable(budget: Manifest, pods: int) -> int:
    def count(value: Any) -> int:
        return math.ceil(pods * int(value.rstrip("%")) / 100) if isinstance(value, str) else int(value)

    return count(budget["maxUnavailable"]) if "maxUnavailable" in budget else pods - count(budget["minAvailable"])
