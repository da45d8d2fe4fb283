"""training.tables: 8 bits and a scale a row, exact from the first rounding on."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.tables import LARGEST, dequantise, quantise, round_rows

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32)
TABLES = arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=FLOATS).map(torch.from_numpy)


@given(TABLES)
def test_rounding_again_changes_no_bit(table: torch.Tensor) -> None:
    once = round_rows(table)
    assert torch.equal(once, round_rows(once))


def test_rounding_again_changes_no_bit_whatever_the_largest_number_of_a_row() -> None:
    """All there are between one power of two and the next: others differ from these by a power of two."""
    largest = (torch.arange(2**23, dtype=torch.int32) + 0x3F800000).view(torch.float32)[:, None]
    once = round_rows(largest)
    assert torch.equal(once, round_rows(once))
    assert torch.equal(quantise(once)[1], quantise(largest)[1])


@given(TABLES)
def test_a_number_is_off_by_half_a_step_of_its_row_at_the_most(table: torch.Tensor) -> None:
    quantised, scales = quantise(table)
    assert quantised.dtype == torch.int8
    assert quantised.shape == table.shape
    assert scales.shape == (len(table), 1)
    assert quantised.abs().max() <= LARGEST
    off = (dequantise(quantised, scales).double() - table.double()).abs()
    steps = table.abs().amax(dim=1, keepdim=True).double() / LARGEST
    assert bool((off <= steps * 0.5001 + 127 * 2.0**-149).all())  # what is smaller than that has few digits, or none


def test_a_row_of_zeros_stays_zeros() -> None:
    quantised, scales = quantise(torch.tensor([[0.0, -0.0], [1.0, -2.0]]))
    assert quantised.tolist() == [[0, 0], [64, -127]]
    assert scales[0] == 1
    assert not round_rows(torch.zeros(1, 3)).any()


def test_numbers_too_small_for_a_scale_are_nothing() -> None:
    assert round_rows(torch.tensor([[1e-45, 0.0, -1e-45]])).tolist() == [[0.0, 0.0, 0.0]]
