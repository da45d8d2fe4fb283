"""tests.soak.numbers"""

import numpy as np
import pytest

from tests.soak.numbers import FEWEST, growth, share_ms, tenths


def test_the_99th_percentile_is_not_exceeded_by_99_of_100() -> None:
    values = np.arange(1, 1001, dtype=float)
    found = share_ms(values, 0.99)
    assert found is not None
    assert (values <= found).mean() == pytest.approx(0.99)


def test_too_few_have_no_percentile() -> None:
    assert share_ms(np.ones(FEWEST - 1), 0.99) is None
    assert share_ms(np.ones(FEWEST), 0.99) == 1


def test_what_stays_does_not_grow() -> None:
    assert growth([200.0] * 9) == 0


def test_what_grows_steadily_grew_by_what_lies_between_the_thirds() -> None:
    assert growth([100.0, 100.0, 105.0, 105.0, 110.0, 110.0]) == pytest.approx(0.1)


def test_a_moment_is_no_growth() -> None:
    assert growth([100.0] * 20 + [500.0]) == 0


def test_one_value_is_no_growth() -> None:
    assert growth([100.0]) == 0


def test_tenths_tell_a_slope_from_a_step() -> None:
    assert tenths([1.0] * 45 + [2.0] * 55) == [1.0] * 4 + [1.5] + [2.0] * 5
    assert tenths(range(100)) == [4.5 + 10 * tenth for tenth in range(10)]
    assert tenths([3.0]) == [3.0]
