"""service.descriptors: a soft limit of open files keeps nobody out."""

import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.service.conftest import ENDLESS
from tests.service.process import running

SOFT = 200
GRANT = """
import resource, sys
from service.descriptors import grant_descriptors
soft, hard, max_requests = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
grant_descriptors(max_requests)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def granted(soft: int, hard: int, max_requests: int) -> tuple[str, str]:
    """The limits that a process comes to which begins with these, and what it says."""
    told = [str(number) for number in (soft, hard, max_requests)]
    ended = subprocess.run([sys.executable, "-c", GRANT, *told], cwd=ROOT, capture_output=True, text=True, check=True)
    return ended.stdout.strip(), ended.stderr.strip()


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is started now begins with a soft limit of SOFT."""
    start = ["sh", "-c", f'ulimit -Sn {SOFT}; exec "$0" -m service', sys.executable]
    monkeypatch.setattr("tests.service.process.START", start)


@pytest.mark.parametrize("soft", [100, 1000])
def test_the_soft_limit_becomes_the_hard_one_where_as_much_is_of_use(soft: int) -> None:
    assert granted(soft, 1000, 872) == ("1000 1000", "")


def test_no_more_connections_are_taken_than_are_of_use_unless_somebody_has_allowed_more() -> None:
    assert granted(100, 1000, 10) == ("208 1000", "")
    assert granted(500, 1000, 10) == ("500 1000", "")


def test_a_hard_limit_that_is_too_low_for_as_many_requests_is_told_once() -> None:
    limits, said = granted(100, 1000, 873)
    assert limits == "1000 1000"
    assert said == "no more than 1000 files may be open; SEQSERVE_MAX_REQUESTS=873 needs 1001 (ulimit -Hn)"


@pytest.mark.usefixtures("lowered")
def test_a_service_that_begins_with_a_low_soft_limit_has_room_for_more_connections(service_models: Path) -> None:
    with running(models=service_models, generate_model=ENDLESS) as process, ExitStack() as stack:
        for _ in range(SOFT):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port)))
        assert process.client.post("/generate", json={"inputs": "오늘", "parameters": {"max_new_tokens": 1}}).status_code == 200
        assert process.metric("process_max_fds") == resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE)[0] > SOFT
        assert process.metric("process_open_fds") > SOFT


@pytest.mark.usefixtures("lowered")
def test_workers_have_what_the_one_that_looks_after_them_was_granted(service_models: Path) -> None:
    with running(models=service_models, generate_model=ENDLESS, workers=2) as process:
        children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
        for pid in (process.popen.pid, *map(int, children)):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            assert hard >= soft > SOFT
