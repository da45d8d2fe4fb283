"""deploy/monitoring/rules.yaml: every alert comes when it should and stays away when it should, and says what to do."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from service.http.record import ANSWER, LEFT
from service.http.schemas import ErrorType
from service.metrics import Metrics
from tests.monitoring.documents import (
    CASES,
    MONITORING,
    RULES,
    alerts,
    expressions,
    labels_in,
    matchers_in,
    names_in,
    recorded,
    rules,
)
from tests.monitoring.promtool import needs_promtool, promtool
from tests.service.http.test_app import ROUTES

SEVERITIES = ("critical", "warning", "info")
OF_OTHERS = {"up", "kube_pod_container_resource_limits"}  # Prometheus's own, and kube-state-metrics'
OF_SCRAPING = {"job", "instance", "namespace", "pod"}
OF_KUBERNETES = {"resource", "container"}
ALERTS = re.compile(r'ALERTS\{alertname="(\w+)"(?:, alertstate="(\w+)")?')


def checks(path: Path) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(alert, the test that it is checked in, the check) of every check of a file of cases."""
    tests = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    return [(ALERTS.findall(check["expr"])[0][0], test, check) for test in tests for check in test["promql_expr_test"]]


def is_firing(check: dict[str, Any]) -> bool:
    return any('alertstate="firing"' in sample["labels"] for sample in check["exp_samples"])


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout


@needs_promtool
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_come_and_stay_away_as_the_cases_say(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


def test_every_alert_is_seen_to_fire_and_to_wait() -> None:
    """Before it fires it is pending, or is not there at all."""
    fires = {alert for path in CASES for alert, _, check in checks(path) if is_firing(check)}
    waits = {alert for path in CASES for alert, _, check in checks(path) if not is_firing(check)}
    assert fires == set(alerts())
    assert waits == {name for name, rule in alerts().items() if "for" in rule}


@needs_promtool
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_is_read_at_night_has_no_holes(path: Path, tmp_path: Path) -> None:
    """Every template is filled in, as far as it can be told from promtool's words about an alert that it did not expect."""
    fired = [found for found in checks(path) if is_firing(found[2])]
    tests = [
        {key: test[key] for key in ("interval", "input_series")}
        | {"alert_rule_test": [{"eval_time": check["eval_time"], "alertname": alert, "exp_alerts": []}]}
        for alert, test, check in fired
    ]
    interval = yaml.safe_load(path.read_text(encoding="utf-8"))["evaluation_interval"]
    unexpected = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": tests}
    (tmp_path / "unexpected.yaml").write_text(yaml.safe_dump(unexpected), encoding="utf-8")
    told = promtool("test", "rules", tmp_path / "unexpected.yaml").stdout
    assert set(re.findall(r"alertname: (\w+)", told)) == {alert for alert, *_ in fired}
    summaries = re.findall(r'summary="(.*?)"[,}]', told)
    assert len(summaries) >= len(fired)
    assert [summary for summary in summaries if len(summary) > 100 or re.search(r"<|%!|NaN|\{\{|\d\.\d{5}|  ", summary)] == []


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert re.fullmatch(r"Seqserve[A-Z]\w+", name)
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 100
    assert "{{" not in rule["annotations"]["description"]


def test_what_wakes_people_up_outlasts_a_moment() -> None:
    assert {name for name, rule in alerts().items() if "for" not in rule} == {"SeqserveRestarts"}  # it counts over an hour


def test_the_object_of_the_operator_has_the_rules_of_the_file() -> None:
    """If not: make rules."""
    rule = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text(encoding="utf-8"))
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))


def told() -> dict[str, set[str]]:
    """The labels of every series of /metrics."""
    suffixes = {"counter": ("_total",), "histogram": ("_sum", "_count", "_bucket"), "gauge": ("",)}
    registry = Metrics().registry
    found: dict[str, set[str]] = {sample.name: set() for family in registry.collect() for sample in family.samples}  # of processes
    for collector in registry._collector_to_names:
        if isinstance(collector, MetricWrapperBase):
            series = [collector._name + suffix for suffix in suffixes[str(collector._type)]]
            found |= {name: {*collector._labelnames, *(["le"] if name.endswith("_bucket") else [])} for name in series}
    return found


def test_rules_and_dashboard_ask_for_what_metrics_tells() -> None:
    ours = told()
    for expr in expressions():
        names = names_in(expr)
        assert names - ours.keys() <= OF_OTHERS, expr
        labels = set().union(OF_SCRAPING, *(ours.get(name, OF_KUBERNETES) for name in names))
        if any(name in expr for name in recorded()):
            labels |= {"model", "route"}
        assert labels_in(expr) <= labels, expr


def test_what_rules_record_is_asked_for_and_what_they_ask_for_is_recorded() -> None:
    asked = {name for expr in expressions() for name in re.findall(r"\b\w+:[\w:]+", re.sub(r'"[^"]*"', "", expr))}
    assert asked == recorded()


def test_outcomes_and_routes_are_real_ones() -> None:
    """An alert on an outcome that nothing has is an alert that never comes."""
    ends = {ANSWER, LEFT, *get_args(ErrorType), "error", "cancelled", "served", "refused"}
    found = [pair for expr in expressions() for pair in matchers_in(expr)]
    asked = {label: {part for name, value in found if name == label for part in value.split("|")} for label in ("outcome", "route")}
    assert asked["outcome"] <= ends
    assert asked["route"] <= set(ROUTES)
    assert len(asked["outcome"]) > 3
    assert len(asked["route"]) > 2
