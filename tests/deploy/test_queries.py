"""What autoscalers ask Prometheus, run by promtool over series of two pods with two models."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import DEPLOY
from tests.deploy.scaling import ADAPTER

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool; Debian's package prometheus has it")

SCALED = yaml.safe_load((DEPLOY / "overlays" / "keda" / "scaledobject.yaml").read_text(encoding="utf-8"))["spec"]["triggers"]

LABELS = 'job="seqserve",namespace="n"'
PODS = (f'{LABELS},pod="a",model="x"', f'{LABELS},pod="a",model="y"', f'{LABELS},pod="b",model="x"')


def waiting(values: str) -> list[dict[str, str]]:
    return [{"series": f"seqserve_waiting{{{labels}}}", "values": values} for labels in PODS]


def waited(values: str) -> list[dict[str, str]]:
    """Every request has waited between 50 and 100 ms."""
    buckets = {"0.05": "0x40", "0.1": values, "+Inf": values}
    return [
        {"series": f'seqserve_queue_seconds_bucket{{{labels},le="{le}"}}', "values": counts}
        for labels in PODS
        for le, counts in buckets.items()
    ]


def adapted(rule: dict[str, Any]) -> str:
    """The query that the adapter makes of a rule, for the pods a and b."""
    filled = {
        "<<.Series>>": rule["seriesQuery"].split("{")[0],
        "<<.LabelMatchers>>": 'namespace="n",pod=~"a|b"',
        "<<.GroupBy>>": "pod",
    }
    query: str = rule["metricsQuery"]
    for placeholder, value in filled.items():
        query = query.replace(placeholder, value)
    return query


ADAPTED = [adapted(rule) for rule in ADAPTER]
QUERIES = [trigger["metadata"]["query"] for trigger in SCALED]
AT = "8m5s"  # between two scrapes: versions of Prometheus differ in whether a minute has both its ends
BY_POD = ('{pod="a"}', '{pod="b"}')

# Series, a query, and what it gives: labels and value.
CASES: dict[str, tuple[list[dict[str, str]], str, dict[str, float]]] = {
    "a pod's inputs that wait, of all its models": (waiting("6x40"), ADAPTED[0], dict(zip(BY_POD, (12, 6), strict=True))),
    "a moment's queue counts as its share of the minute": (
        waiting("0x31 16 0x8"),
        ADAPTED[0],
        dict(zip(BY_POD, (8, 4), strict=True)),
    ),
    "how long a pod's inputs wait": (waited("0+15x40"), ADAPTED[1], dict.fromkeys(BY_POD, 0.0975)),
    "all inputs that wait": (waiting("6x40"), QUERIES[0], {"{}": 18}),
    "without a scrape there is no number, which KEDA takes for an error": (waited("0+15x40"), QUERIES[0], {}),
    "how long inputs wait": (waited("0+15x40"), QUERIES[1], {"{}": 0.0975}),
    "nobody has waited where nobody has asked": (waited("15x40"), QUERIES[1], {"{}": 0}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_autoscalers_ask_for_comes_out_as_it_is_meant(case: str, tmp_path: Path) -> None:
    series, query, expected = CASES[case]
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    asked = {"expr": query, "eval_time": AT, "exp_samples": samples}
    tests = {"evaluation_interval": "15s", "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [asked]}]}
    (tmp_path / "tests.yaml").write_text(json.dumps(tests), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "tests.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
