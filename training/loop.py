"""The training loop, the same for both tasks: batches in, the best weights out. Knows no files and no screen."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from training.config import FitConfig
from training.data import Batch
from training.errors import TrainingError
from training.model import Classifier, LanguageModel

Model = LanguageModel | Classifier
_OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


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
    """Every epoch in order, the best of them, and the seconds it took. The model holds the best epoch's weights."""

    history: list[Epoch]
    best: Epoch
    seconds: float


# Called after every batch with the epoch's number, the share of it that is done, and the loss so far.
Progress = Callable[[int, float, float], None]


def fit(
    model: Model,
    train: Callable[[int], Iterable[Batch]],
    valid: Callable[[], Iterable[Batch]] | None,
    batches_per_epoch: int,
    config: FitConfig,
    progress: Progress = lambda *_: None,
) -> Fitted:
    """Trains until config.epochs, or until patience runs out, and leaves the best epoch's weights in model, on the CPU.

    train gives an epoch's batches, valid the validation batches; without valid the training loss is judged.
    Raises TrainingError where the loss is no number.
    """
    accelerator = Accelerator()
    trained = [p for p in model.parameters() if p.requires_grad]
    # fused: one pass over the weights, and none of the temporary copies that leave the heap in splinters over hours.
    optimiser = _OPTIMISERS[config.optimiser](trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    running, optimiser = accelerator.prepare(model, optimiser)
    step = _Step(running, trained, optimiser, accelerator, config, total=config.epochs * batches_per_epoch)
    started, history, best, kept = time.monotonic(), [], None, {}
    for number in range(1, config.epochs + 1):
        epoch = _train_epoch(number, step, train(number), batches_per_epoch, progress)
        if valid is not None:
            epoch = Epoch(number, epoch.train_loss, mean_loss(running, valid(), accelerator.device), epoch.words_per_s)
        history.append(epoch)
        if best is None or epoch.judged_by < best.judged_by:
            best, kept = epoch, {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
        elif number - best.number >= config.patience:
            break
    if best is None:
        raise TrainingError("not one epoch was trained")
    if not math.isfinite(best.judged_by) or not all(torch.isfinite(weight).all() for weight in kept.values()):
        raise TrainingError("the weights are no longer numbers; a smaller fit.learning_rate may help")
    model.cpu().load_state_dict(kept)
    model.eval()
    return Fitted(history, best, time.monotonic() - started)


@torch.no_grad()
def mean_loss(model: Model, batches: Iterable[Batch], device: torch.device) -> float:
    """Nats a prediction, without dropout."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        loss, predictions = model.loss(_to(batch, device))
        total, count = total + float(loss), count + predictions
    model.train()
    return total / count


class _Step:
    """One batch: loss, gradient, clip, update."""

    def __init__(
        self,
        model: Model,
        trained: list[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        accelerator: Accelerator,
        config: FitConfig,
        total: int,
    ) -> None:
        self.model, self.trained, self.optimiser, self.accelerator, self.config = model, trained, optimiser, accelerator, config
        self.total, self.done = total, 0

    def __call__(self, batch: Batch) -> tuple[float, int]:
        """The batch's summed loss and its number of predictions."""
        batch = _to(batch, self.accelerator.device)
        half = self.config.precision == "bfloat16"
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=half):
            loss, count = self.model.loss(batch)
        self.accelerator.backward(loss / count)
        self.accelerator.clip_grad_norm_(self.trained, self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self._rate()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.done += 1
        return float(loss.detach()), count

    def _rate(self) -> float:
        """linear: a short warm-up, then down to nothing at the last batch."""
        if self.config.schedule == "constant":
            return 1.0
        warm = max(1, self.total // 50)
        return min((self.done + 1) / warm, max(0.0, 1 - self.done / self.total))


def _train_epoch(number: int, step: _Step, batches: Iterable[Batch], expected: int, progress: Progress) -> Epoch:
    step.model.train()
    started, total, count, words = time.monotonic(), 0.0, 0, 0
    for index, batch in enumerate(batches, 1):
        loss, predictions = step(batch)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at batch {index} of epoch {number}; a smaller fit.learning_rate may help")
        total, count, words = total + loss, count + predictions, words + int(batch.lengths.sum())
        progress(number, index / expected, total / count)
    return Epoch(number, total / count, None, words / (time.monotonic() - started))


def _to(batch: Batch, device: torch.device) -> Batch:
    return Batch(*(tensor.to(device) for tensor in _tensors(batch)))


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(batch)
