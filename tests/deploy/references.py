"""Rules: what a pod refers to is there, and the service can read it. A rule tells the faults that it finds in a rendering."""

from collections.abc import Iterator

import yaml

from service.errors import SettingsError
from service.settings import PREFIX, Settings, load_settings
from tests.deploy.rendering import DEPLOY, Pod, Rendering

CLAIMS = {claim["metadata"]["name"]: claim for claim in yaml.safe_load_all((DEPLOY / "training" / "volumes.yaml").read_text())}
SECRET = yaml.safe_load((DEPLOY / "components" / "keys" / "secret.example.yaml").read_text())
SPARE_S = 5  # between the end of the drain and the kill


def volumes_are_mounted(rendering: Rendering) -> Iterator[str]:
    """Every volume is mounted, every mount has a volume and a place of its own, and every claim is made somewhere."""
    for pod in rendering.pods:
        mounts = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        if mounts != volumes.keys():
            yield f"{pod}: the volumes {sorted(volumes)}, the mounts {sorted(mounts)}"
        for container in pod.containers:
            places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            if len(places) != len(set(places)):
                yield f"{pod}: two mounts at one place: {places}"
        claims = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume}
        if not claims <= CLAIMS.keys():
            yield f"{pod}: nobody makes the claims {claims - CLAIMS.keys()}"


def references_exist(rendering: Rendering) -> Iterator[str]:
    """ConfigMaps and Secrets that a pod does not start without are there, with the keys that it names."""
    there = {("ConfigMap", found["metadata"]["name"]): set(found["data"]) for found in rendering.of("ConfigMap")}
    there["Secret", SECRET["metadata"]["name"]] = set(SECRET["stringData"])
    for pod in rendering.pods:
        for kind, name, keys in _references(pod):
            if (kind, name) not in there or not keys <= there[kind, name]:
                yield f"{pod}: there is no {kind} {name} with {sorted(keys)}"


def settings_are_real(rendering: Rendering) -> Iterator[str]:
    """The service starts with its settings, and what they name is mounted."""
    for pod in rendering.servers:
        try:
            settings = settings_of(pod, rendering)
        except SettingsError as error:
            yield f"{pod}: {error}"
            continue
        places = {mount["mountPath"] for mount in pod.containers[0]["volumeMounts"]}
        folders = {str(file.parent) for file in (settings.api_keys_file, settings.admin_keys_file) if file}
        if settings.models != Settings.model_fields["models"].default:
            folders.add(str(settings.models))
        if not folders <= places:
            yield f"{pod}: nothing is mounted at {folders - places}"


def grace_outlasts_the_drain(rendering: Rendering) -> Iterator[str]:
    """Nobody kills a pod while it answers: preStop and drain end before the grace period does."""
    for pod in rendering.servers:
        needed_s = pod.containers[0]["lifecycle"]["preStop"]["sleep"]["seconds"] + settings_of(pod, rendering).drain_s
        if pod.spec["terminationGracePeriodSeconds"] < needed_s + SPARE_S:
            yield f"{pod}: needs {needed_s} s and some to spare"


def settings_of(pod: Pod, rendering: Rendering) -> Settings:
    """What the service reads from its container's environment. Raises SettingsError."""
    given: dict[str, str] = {}
    named = [source["configMapRef"]["name"] for source in pod.containers[0].get("envFrom", [])]
    for found in rendering.of("ConfigMap"):
        given |= found["data"] if found["metadata"]["name"] in named else {}
    given |= {variable["name"]: variable.get("value", "a secret of some length") for variable in pod.containers[0].get("env", [])}
    return load_settings({name: value for name, value in given.items() if name.startswith(PREFIX)})


def _references(pod: Pod) -> Iterator[tuple[str, str, set[str]]]:
    """(kind, name, keys)."""
    for container in pod.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"], set()
        for variable in container.get("env", []):
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                wanted = variable.get("valueFrom", {}).get(field)
                if wanted and not wanted.get("optional"):
                    yield kind, wanted["name"], {wanted["key"]}
    for volume in pod.spec.get("volumes", []):
        for field, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
            if field in volume:
                yield kind, volume[field][name], {item["key"] for item in volume[field].get("items", [])}
