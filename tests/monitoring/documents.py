"""What deploy/monitoring says, as data: rules, panels, and the expressions of both. Knows no Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "rules.yaml"
CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))

Rule = dict[str, Any]
Panel = dict[str, Any]

GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))

PANELS: list[Panel] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]

_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_LABELS = re.compile(r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)")


def rules() -> list[Rule]:
    return [rule for group in GROUPS for rule in group["rules"]]


def alerts() -> dict[str, Rule]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    """The names of the series that rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def questions() -> Iterator[tuple[str, str]]:
    """(the panel's title, an expression of it)."""
    return ((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"])


def expressions() -> list[str]:
    """Everything that Prometheus is asked, by whomever."""
    marks = [mark["expr"] for mark in DASHBOARD["annotations"]["list"]]
    return [*(rule["expr"] for rule in rules()), *(expr for _, expr in questions()), *marks]


def names_in(expr: str) -> set[str]:
    """The series that are asked for."""
    return set(re.findall(r"\b(?:seqserve|process|kube)_\w+|(?<!\w)up\b", re.sub(r'"[^"]*"|\b\w+:[\w:]+', "", expr)))


def matchers_in(expr: str) -> list[tuple[str, str]]:
    """(label, the value or pattern that it must have, or must not)."""
    return _MATCHER.findall(expr)


def labels_in(expr: str) -> set[str]:
    """The labels that are matched, grouped by or joined on."""
    grouped = {label.strip() for found in _LABELS.findall(expr) for label in found.split(",")}
    return (grouped - {""}) | {label for label, _ in matchers_in(expr)}
