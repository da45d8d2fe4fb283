"""What the overlays promise beyond the rules: copies that are no copies, and what each is there for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from service.errors import SettingsError
from service.http.keys import KeyRing
from service.settings import load_settings
from service.version import VERSION
from tests.deploy.references import CLAIMS, SECRET, settings_of
from tests.deploy.rendering import (
    DEPLOY,
    OLDEST_MINOR,
    ROOT,
    Manifest,
    Rendering,
    kubectl,
    kustomizations,
    render_on_top,
    rendering,
)
from tests.deploy.scaling import ADAPTER

rendered = pytest.mark.skipif(
    kubectl() is None, reason=f"no kubectl of 1.{OLDEST_MINOR} or newer renders the manifests; `make audit` installs one"
)

MODELS = "seqserve-models"


def only(folder: str, kind: str) -> Manifest:
    """The spec of the one manifest of a kind that is rendered, not made by an operator."""
    found = [manifest for manifest in rendering(folder).of(kind) if "apiVersion" in manifest]
    assert len(found) == 1
    spec: Manifest = found[0]["spec"]
    return spec


def claims(spec: Manifest) -> dict[str, Manifest]:
    """The claims of a pod by name: the volume's source, and under "mounts" where its containers see it."""
    found = {v["name"]: v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    mounts = [mount for container in spec["containers"] for mount in container["volumeMounts"]]
    return {claim["claimName"]: claim | {"mounts": [m for m in mounts if m["name"] == name]} for name, claim in found.items()}


@rendered
def test_the_retraining_runs_the_very_job_that_is_run_by_hand() -> None:
    cron = only("overlays/retraining", "CronJob")
    assert cron["jobTemplate"]["spec"] == only("training", "Job")
    assert cron["concurrencyPolicy"] == "Forbid"
    assert "seqserve-training" not in [job["metadata"]["name"] for job in rendering("overlays/retraining").of("Job")]


@rendered
def test_the_retraining_publishes_to_the_volume_that_is_served_and_watched() -> None:
    whole = rendering("overlays/retraining")
    trainer = next(pod for pod in whole.pods if pod.owner["kind"] == "CronJob")
    arguments = trainer.containers[0]["args"]
    published = arguments[arguments.index("--models") + 1]
    assert [mount["mountPath"] for mount in claims(trainer.spec)[MODELS]["mounts"]] == [published]
    (server,) = whole.servers
    settings = settings_of(server, whole)
    assert [mount["mountPath"] for mount in claims(server.spec)[MODELS]["mounts"]] == [str(settings.models)]
    assert settings.poll_s > 0


@rendered
@pytest.mark.parametrize("folder", kustomizations())
def test_what_serves_reads_models_from_every_node_and_writes_none(folder: str) -> None:
    for pod in rendering(folder).servers:
        for name, claim in claims(pod.spec).items():
            assert CLAIMS[name]["spec"]["accessModes"] == ["ReadWriteMany"]
            assert claim["readOnly"] is True
            assert [mount["readOnly"] for mount in claim["mounts"]] == [True]


@rendered
def test_kserve_runs_the_very_pod_of_the_deployment() -> None:
    predictor, pod = (
        only("overlays/kserve", "InferenceService")["predictor"],
        only("overlays/cpu", "Deployment")["template"]["spec"],
    )
    pod["containers"][0]["name"] = "kserve-container"
    assert {key: predictor[key] for key in pod} == pod
    of_kserve = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "deploymentStrategy"}
    assert predictor.keys() - pod.keys() == of_kserve
    assert predictor["deploymentStrategy"] == only("overlays/cpu", "Deployment")["strategy"]


@rendered
def test_keda_goes_by_what_the_autoscaler_goes_by_at_the_same_pace() -> None:
    scaled, scaler = only("overlays/keda", "ScaledObject"), only("overlays/cpu", "HorizontalPodAutoscaler")
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (scaler["minReplicas"], scaler["maxReplicas"])
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == scaler["behavior"]
    targets = [metric["pods"]["target"]["averageValue"] for metric in scaler["metrics"]]
    assert [float(trigger["metadata"]["threshold"]) for trigger in scaled["triggers"]] == [_number(target) for target in targets]
    series = [rule["seriesQuery"].split("{")[0] for rule in ADAPTER]
    assert [re.findall(r"seqserve_\w+", trigger["metadata"]["query"]) for trigger in scaled["triggers"]] == [
        [name] for name in series
    ]


@rendered
@pytest.mark.parametrize("folder", kustomizations())
def test_a_gpu_is_asked_for_where_it_is_used_and_the_image_has_its_libraries(folder: str) -> None:
    whole = rendering(folder)
    for pod in whole.servers:
        (container,) = pod.containers
        cuda = settings_of(pod, whole).provider == "cuda"
        assert cuda == ("nvidia.com/gpu" in container["resources"]["limits"]) == container["image"].endswith("-cuda")
        assert cuda == (folder == "overlays/cuda")


@rendered
@pytest.mark.parametrize("folder", kustomizations())
def test_no_secret_is_applied(folder: str) -> None:
    assert rendering(folder).of("Secret") == []


@pytest.mark.parametrize("name", SECRET["stringData"])
def test_what_stands_in_the_example_of_a_secret_is_no_key(name: str, tmp_path: Path) -> None:
    value = SECRET["stringData"][name]
    if name == "state-key":
        with pytest.raises(SettingsError, match="SEQSERVE_STATE_KEY"):
            load_settings({"SEQSERVE_STATE_KEY": value})
    else:
        (tmp_path / name).write_text(value, encoding="utf-8")
        with pytest.raises(SettingsError, match="characters or more"):
            KeyRing(name, None, tmp_path / name)
        assert KeyRing(name, SecretStr("0123456789abcdef"), None).empty is False


@rendered
def test_the_jobs_own_models_are_those_that_the_image_has() -> None:
    job = only("components/models", "Job")["template"]["spec"]
    (container,) = job["containers"]
    _, script, source, target = container["command"]
    assert f"COPY --from=builder {source} {source}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert [mount["mountPath"] for mount in claims(job)[MODELS]["mounts"]] == [target]
    assert container["volumeMounts"][0] == {"name": "seed", "mountPath": str(Path(script).parent), "readOnly": True}
    maps = {found["metadata"]["name"]: found["data"] for found in rendering("components/models").of("ConfigMap")}
    assert Path(script).name in maps[job["volumes"][0]["configMap"]["name"]]


def test_the_page_about_deploying_names_every_folder_that_can_be_applied() -> None:
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert [folder for folder in kustomizations() if f"`{folder}`" not in page] == []


@rendered
def test_the_page_shows_a_folder_that_stands_on_these_and_changes_what_it_says() -> None:
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    shown["resources"] = [path.split("/deploy/")[1] for path in shown["resources"]]
    made = Rendering.made_of(list(yaml.safe_load_all(render_on_top(shown))))
    assert {manifest["metadata"]["namespace"] for manifest in made.manifests} == {"text"}
    (server,) = made.servers
    assert server.containers[0]["image"] == f"REGISTRY/seqserve:{VERSION}"
    assert settings_of(server, made).max_rows == 128


def _number(quantity: Any) -> float:
    """Kubernetes writes a quarter as 250m."""
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)
