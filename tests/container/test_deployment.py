"""The pod of deploy/base, as far as it runs without a cluster: it gets ready, holds to its bounds and ends in order."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.clients import ANSWERED, NOT_CONNECTED, SENT_AWAY, Client
from tests.container.container import Container, status
from tests.container.image import Image
from tests.container.pod import played, probe
from tests.deploy.rendering import OLDEST_MINOR, Manifest, kubectl

pytestmark = pytest.mark.skipif(kubectl() is None, reason=f"no kubectl of 1.{OLDEST_MINOR} or newer renders the manifests")

BODY = {"inputs": ["정말 재미있고 감동적인 영화", "지루하다"]}
UNITS = {"Mi": 2**20, "Gi": 2**30}


@pytest.fixture(scope="module")
def pod(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Manifest]]:
    with played(image, "base", tmp_path_factory.mktemp("pod")) as container_and_spec:
        yield container_and_spec


def test_it_is_alive_and_answers(pod: tuple[Container, Manifest]) -> None:
    container, spec = pod
    assert probe(container, spec["containers"][0], "livenessProbe")
    assert [best["label"] for best, _ in container.client.post("/classify", json=BODY).json()] == ["positive", "negative"]


def test_it_has_the_memory_and_the_cores_of_its_limits(pod: tuple[Container, Manifest]) -> None:
    container, spec = pod
    limits = spec["containers"][0]["resources"]["limits"]
    host = container.engine.inspect(container.name)["HostConfig"]
    assert host["Memory"] == int(limits["memory"][:-2]) * UNITS[limits["memory"][-2:]]
    assert host["CpuQuota"] / host["CpuPeriod"] == float(limits["cpu"])


def test_it_is_confined(pod: tuple[Container, Manifest]) -> None:
    container, spec = pod
    told = status(container.pid)
    assert set(told["Uid"].split()) == {str(spec["securityContext"]["runAsUser"])}
    assert (int(told["CapBnd"], 16), told["NoNewPrivs"], told["Seccomp"]) == (0, "1", "2")
    assert container.engine.inspect(container.name)["HostConfig"]["ReadonlyRootfs"] is True


def test_deleted_under_load_it_ends_within_its_grace_and_loses_no_request(image: Image, tmp_path: Path) -> None:
    with played(image, "base", tmp_path) as (container, spec):
        expected = container.client.post("/classify", json=BODY).json()
        crowd = [Client(container.network, "/classify", BODY, expected).start() for _ in range(4)]
        assert all(client.begun.wait(30) for client in crowd)
        # What a kubelet does after preStop. That sleeps for the sake of load balancers, and there is none here.
        image.engine.podman("stop", f"--time={spec['terminationGracePeriodSeconds']}", container.name)
        ended = sum((client.join() for client in crowd), Counter[str]())
        assert container.state["ExitCode"] == 0
    assert ended.keys() <= {ANSWERED, SENT_AWAY, NOT_CONNECTED}
