"""Texts without labels as a second textbook: models that learnt from the labels label them, and a fresh one learns from both.

The teachers are classifiers of the run's own kind and a linear model over runs of characters, which errs elsewhere; their word is
taken as shares of the labels, not as one label (Hinton et al. 2015; Xie et al. 2020). Knows no files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training import calibration
from training.batches import IGNORED, Batch
from training.model import Classifier, Loss
from training.recurrent import State

Scores = npt.NDArray[np.float32]
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(11))  # of the linear model in what the teachers say together
SHARE_UNJUDGED = 0.5  # where there is no valid split to choose it on


class Opinion(NamedTuple):
    """What one teacher says: logarithms of the labels' shares, valid (N, C) and unlabelled (U, C), each up to a constant a row."""

    valid: Scores
    unlabelled: Scores


class Agreed(NamedTuple):
    """What the teachers say together of the unlabelled texts, shares (U, C), and the linear model's part in it."""

    shares: Scores
    linear_share: float


def agree(models: Sequence[Opinion], linear: Opinion, targets: npt.NDArray[np.integer]) -> Agreed:
    """The mean of the models' opinions with that of the linear one, in the proportion and as sure as is best on valid (N)."""
    valid, unlabelled = (np.mean([getattr(opinion, part) for opinion in models], axis=0) for part in Opinion._fields)
    choices = []
    for share in SHARES if len(targets) >= calibration.FEWEST_ROWS else (SHARE_UNJUDGED,):
        mixed = (1 - share) * valid + share * linear.valid
        temperature = calibration.temperature(mixed, targets)
        loss = calibration.log_loss(mixed / temperature, targets) if len(targets) else 0.0
        choices.append((loss, share, temperature))
    _, share, temperature = min(choices)
    together = ((1 - share) * unlabelled + share * linear.unlabelled) / temperature
    return Agreed(calibration.softmax(together).astype(np.float32), share)


class Student(nn.Module):
    """A classifier that learns from labels, and where a text has none from the teachers' shares.

    A target below the number of labels C is a label; one from C on is C plus a row of the shares (U, C).
    """

    def __init__(self, classifier: Classifier, shares: Scores) -> None:
        super().__init__()
        self.classifier = classifier
        self.shares: Tensor
        self.register_buffer("shares", torch.from_numpy(shares), persistent=False)

    def forward(self, batch: Batch, state: State | None = None) -> Loss:
        """Cross-entropy with the label or the shares; the same as the classifier's own where all have labels."""
        labels = self.shares.shape[1]
        taught = batch.targets >= labels
        if not bool(taught.any()):
            loss: Loss = self.classifier(batch)
            return loss
        given = functional.one_hot(batch.targets.clamp(0, labels - 1), labels).float()
        wanted = torch.where(taught[:, None], self.shares[(batch.targets - labels).clamp(min=0)], given)
        wanted = wanted * (batch.targets != IGNORED)[:, None]
        logits = self.classifier.logits(batch.ids, batch.lengths, batch.grams).float()
        return Loss(functional.cross_entropy(logits, wanted, reduction="sum"), int((batch.targets != IGNORED).sum()))
