"""The dashboard and the rules against a real Prometheus that scrapes the real service under traffic of every kind.

Takes longer than a test of the suite may: `make monitoring-test` runs it.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.artifact import GRAPH
from tests.builders import Small, publish_small
from tests.monitoring.documents import DASHBOARD, PANELS, alerts, recorded, rules
from tests.monitoring.prometheus import Prometheus, scraping
from tests.monitoring.promtool import MISSING
from tests.monitoring.traffic import settings, traffic
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version, flip_byte
from tests.service.process import eventually, running

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason=MISSING.format("prometheus"))

REFUSED = "gru2-generate"
WINDOW = "10s"  # what Grafana makes of $__rate_interval is four scrapes or more; here a scrape is a second


@dataclass(frozen=True)
class Watched:
    prometheus: Prometheus
    faults: list[str]

    def asked(self, expr: str) -> str:
        """An expression of the dashboard as Grafana asks it where everything is chosen."""
        instances = self.prometheus.label_values("seqserve_build_info", "instance")
        chosen = {"$instance": "|".join(map(re.escape, instances)).replace("\\", r"\\"), "$model": ".*", "$__rate_interval": WINDOW}
        for variable, value in chosen.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr
        return expr


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers"])
def watched(request: pytest.FixtureRequest, small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A busy service, with one folder that it refuses and one version that takes the place of another."""
    folder = tmp_path_factory.mktemp("watched")
    models = folder / "models"
    shutil.copytree(small_models, models)
    publish_small(models, Small(cell="gru", sentence_end=False), folder / "scratch")
    flip_byte(copy_version(small_models, REFUSED, models, 2) / GRAPH)
    with (
        running(models=models, **settings(request.param)) as process,
        scraping(process.port, folder) as prometheus,
        traffic(process.port) as faults,
    ):
        eventually(lambda: bool(prometheus.numbers(f'seqserve_model_info{{model="{ENDLESS}", version="1"}} == 1')))
        copy_version(models, ENDLESS, models, 2)
        eventually(lambda: bool(prometheus.numbers(f'seqserve_model_info{{model="{ENDLESS}", version="2"}} == 1')))
        yield Watched(prometheus, faults)


def visible(value: float) -> bool:
    return abs(value) > 1e-9


def test_no_panel_is_empty(watched: Watched) -> None:
    """Every expression of every panel comes to have a number that is not 0: there is traffic of every kind, and it is shown."""
    left = [(panel["title"], watched.asked(target["expr"])) for panel in PANELS for target in panel["targets"]]

    def all_have_numbers() -> bool:
        left[:] = [(title, expr) for title, expr in left if not any(map(visible, watched.prometheus.numbers(expr)))]
        return not left

    try:
        eventually(all_have_numbers)
    except AssertionError as error:
        raise AssertionError(f"no number for {left}") from error


def test_every_line_of_a_panel_has_a_name_of_its_own(watched: Watched) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            found = [series["metric"] for series in watched.prometheus.query(watched.asked(target["expr"]))]
            assert any(labels <= metric.keys() for metric in found), (panel["title"], found)
            names = [tuple(metric.get(label) for label in sorted(labels)) for metric in found]
            assert len(names) == len(set(names)) or panel["type"] == "table", (panel["title"], found)


def test_the_variables_and_the_marks_of_versions_are_answered(watched: Watched) -> None:
    for variable in DASHBOARD["templating"]["list"][1:]:
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert asked
        assert watched.prometheus.label_values(*asked.groups())
    for mark in DASHBOARD["annotations"]["list"]:
        watched.prometheus.query(watched.asked(mark["expr"]))


def test_every_rule_is_evaluated_without_a_fault(watched: Watched) -> None:
    eventually(lambda: all(rule["health"] != "unknown" for rule in watched.prometheus.rules()))
    found = watched.prometheus.rules()
    assert [rule["name"] for rule in found if rule["health"] != "ok" or rule.get("lastError")] == []
    assert {rule["name"] for rule in found} == alerts().keys() | recorded()
    for rule in rules():
        watched.prometheus.query(rule["expr"])


def test_what_rules_record_is_there(watched: Watched) -> None:
    for name in recorded():
        eventually(lambda name=name: bool(watched.prometheus.numbers(name)))  # type: ignore[misc]


def test_the_folder_that_is_refused_is_told_and_what_is_well_is_not(watched: Watched) -> None:
    """The traffic is more than the service may take, and some of it asks for too little time; nothing fails but that.

    A rule with a `for` may wait for a moment, as a scrape in the middle of a model's first batch shows a row and no batch.
    """
    right = {"SeqserveModelRefused", "SeqserveRefusing", "SeqserveDeadlines", "SeqserveQueueSlow", "SeqserveFirstWordSlow"}
    eventually(lambda: bool(watched.prometheus.numbers('ALERTS{alertname="SeqserveModelRefused", severity="warning"}')))
    told: set[str] = set()

    def only_what_is_right_is_told() -> bool:
        told.clear()
        told.update(series["metric"]["alertname"] for series in watched.prometheus.query("ALERTS"))
        return told <= right

    try:
        eventually(only_what_is_right_is_told)
    except AssertionError as error:
        raise AssertionError(f"told for long: {told - right}") from error
    firing = watched.prometheus.query('ALERTS{alertstate="firing"}')
    assert {series["metric"]["alertname"] for series in firing} <= {"SeqserveModelRefused"}


def test_the_service_answered_everything_as_it_must(watched: Watched) -> None:
    assert watched.faults == []
