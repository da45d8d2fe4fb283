"""A real Prometheus that scrapes one service every second, on 127.0.0.1, with the rules of deploy/monitoring."""

import json
import math
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2

from tests.monitoring.documents import RULES

NAMESPACE, POD = "web", "seqserve-0"  # as the Prometheus operator adds them


@dataclass(frozen=True)
class Prometheus:
    client: httpx2.Client

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression now, with their "metric" and "value". Raises AssertionError with Prometheus's own words."""
        answer = self._get("/api/v1/query", query=expr)
        assert answer["resultType"] == "vector", expr
        found: list[dict[str, Any]] = answer["result"]
        return found

    def numbers(self, expr: str) -> list[float]:
        """The values that are numbers."""
        values = (float(series["value"][1]) for series in self.query(expr))
        return [value for value in values if math.isfinite(value)]

    def label_values(self, metric: str, label: str) -> list[str]:
        values: list[str] = self._get(f"/api/v1/label/{label}/values", **{"match[]": metric})
        return values

    def rules(self) -> list[dict[str, Any]]:
        """As they were evaluated last, with their "health" and "lastError"."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self.client.get(path, params=parameters).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]


@contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """port: of the service. folder: an empty one, for what it keeps."""
    labels = {"namespace": NAMESPACE, "pod": POD}
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "seqserve", "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]},
        ],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(configuration), encoding="utf-8")  # which is YAML, too
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    command += ["--web.listen-address=127.0.0.1:0", "--log.format=json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None
        rest = threading.Thread(target=popen.stderr.read)  # so that the pipe is never full
        try:
            address = _address(popen.stderr)
            rest.start()
            with httpx2.Client(base_url=f"http://{address}", timeout=30) as client:
                yield Prometheus(client)
        finally:
            popen.terminate()
            if rest.is_alive():
                rest.join()


def _address(log: IO[str]) -> str:
    """Reads the log until it is ready."""
    read, address = [], ""
    for line in log:
        read.append(line)
        if found := re.search(r'"address":"(127\.0\.0\.1:[1-9]\d*)"', line):
            address = found[1]
        if address and "ready to receive web requests" in line:
            return address
    raise AssertionError(f"prometheus did not start: {''.join(read)}")
