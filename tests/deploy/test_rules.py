"""Everything under deploy/ that can be applied, rendered, keeps every rule; and every rule finds what breaks it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.version import VERSION
from tests.deploy import hardening, references, scaling, selection
from tests.deploy.rendering import OLDEST_MINOR, Manifest, Rendering, kubectl, kustomizations, rendering

pytestmark = pytest.mark.skipif(
    kubectl() is None, reason=f"no kubectl of 1.{OLDEST_MINOR} or newer renders the manifests; `make audit` installs one"
)

Rule = Callable[[Rendering], Iterator[str]]

RULES: tuple[Rule, ...] = (
    selection.pods_are_known,
    selection.selectors_choose,
    selection.ports_exist,
    selection.the_network_is_closed,
    references.volumes_are_mounted,
    references.references_exist,
    references.settings_are_real,
    references.grace_outlasts_the_drain,
    scaling.autoscalers_fit,
    scaling.cpu_targets_are_reached,
    scaling.metrics_exist,
    scaling.budgets_allow_an_eviction,
    hardening.pods_are_confined,
    hardening.resources_are_bounded,
    hardening.images_have_the_version,
)

GONE = object()
POD = "spec template spec"
SERVER = f"{POD} containers 0"
PREDICTOR = "spec predictor containers 0"

# A rule, and a change to one manifest of a folder that it must find: kind, path in it, what is put there.
BREAKAGES: tuple[tuple[Rule, str, str, str, Any], ...] = (
    (selection.pods_are_known, "base", "Deployment", "kind", "StatefulSet"),
    (selection.selectors_choose, "base", "Deployment", "spec selector matchLabels", {"app": "other"}),
    (
        selection.selectors_choose,
        "base",
        "Deployment",
        f"{POD} topologySpreadConstraints 1 labelSelector matchLabels",
        {"app": "x"},
    ),
    (selection.selectors_choose, "base", "Service", "spec selector", {"app": "other"}),
    (selection.selectors_choose, "base", "PodDisruptionBudget", "spec selector matchLabels", {"app": "other"}),
    (selection.selectors_choose, "base", "NetworkPolicy", "spec podSelector matchLabels", {"app": "other"}),
    (selection.selectors_choose, "overlays/cpu", "ServiceMonitor", "spec selector matchLabels", {"app": "other"}),
    (selection.selectors_choose, "overlays/kserve", "InferenceService", "metadata labels", {"app.kubernetes.io/version": "0"}),
    (selection.ports_exist, "base", "Service", "spec ports 0 targetPort", "htpt"),
    (selection.ports_exist, "base", "Deployment", f"{SERVER} livenessProbe httpGet port", "htpt"),
    (selection.ports_exist, "base", "NetworkPolicy", "spec ingress 0 ports 0 port", "htpt"),
    (selection.ports_exist, "overlays/cpu", "ServiceMonitor", "spec endpoints 0 port", "htpt"),
    (selection.ports_exist, "overlays/kserve", "InferenceService", f"{PREDICTOR} ports 0 name", "htpt"),
    (selection.the_network_is_closed, "base", "NetworkPolicy", "spec policyTypes 1", GONE),
    (selection.the_network_is_closed, "base", "NetworkPolicy", "spec ingress 0 from 1", GONE),
    (selection.the_network_is_closed, "base", "NetworkPolicy", "spec ingress 0 ports 0 port", "other"),
    (selection.the_network_is_closed, "base", "NetworkPolicy", "spec egress", [{}]),
    (selection.the_network_is_closed, "components/tracing", "NetworkPolicy", "spec egress", []),
    (selection.the_network_is_closed, "training", "NetworkPolicy", "spec podSelector matchLabels", {"app": "other"}),
    (references.volumes_are_mounted, "base", "Deployment", f"{SERVER} volumeMounts 0 name", "temp"),
    (references.volumes_are_mounted, "base", "Deployment", f"{SERVER} volumeMounts", []),
    (references.volumes_are_mounted, "components/models", "Deployment", f"{SERVER} volumeMounts 0 mountPath", "/tmp"),
    (references.volumes_are_mounted, "training", "Job", f"{POD} volumes 0 persistentVolumeClaim claimName", "seqserve-dat"),
    (references.references_exist, "base", "Deployment", f"{SERVER} envFrom 0 configMapRef name", "seqserve-settings"),
    (references.references_exist, "base", "Deployment", f"{SERVER} env 0 valueFrom secretKeyRef", {"name": "s", "key": "k"}),
    (references.references_exist, "components/keys", "Deployment", f"{POD} volumes 0 secret items 0 key", "keys"),
    (references.references_exist, "components/models", "Job", f"{POD} volumes 0 configMap name", "seed"),
    (references.references_exist, "overlays/kserve", "InferenceService", f"{PREDICTOR} envFrom 0 configMapRef name", "settings"),
    (references.settings_are_real, "base", "ConfigMap", "data SEQSERVE_LOGLEVEL", "info"),
    (references.settings_are_real, "base", "ConfigMap", "data SEQSERVE_LOG_LEVEL", "loud"),
    (references.settings_are_real, "base", "ConfigMap", "data SEQSERVE_API_KEYS_FILE", "/etc/keys/api-keys"),
    (references.settings_are_real, "base", "ConfigMap", "data SEQSERVE_MODELS", "/models"),
    (references.grace_outlasts_the_drain, "base", "ConfigMap", "data SEQSERVE_DRAIN_S", "31"),
    (references.grace_outlasts_the_drain, "base", "Deployment", f"{POD} terminationGracePeriodSeconds", 30),
    (
        references.grace_outlasts_the_drain,
        "overlays/kserve",
        "InferenceService",
        f"{PREDICTOR} lifecycle preStop sleep seconds",
        15,
    ),
    (scaling.autoscalers_fit, "base", "HorizontalPodAutoscaler", "spec scaleTargetRef name", "server"),
    (scaling.autoscalers_fit, "base", "HorizontalPodAutoscaler", "spec minReplicas", 9),
    (scaling.autoscalers_fit, "base", "Deployment", "spec replicas", 2),
    (scaling.autoscalers_fit, "overlays/keda", "ScaledObject", "spec scaleTargetRef name", "server"),
    (scaling.cpu_targets_are_reached, "base", "HorizontalPodAutoscaler", "spec metrics 0 resource target averageUtilization", 190),
    (scaling.cpu_targets_are_reached, "overlays/kserve", "InferenceService", "spec predictor scaleTarget", 120),
    (scaling.metrics_exist, "overlays/cpu", "HorizontalPodAutoscaler", "spec metrics 0 pods metric name", "seqserve_waiting"),
    (scaling.metrics_exist, "overlays/keda", "ScaledObject", "spec triggers 1 metadata query", "seqserve_queue_seconds"),
    (scaling.budgets_allow_an_eviction, "base", "PodDisruptionBudget", "spec maxUnavailable", 0),
    (scaling.budgets_allow_an_eviction, "base", "PodDisruptionBudget", "spec maxUnavailable", "100%"),
    (scaling.budgets_allow_an_eviction, "base", "PodDisruptionBudget", "spec", {"minAvailable": 2, "selector": {}}),
    (scaling.budgets_allow_an_eviction, "overlays/keda", "ScaledObject", "spec minReplicaCount", 1),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} securityContext runAsUser", 0),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} securityContext seccompProfile", GONE),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} automountServiceAccountToken", GONE),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} enableServiceLinks", True),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} hostNetwork", True),
    (hardening.pods_are_confined, "base", "Deployment", f"{POD} volumes 0 hostPath", {"path": "/"}),
    (hardening.pods_are_confined, "base", "Deployment", f"{SERVER} securityContext capabilities add", ["NET_ADMIN"]),
    (hardening.pods_are_confined, "training", "Job", f"{SERVER} securityContext readOnlyRootFilesystem", False),
    (hardening.pods_are_confined, "overlays/kserve", "InferenceService", f"{PREDICTOR} securityContext", GONE),
    (hardening.resources_are_bounded, "base", "Deployment", f"{SERVER} resources limits memory", "1Gi"),
    (hardening.resources_are_bounded, "training", "Job", f"{SERVER} resources limits cpu", GONE),
    (hardening.images_have_the_version, "base", "Deployment", f"{SERVER} image", "seqserve:latest"),
    (hardening.images_have_the_version, "overlays/cuda", "Deployment", f"{SERVER} image", f"seqserve:{VERSION}-cude"),
    (hardening.images_have_the_version, "base", "Deployment", "spec template metadata labels app.kubernetes.io/version", "0.0.9"),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("folder", kustomizations())
def test_what_is_applied_keeps_the_rule(folder: str, rule: Rule) -> None:
    assert list(rule(rendering(folder))) == []


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: f"{breakage[0].__name__}-{breakage[2]}-{breakage[3]}")
def test_a_rule_finds_what_breaks_it(breakage: tuple[Rule, str, str, str, Any]) -> None:
    rule, folder, kind, path, value = breakage
    whole = rendering(folder)
    rendered = [manifest for manifest in whole.manifests if "apiVersion" in manifest]
    manifest = next(manifest for manifest in rendered if manifest["kind"] == kind)
    _put(manifest, path.split(), value)
    assert list(rule(Rendering.made_of(rendered)))


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, *_ in BREAKAGES} == set(RULES)


def test_every_folder_is_looked_at() -> None:
    assert {"base", "training", "overlays/cpu", "overlays/kserve", "components/keys"} <= set(kustomizations())


@pytest.mark.parametrize("rule", scaling.ADAPTER, ids=lambda rule: rule["name"]["as"])
def test_the_adapter_makes_its_metrics_of_series_that_are_told(rule: Manifest) -> None:
    assert list(scaling.untold(rule["seriesQuery"])) == []
    assert list(scaling.untold("seqserve_waited")) != []


def _put(manifest: Any, path: list[str], value: Any) -> None:
    """Puts it there, or takes away what is there."""
    for key in path[:-1]:
        manifest = manifest[int(key) if isinstance(manifest, list) else key]
    last = int(path[-1]) if isinstance(manifest, list) else path[-1]
    if value is GONE:
        del manifest[last]
    else:
        manifest[last] = value
