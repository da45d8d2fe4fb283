"""What a load generator is told and what it tells, and the call that runs one in a process of its own."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from tests.bench.process import LOAD_CORE, start

PATIENCE_S = 300


class LoadError(Exception):
    """The load could not be kept up: the client, or the server in front of it, broke."""


class Refused(LoadError):
    """The server answered with another status than 200."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"refused with {status}: {answer}")
        self.status = status


@dataclass(frozen=True)
class Request:
    """Ready to be sent. amount: the words or sentences that its answer counts for; leave_s: hang up after so long."""

    kind: str
    wire: str
    amount: float = 1
    leave_s: float | None = None


@dataclass(frozen=True)
class Job:
    """Clients that each send the next request as soon as they have an answer.

    The requests go round for so many seconds; where seconds is None, each is sent once and there is no warm-up.
    """

    port: int
    clients: int
    requests: list[Request]
    seconds: float | None
    warm_up_s: float = 0.5


@dataclass(frozen=True)
class Tally:
    """All requests of one kind. Those that reach over an end of the measured time count for the share that lies inside.

    first_ms: until the first byte of the body; events: of all streams; sample: the body of one answer.
    """

    count: float
    amount: float
    latencies_ms: list[float]
    first_ms: list[float]
    events: int
    sample: str


@dataclass(frozen=True)
class Result:
    """busy: the share of a core that the load generator itself used; refused: the first answer that was not 200, which ends all."""

    seconds: float
    busy: float
    kinds: dict[str, Tally]
    refused: tuple[int, str] | None


def post(kind: str, path: str, body: dict[str, object], amount: float = 1, leave_s: float | None = None) -> Request:
    content = json.dumps(body, ensure_ascii=False)
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    head = "\r\n".join([*lines, f"content-length: {len(content.encode())}", "", ""])
    return Request(kind, head + content, amount, leave_s)


def run_load(job: Job) -> Result:
    """Raises LoadError, and Refused where that was the reason."""
    popen = start([sys.executable, "-m", "tests.bench.client"], LOAD_CORE, pipe=subprocess.PIPE)
    try:
        told, complaint = popen.communicate(json.dumps(asdict(job)).encode(), (job.seconds or 0) + PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        popen.kill()
        raise LoadError(f"the server left requests unanswered for {PATIENCE_S} s") from error
    if popen.returncode:
        raise LoadError(complaint.decode().strip())
    result = TypeAdapter(Result).validate_json(told)
    if result.refused is not None:
        raise Refused(*result.refused)
    return result
