"""tests.soak.records: what became of requests."""

from pathlib import Path

import numpy as np
import pytest

from tests.soak.load import read, write
from tests.soak.records import ANOTHER_ANSWER, ANSWERED, LEFT, REFUSED, RESET, Records


def records(*status: int, took_s: float = 0.01, sent_late_s: float = 0.0) -> Records:
    """One request a second, of two kinds in turn."""
    due = np.arange(len(status), dtype=float)
    return Records(
        kinds=["classify", "generate"],
        kind=np.arange(len(status), dtype=np.int16) % 2,
        due_s=due,
        sent_s=due + sent_late_s,
        ended_s=due + took_s,
        status=np.array(status, np.int16),
        retry=np.array(status) == REFUSED,
        samples={500: "broke"},
    )


def test_every_request_is_counted_once() -> None:
    found = records(ANSWERED, REFUSED, LEFT, RESET, 500, 504, ANOTHER_ANSWER, ANSWERED)
    counts = [len(part) for part in (found.answered, found.refused, found.left, found.failed)]
    assert counts == [2, 1, 1, 4]
    assert sum(counts) == len(found)


def test_a_latency_counts_from_when_the_request_was_due() -> None:
    assert records(ANSWERED, took_s=0.5, sent_late_s=0.4).latencies_ms == pytest.approx([500])


def test_percentiles_are_of_those_that_were_answered() -> None:
    found = records(*[ANSWERED] * 100, *[REFUSED] * 900, took_s=0.01)
    found.ended_s[100:] += 9
    assert found.p99_ms == pytest.approx(10)
    assert found.p50_ms == pytest.approx(10)


def test_windows_are_of_when_requests_were_due_and_end_before_their_end() -> None:
    found = records(*[ANSWERED] * 10).due_within([(1, 3), (7, 8)])
    assert found.due_s.tolist() == [1, 2, 7]
    assert len(found.due_within([])) == 0


def test_kinds_can_be_looked_at_alone() -> None:
    found = records(*[ANSWERED] * 5)
    assert found.of("generate").due_s.tolist() == [1, 3]
    assert len(found.of("generate", "classify")) == 5


def test_faults_tell_how_often_and_what_was_said() -> None:
    assert records(ANSWERED, REFUSED, LEFT).faults() == ""
    assert records(500, 500, RESET).faults() == "1 x the connection was reset; 2 x status 500 (broke)"


def test_what_the_load_generator_was_late_by_is_told_apart() -> None:
    found = records(*[ANSWERED] * 200, sent_late_s=0.03)
    assert found.lag_p99_ms == pytest.approx(30)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    before = records(ANSWERED, REFUSED, 500)
    write(tmp_path / "records.npz", before)
    after = read(tmp_path / "records.npz")
    assert (after.kinds, after.samples) == (before.kinds, before.samples)
    for name in ("kind", "due_s", "sent_s", "ended_s", "status", "retry"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
