"""tests.soak.sizes: what a pod should ask for follows from what was measured."""

import re

from tests.soak.result import Result
from tests.soak.sizes import sizes


def result(scenario: str, peak_mb: float) -> Result:
    return Result(scenario, peak_mb=peak_mb)


def asked(**peaks_mb: float) -> tuple[int, int]:
    """Mi requested and allowed."""
    line = sizes([result(name, peak) for name, peak in peaks_mb.items()])[-1]
    requested, allowed = re.findall(r"memory (\d+)Mi", line)
    return int(requested), int(allowed)


def test_a_pod_asks_for_what_a_steady_load_takes_and_is_allowed_what_the_worst_one_takes() -> None:
    requested, allowed = asked(capacity=150, steady=180, swap=220, overload=400)
    assert requested * 2**20 >= 180e6
    assert allowed * 2**20 >= 1.25 * 400e6
    assert asked(capacity=150, steady=180, swap=220, overload=300)[1] < allowed


def test_both_are_numbers_that_people_write() -> None:
    assert all(value % 64 == 0 for value in asked(capacity=150, steady=181, swap=223))


def test_nothing_is_told_where_too_little_was_tried() -> None:
    assert sizes([result("capacity", 150), result("steady", 180)]) == []
    assert sizes([Result("capacity", peak_mb=150), Result("steady", peak_mb=180), Result("swap", skipped="for some reason")]) == []
