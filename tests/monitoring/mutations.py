"""Rules with one number changed: a case that does not notice says nothing about that number. Knows no promtool."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.monitoring.documents import Rule, alerts, rules

FACTOR = 1.25  # a threshold that is held closer than this

# A number of an expression: not in a name, a text, a range ([5m]) or an offset (7d).
_NUMBER = re.compile(r'"[^"]*"|\[[^\]]*\]|[A-Za-z_:][\w:]*|\b\d+[dhms]\b|(?P<number>\d+(?:\.\d+)?)')
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


class Mutation(NamedTuple):
    """alert: the one that its cases look at. rules: it and what it is made of, with one number changed."""

    alert: str
    change: str
    rules: list[Rule]

    def __str__(self) -> str:
        return f"{self.alert}-{self.change}"


def unchanged(alert: str) -> Mutation:
    """An alert and the recording rules that it asks for."""
    used = [rule for rule in rules() if "record" in rule and rule["record"] in alerts()[alert]["expr"]]
    return Mutation(alert, "unchanged", [*used, alerts()[alert]])


def mutations() -> Iterator[Mutation]:
    """Every number of every expression, more and less, and every alert's patience."""
    for alert in alerts():
        whole = unchanged(alert).rules
        for index, rule in enumerate(whole):
            for change, changed in _changed(rule):
                yield Mutation(alert, change, [*whole[:index], rule | changed, *whole[index + 1 :]])


def _changed(rule: Rule) -> Iterator[tuple[str, Rule]]:
    expr = rule["expr"]
    for found in _NUMBER.finditer(expr):
        if found["number"] is None:
            continue
        for other in _others(float(found["number"])):
            changed = f"{expr[: found.start()]}{other:g}{expr[found.end() :]}"
            yield f"{found['number']}@{found.start()}-{other:g}", {"expr": changed}
    if "for" in rule:
        seconds = int(rule["for"][:-1]) * _SECONDS[rule["for"][-1]]
        yield f"{rule['for']}-half", {"for": f"{seconds // 2}s"}
        yield f"{rule['for']}-twice", {"for": f"{seconds * 2}s"}


def _others(number: float) -> tuple[float, float]:
    """What counts things is changed by one."""
    counts = number.is_integer() and number < 10
    return (number - 1, number + 1) if counts else (number / FACTOR, number * FACTOR)
