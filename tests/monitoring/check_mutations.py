"""The cases hold every number of the rules: with any of them changed, some case fails."""

from pathlib import Path

import pytest
import yaml

from tests.monitoring.documents import CASES, alerts
from tests.monitoring.mutations import Mutation, mutations, unchanged
from tests.monitoring.promtool import needs_promtool, promtool

MUTATIONS = list(mutations())


def write_case(path: Path, alert: str, folder: Path) -> Path | None:
    """What a file of cases says of one alert; None where it says nothing of it."""
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    for test in case["tests"]:
        test["promql_expr_test"] = [check for check in test["promql_expr_test"] if f'"{alert}"' in check["expr"]]
    tests = [test for test in case["tests"] if test["promql_expr_test"]]
    (folder / path.name).write_text(yaml.safe_dump(case | {"rule_files": ["rules.yaml"], "tests": tests}), encoding="utf-8")
    return folder / path.name if tests else None


def hold(mutation: Mutation, folder: Path) -> bool:
    """Whether the cases of its alert go well with it."""
    rules = {"groups": [{"name": "changed", "rules": mutation.rules}]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    cases = [case for path in CASES if (case := write_case(path, mutation.alert, folder))]
    done = promtool("test", "rules", *cases)
    assert done.returncode == 0 or "got:" in done.stdout, done.stdout  # it fails for what it found
    return done.returncode == 0


@needs_promtool
@pytest.mark.parametrize("alert", alerts())
def test_the_cases_of_an_alert_need_no_other(alert: str, tmp_path: Path) -> None:
    """So what fails below fails for what was changed."""
    assert hold(unchanged(alert), tmp_path)


@needs_promtool
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_case_notices_that_a_number_has_changed(mutation: Mutation, tmp_path: Path) -> None:
    assert not hold(mutation, tmp_path)


def test_every_alert_has_numbers_to_change() -> None:
    assert {mutation.alert for mutation in MUTATIONS} == set(alerts())
    assert len(MUTATIONS) > 100
