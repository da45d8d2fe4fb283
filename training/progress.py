"""How far training is and what it came to: values that the loop tells, whoever shows or keeps them. Knows no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave; losses in nats a prediction."""

    number: int
    train_loss: float
    valid_loss: float | None
    words_per_s: float

    @property
    def judged_by(self) -> float:
        return self.train_loss if self.valid_loss is None else self.valid_loss


@dataclass(frozen=True)
class Fitted:
    """Every epoch in order, the best of them, the seconds it took, and why it ended early where something was wrong.

    The model holds the best epoch's weights.
    """

    history: list[Epoch]
    best: Epoch
    seconds: float
    fault: str | None = None


class Progress(NamedTuple):
    """Where a run stands after a batch: the share of the epoch that is done, the mean loss since it began, and its pace."""

    epoch: int
    share: float
    loss: float
    words_per_s: float


Tell = Callable[["Progress | Epoch"], None]
