"""tests.soak.proc and tests.soak.cgroup: what Linux tells."""

import os
import socket
import subprocess
import sys

import pytest

from tests.bench.process import PROC
from tests.soak import proc
from tests.soak.cgroup import NoGroup, memory_group

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="needs /proc")


def test_connections_that_were_accepted_and_are_open_are_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert proc.connections(os.getpid(), port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            assert proc.connections(os.getpid(), port) == 1
            accepted.close()
            assert proc.connections(os.getpid(), port) == 0


def test_open_files_are_counted() -> None:
    before = proc.descriptors(os.getpid())
    with socket.socket():
        assert proc.descriptors(os.getpid()) == before + 1


def test_children_are_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in proc.children(os.getpid())
        child.communicate(b"\n")


def test_time_of_a_processor_is_counted_for_the_process_and_for_the_core() -> None:
    used_s, cores_s = proc.used_s(os.getpid()), sum(map(proc.core_used_s, os.sched_getaffinity(0)))
    spent = sum(range(20_000_000))
    assert spent
    assert proc.used_s(os.getpid()) - used_s > 0.1
    assert sum(map(proc.core_used_s, os.sched_getaffinity(0))) - cores_s > 0.1


def test_a_process_that_takes_more_memory_than_its_group_may_is_killed_and_counted() -> None:
    try:
        with memory_group(64 * 2**20) as group:
            command = [sys.executable, "-c", "held = b'x' * 200_000_000"]
            ended = subprocess.run(command, preexec_fn=group.enter, check=False)
            assert ended.returncode == -9
            assert group.killed == 1
            assert group.peak_bytes <= 64 * 2**20
            subprocess.run([sys.executable, "-c", ""], preexec_fn=group.enter, check=True)
    except NoGroup as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
