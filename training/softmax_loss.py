"""What predicting words costs, from what the output layer reads: softmax and cross-entropy piece by piece. Knows no model.

All logits of a batch at once (N, V) are larger than any cache, and than what an allocator keeps from one batch to the next, and
would be written and read six times. A piece of them is made, used for the loss and all three gradients, and forgotten.
"""

from typing import Any

import torch
from torch import Tensor

ROWS = 256  # whose logits are there at a time: 10 MB for 10,000 words
SMALLEST = 1e-37  # the least share that 32 bits tell from none with all their digits


def next_word_loss(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """The sum of the cross-entropies in nats: cross_entropy(linear(hidden, weight, bias), targets, reduction="sum").

    hidden (N, H), weight (V, H), bias (V), targets (N), of which those that are `ignored` count for nothing. Under autocast the
    products are made in its precision, and sums in 32 bits. The gradient can be asked for once.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    with torch.autocast(kind, enabled=False):
        total: Tensor = _NextWordLoss.apply(hidden.to(dtype), weight, bias, targets, ignored)
    return total


class _NextWordLoss(torch.autograd.Function):
    """Gradients are worked out with the loss, while the probabilities are there: minus one at the target, they are the logits'."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, ignored: int) -> Tensor:
        narrow = weight.to(hidden.dtype)
        learns = any(ctx.needs_input_grad[:3])
        slopes = (torch.empty_like(hidden), torch.zeros_like(weight), torch.zeros_like(bias)) if learns else None
        total = torch.zeros((), device=weight.device)
        for at in range(0, len(hidden), ROWS):
            rows, wanted = hidden[at : at + ROWS], targets[at : at + ROWS, None]
            real = wanted != ignored
            places = wanted.where(real, 0)
            logits = torch.mm(rows, narrow.t()).float().add_(bias)  # a bias within the product is slower on a CPU
            shares = logits.softmax(dim=1)  # (ROWS, V)
            total += _nats(logits, shares, places).mul_(real).sum()
            if slopes is not None:
                shares.scatter_add_(1, places, shares.new_full(places.shape, -1.0))
                if not real.all():
                    shares.mul_(real)
                _add_slopes(slopes, at, shares.to(hidden.dtype), rows, narrow)
        if slopes is not None:
            ctx.save_for_backward(*slopes)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        # In place: nothing else holds them.
        return (*(slope.mul_(scale) for slope in ctx.saved_tensors), None, None)


def _nats(logits: Tensor, shares: Tensor, places: Tensor) -> Tensor:
    """What the words at some places (ROWS, 1) cost; where a share is too small for 32 bits, against the likeliest word alone."""
    chosen = shares.gather(1, places)
    nats = -chosen.log()
    if bool((chosen < SMALLEST).any()):
        nats = nats.where(chosen >= SMALLEST, logits.amax(dim=1, keepdim=True) - logits.gather(1, places))
    return nats


def _add_slopes(slopes: tuple[Tensor, Tensor, Tensor], at: int, shares: Tensor, rows: Tensor, narrow: Tensor) -> None:
    """What a piece (ROWS, V) adds to the gradients of the hidden rows, the weights and the bias."""
    hidden, weight, bias = slopes
    torch.mm(shares, narrow, out=hidden[at : at + len(rows)])
    if shares.dtype == weight.dtype:
        weight.addmm_(shares.t(), rows)
    else:
        weight.add_(torch.mm(shares.t(), rows))
    bias.add_(torch.mm(shares.new_ones(1, len(rows)), shares)[0])
