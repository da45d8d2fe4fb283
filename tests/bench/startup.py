"""From the command to the first ready answer, beside what importing the libraries takes."""

import statistics
import sys
import time

from tests.bench.figure import Figure
from tests.bench.process import SERVER_CORE, server, start
from tests.bench.subject import ROOT

IMPORTS = "import fastapi, onnxruntime, tokenizers, numpy, pydantic, prometheus_client, uvicorn"
TIMES = 3


def startup() -> Figure:
    """The shipped models, interleaved with the imports so that a slow moment of the machine meets both."""
    services_ms, imports_ms = [], []
    for _ in range(TIMES):
        imports_ms.append(_import_ms())
        services_ms.append(_service_ms())
    service_ms, import_ms = statistics.median(services_ms), statistics.median(imports_ms)
    of = f"x {import_ms:,.0f} ms of imports alone"
    return Figure("shipped: start until ready", p50_ms=service_ms, ratio=service_ms / import_ms, of=of, target=1.5, at_most=True)


def _service_ms() -> float:
    started_s = time.perf_counter()
    with server("service", models=ROOT / "models"):
        return (time.perf_counter() - started_s) * 1000


def _import_ms() -> float:
    started_s = time.perf_counter()
    if start([sys.executable, "-c", IMPORTS], SERVER_CORE).wait():
        raise SystemExit("error: the libraries cannot be imported")
    return (time.perf_counter() - started_s) * 1000
