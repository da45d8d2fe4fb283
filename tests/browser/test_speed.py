"""tests.browser.speed: it measures what it says. How fast it is, a machine with nothing else to do tells."""

from tests.browser.browser import EXPECTED_MS
from tests.browser.screen import Screen
from tests.browser.speed import SENTENCES, measure, quantile


def test_every_key_press_is_measured_once(screen: Screen) -> None:
    keys = len(SENTENCES[0]) + 5
    took = measure(screen, keys)
    assert len(took) == keys
    assert all(0 < one < EXPECTED_MS for _, one in took)


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 51, 100, 100]
