"""tests.soak.result and tests.soak.table: what is kept, broken and not judged."""

from io import StringIO

import numpy as np
from rich.console import Console

from tests.soak.records import ANSWERED
from tests.soak.result import MOST_LAG_MS, MOST_OTHERS, Findings, Result, disturbed
from tests.soak.table import lines, table
from tests.soak.test_records import records
from tests.soak.watch import Watch

QUIET = Watch([100.0, 101.0], others=0.0)
BUSY = Watch([100.0, 101.0], others=0.5)


def test_a_promise_that_is_not_kept_breaks_the_scenario() -> None:
    findings = Findings("steady")
    findings.promise("this holds", "", True)
    assert findings.result(records(ANSWERED), QUIET).verdict == "kept"
    findings.promise("that holds", "it did not", False)
    result = findings.result(records(ANSWERED), QUIET)
    assert result.verdict == "BROKEN"
    assert lines(result, everything=False) == ["steady: BROKEN: that holds: it did not"]


def test_failed_requests_break_it_however_busy_the_machine_is() -> None:
    findings = Findings("steady")
    findings.none_failed(records(ANSWERED, 500))
    assert findings.result(records(ANSWERED, 500), BUSY).verdict == "BROKEN"


def test_times_are_not_judged_where_others_use_the_core() -> None:
    findings = Findings("steady")
    findings.in_time("it is quick", 50.0, 20.0)
    assert findings.result(records(ANSWERED), QUIET).verdict == "BROKEN"
    result = findings.result(records(ANSWERED), BUSY)
    assert result.verdict == "disturbed"
    assert not result.broken
    assert "others used 50%" in lines(result, everything=False)[0]


def test_a_time_is_kept_up_to_its_bound() -> None:
    findings = Findings("steady")
    findings.in_time("a", 20.0, 20.0)
    findings.in_time("b", 20.1, 20.0)
    assert [promise.kept for promise in findings.promises] == [True, False]


def test_a_time_of_too_few_requests_is_told_and_not_judged() -> None:
    findings = Findings("steady")
    findings.in_time("it is quick", None, 20.0)
    result = findings.result(records(ANSWERED), QUIET)
    assert result.verdict == "kept"
    assert lines(result, everything=True) == ["steady: not told, for too few requests: it is quick"]


def test_a_load_generator_that_is_held_up_disturbs_too() -> None:
    assert disturbed(MOST_OTHERS, MOST_LAG_MS) == ""
    assert "load generator" in disturbed(0.0, MOST_LAG_MS + 1)
    assert disturbed(0.0, None) == ""


def test_the_result_has_the_counts_and_the_memory() -> None:
    found = records(*[ANSWERED] * 150, 429, 429, 500)
    result = Findings("steady").result(found, QUIET, usual_p99_ms=7.0)
    assert (result.requests, result.answered, result.refused, result.failed, result.left) == (153, 150, 2, 1, 0)
    assert (result.before_mb, result.after_mb, result.usual_p99_ms) == (100.0, 101.0, 7.0)
    assert result.p99_ms is not None
    assert np.isclose(result.p99_ms, 10)


def test_the_table_has_a_line_for_every_scenario_and_says_which_was_skipped() -> None:
    findings = Findings("steady")
    findings.promise("this holds", "", False)
    out = StringIO()
    results = [findings.result(records(ANSWERED), QUIET), Result("clock", skipped="not installed")]
    Console(file=out, width=140).print(table(results))
    told = out.getvalue()
    assert "steady" in told
    assert "BROKEN" in told
    assert "skipped" in next(line for line in told.splitlines() if "clock" in line)
