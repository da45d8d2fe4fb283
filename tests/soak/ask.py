"""Single questions to the service, outside any measurement."""

import http.client
import json
import time
from contextlib import closing
from email.utils import parsedate_to_datetime

from tests.bench.load import LoadError
from tests.soak.serving import Service, total

ROUTES = ("/generate", "/generate_stream", "/classify")


def serving(running: Service, name: str) -> int | None:
    """The version of a model that serves."""
    models = json.loads(running.ask("GET", "/models")[1])["models"]
    return next((int(model["version"]) for model in models if model["name"] == name), None)


def refused(running: Service) -> list[tuple[str, int]]:
    """Names and versions that GET /models says were refused."""
    return [(told["name"], told["version"]) for told in json.loads(running.ask("GET", "/models")[1])["refused"]]


def counted(running: Service) -> int:
    """Answers that /metrics has counted, of the routes that a load asks."""
    text = running.ask("GET", "/metrics")[1].decode()
    return int(sum(total(text, "seqserve_requests_total", route=route, status="200") for route in ROUTES))


def begin_state(running: Service) -> str:
    """A state of the default generator, as a client keeps it."""
    status, answer = _generate(running, {"inputs": "오늘", "parameters": {"max_new_tokens": 2, "return_state": True}})
    if status != 200:
        raise LoadError(f"no state could be had: {answer.decode()}")
    return str(json.loads(answer)["state"])


def go_on(running: Service, state: str) -> int:
    """The status of an answer that goes on from there."""
    return _generate(running, {"inputs": "", "state": state, "parameters": {"max_new_tokens": 1}})[0]


def timed(running: Service, body: dict[str, object], timeout_s: float) -> tuple[int, float]:
    """The status of a generation that may take so long, and after how many seconds it came."""
    headers, began_s = {"content-type": "application/json", "x-request-timeout": f"{timeout_s:g}"}, time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as connection:
        connection.request("POST", "/generate", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began_s


def wall_clock_s(running: Service) -> float:
    """What the service takes for the time, from the date of an answer; seconds since 1970."""
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
        connection.request("GET", "/livez")
        return parsedate_to_datetime(str(connection.getresponse().headers["date"])).timestamp()


def _generate(running: Service, body: dict[str, object]) -> tuple[int, bytes]:
    return running.ask("POST", "/generate", json.dumps(body).encode())
