"""A running container of the image, hardened as deploy/base hardens its pods, and what the system knows of its process."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from service.settings import PREFIX
from tests.container.engine import Engine
from tests.container.image import Image
from tests.container.network import PORT, Network
from tests.service.process import Server, eventually

USER = 10001
HARDENED = (
    "--network=none",
    "--read-only",
    "--read-only-tmpfs=false",  # podman's own addition: /run and /var/tmp, which Kubernetes does not give
    "--tmpfs=/tmp:size=64m",
    f"--user={USER}:{USER}",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=128",
)
START_S = 60


@dataclass(frozen=True)
class Container(Server):
    """A service in a container, reached through its network."""

    engine: Engine
    name: str
    pid: int  # of its first process, as this machine counts
    network: Network

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.inspect(self.name)["State"]
        return found

    @property
    def log(self) -> str:
        told = self.engine.run("podman", "logs", self.name)
        return told.stdout + told.stderr

    @property
    def processes(self) -> list[int]:
        """The first one and those that it began."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def execute(self, *command: str) -> str:
        return self.engine.podman("exec", self.name, *command)

    def signal(self, name: str) -> None:
        self.engine.podman("kill", "--signal", name, self.name)

    def wait(self, within_s: float) -> int:
        """The exit code. Raises TimeoutExpired where it has not ended by then."""
        return int(self.engine.run("podman", "wait", self.name, timeout_s=within_s).stdout)

    def ready(self) -> bool:
        return self.passes("/readyz")

    def passes(self, path: str, timeout_s: float = 10) -> bool:
        """Whether a probe of the path would pass. That nobody listens yet is a no; a container that has ended is an error."""
        assert self.state["Running"], f"the container has ended with {self.state['ExitCode']}:\n{self.log}"
        try:
            return self.client.get(path, timeout=timeout_s).is_success
        except (httpx2.ConnectError, httpx2.TimeoutException):
            return False


@contextmanager
def running(image: Image, *options: str, arguments: Sequence[str] = (), **settings: object) -> Iterator[Container]:
    """A hardened container with these options of podman and these settings, ready; removed in any case."""
    with started(image, *options, arguments=arguments, **settings) as container:
        eventually(container.ready, START_S)
        yield container


@contextmanager
def started(image: Image, *options: str, arguments: Sequence[str] = (), **settings: object) -> Iterator[Container]:
    """The same, as soon as its first process is there."""
    name = f"seqserve-{uuid4().hex[:8]}"
    variables = [f"--env={PREFIX}{key.upper()}={value}" for key, value in settings.items()]
    try:
        image.engine.podman("run", "--detach", f"--name={name}", *HARDENED, *options, *variables, image.name, *arguments)
        with attached(image.engine, name) as container:
            yield container
    finally:
        image.engine.podman("rm", "--force", "--ignore", "--time=0", name)


@contextmanager
def attached(engine: Engine, name: str) -> Iterator[Container]:
    """A container that runs already. An error of the block is told with what the container had logged by then."""
    pid = engine.inspect(name)["State"]["Pid"]
    with closing(Network(pid)) as network, network.client() as client:
        container = Container(PORT, client, engine, name, pid, network)
        try:
            yield container
        except BaseException as error:
            error.add_note(f"what {name} logged:\n{container.log[-4000:]}")
            raise


def status(pid: int) -> dict[str, str]:
    """What the kernel tells of a process: Uid, CapEff, Seccomp, VmRSS..."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    return int(status(pid)[field].removesuffix(" kB")) * 1024
