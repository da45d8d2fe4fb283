"""Tables of vectors as 8-bit numbers with a scale a row: a quarter of the size, and still looked up exactly."""

import torch
from torch import Tensor

LARGEST = 127


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N, E) -> int8 (N, E) and float32 scales (N, 1). A row of zeros has the scale 1."""
    scales = weight.abs().amax(dim=1, keepdim=True) / LARGEST
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    return torch.round(weight / scales).clamp(-LARGEST, LARGEST).to(torch.int8), scales


def dequantise(quantised: Tensor, scales: Tensor) -> Tensor:
    """int8 (N, E) and scales (N, 1) -> (N, E)"""
    return quantised.float() * scales


def round_rows(weight: Tensor) -> Tensor:
    """What a table is once it was stored. Rounding twice changes nothing."""
    return dequantise(*quantise(weight))
