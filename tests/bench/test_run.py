"""`make bench` measures the models of this repository, whatever their graphs take."""

import pytest

from tests.bench import parts
from tests.bench.figure import Figure
from tests.bench.process import PROC
from tests.bench.run import SHIPPED_PARTS, measure
from tests.bench.subject import ROOT, SHIPPED


@pytest.mark.skipif(not PROC.is_dir(), reason="what a process uses is read from /proc, which this system does not have")
def test_the_shipped_models_are_measured_beside_their_limits_and_the_usual_server() -> None:
    figures: list[Figure] = []
    measure((*SHIPPED_PARTS, parts.usual), ROOT / "models", SHIPPED, 0.1, figures.append)
    told = [figure.what for figure in figures]
    assert all(what.startswith("shipped: ") for what in told)
    for part in ("bare onnxruntime, generate", "bare onnxruntime, classify", "FastAPI doing nothing", "/generate", "/classify"):
        assert any(part in what for what in told), part
    assert all(figure.per_s is None or figure.per_s > 0 for figure in figures)
