"""The training loop, the same for every objective: batches in, the best weights out. Knows no words and no screen.

A run that is killed and resumed ends with the same weights, bit for bit on a CPU: what is random at a step follows from the seed
and the step alone, and all else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.average import MovingAverage
from training.batches import Batch
from training.checkpoint import Checkpoint, Contents
from training.config import FitConfig
from training.errors import TrainingError
from training.model import Loss
from training.processes import Processes
from training.progress import Epoch, Fitted, Progress, Tell
from training.recurrent import State
from training.schedule import rate

_OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
TOLD_EVERY_S = 0.2


@dataclass(frozen=True)
class Feed:
    """Where batches come from. train(epoch, start): the batches of an epoch after the first start ones, the same whenever asked."""

    train: Callable[[int, int], Iterable[Batch]]
    batches_per_epoch: int
    valid: Callable[[], Iterable[Batch]] | None = None
    carries_state: bool = False


def fit(
    model: nn.Module,
    feed: Feed,
    config: FitConfig,
    accelerator: Accelerator,
    seed: int = 1,
    checkpoint: Checkpoint | None = None,
    tell: Tell = lambda _: None,
) -> Fitted:
    """Trains until config.epochs, or until patience runs out, and leaves the best epoch's weights in model, on the CPU.

    model(batch, state) says what a batch costs, a Loss; where the feed carries a state, it is given the last one of its stream.
    Begins where checkpoint stands. A loss that is no number ends the run with the best weights so far and says so in `fault`;
    raises TrainingError where there are none.
    """
    stage = _Stage(model, feed, config, accelerator, seed, checkpoint, tell)
    stage.restore()
    while not stage.finished:
        stage.run_epoch()
    return stage.finish()


def mean_loss(model: nn.Module, batches: Iterable[Batch], device: torch.device, carries_state: bool = False) -> float:
    """Nats a prediction, without dropout."""
    total, count = _sum_losses(model, batches, device, carries_state)
    return total / count


@torch.no_grad()
def _sum_losses(model: nn.Module, batches: Iterable[Batch], device: torch.device, carries_state: bool) -> tuple[float, int]:
    was_training = model.training
    model.eval()
    total, count, state = 0.0, 0, None
    for batch in batches:
        loss = model(batch.to(device), state)
        total, count = total + float(loss.total), count + loss.predictions
        state = loss.state if carries_state else None
    model.train(was_training)
    return total, count


class _Stage:
    """Everything that a stage of training consists of between two batches."""

    def __init__(
        self,
        model: nn.Module,
        feed: Feed,
        config: FitConfig,
        accelerator: Accelerator,
        seed: int,
        checkpoint: Checkpoint | None,
        tell: Tell,
    ) -> None:
        self.model, self.feed, self.config, self.accelerator = model, feed, config, accelerator
        self.processes = Processes(accelerator)
        self.seed, self.checkpoint, self.tell = seed, checkpoint, tell
        self.trained = [p for p in model.parameters() if p.requires_grad]
        # fused: one pass over the weights, and none of the temporary copies that leave the heap in splinters over hours.
        optimiser = _OPTIMISERS[config.optimiser](
            self.trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.running, self.optimiser = accelerator.prepare(model, optimiser)
        self.average = MovingAverage(model, config.average) if config.average else None
        self.history: list[Epoch] = []
        self.best: Epoch | None = None
        self.kept: dict[str, Tensor] = {}
        self.epoch, self.batch, self.step = 1, 0, 0  # the epoch under way, its batches that are done, and those of all epochs
        self.total, self.count, self.words, self.seconds = 0.0, 0.0, 0, 0.0  # of the epoch under way
        self.seconds_before = 0.0
        self.state: State | None = None
        self.rows = 0  # of the last batch, over all processes
        self.fault: str | None = None
        self.steps = config.epochs * feed.batches_per_epoch  # of all epochs
        self.due = False  # whether a checkpoint is to be written after this batch
        self.half = config.precision == "bfloat16" or (config.precision == "auto" and self.processes.have_bfloat16)

    @property
    def finished(self) -> bool:
        if self.fault is not None or self.epoch > self.config.epochs:
            return True
        return self.best is not None and bool(self.history) and self.history[-1].number - self.best.number >= self.config.patience

    @property
    def _judged(self) -> nn.Module:
        """What is validated and kept: the averaged weights where there are some."""
        return self.model if self.average is None else self.average.model

    def run_epoch(self) -> None:
        """What is left of the epoch, then its validation."""
        self.running.train()
        started, told = time.monotonic() - self.seconds, 0.0
        for batch in self.feed.train(self.epoch, self.batch):
            loss = self.learn(batch)
            self.batch, self.step = self.batch + 1, self.step + 1
            if not math.isfinite(loss):
                self.fault = f"the loss is {loss} at batch {self.batch} of epoch {self.epoch}"
                return
            self.seconds = time.monotonic() - started
            if self.seconds - told >= TOLD_EVERY_S or self.batch == self.feed.batches_per_epoch:
                told = self.seconds
                share = min(1.0, self.batch / self.feed.batches_per_epoch)
                self.tell(Progress(self.epoch, share, self.total / max(1, self.count), self.words / max(self.seconds, 1e-9)))
            if self.due:
                self._save()
        self._end_epoch()

    def learn(self, batch: Batch) -> float:
        """One batch: loss, gradient, clip, update. Returns the loss a prediction, over all processes."""
        processes = self.processes
        # A step's dropout follows from the seed and the step alone, so a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(processes.step_seed(self.seed, self.step))
        with torch.autocast(processes.device.type, torch.bfloat16, enabled=self.half):
            loss: Loss = self.running(processes.share(batch).to(processes.device), self.state)
        # One process writes, so its clock alone counts.
        due = processes.writes and self.checkpoint is not None and self.checkpoint.due
        total, count, saves = processes.sum(float(loss.total.detach()), loss.predictions, due)
        self.due = saves > 0
        # Processes average their gradients: each one's loss counts as often as there are processes.
        self.accelerator.backward(loss.total * (processes.world / max(1, count)))
        self.accelerator.clip_grad_norm_(self.trained, self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate(self.config.schedule, self.step, self.steps)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.update(self.model)
        self.state, self.rows = loss.state if self.feed.carries_state else None, len(batch.ids)
        self.total, self.count, self.words = self.total + total, self.count + count, self.words + int(batch.lengths.sum())
        return total / max(1, count)

    def finish(self) -> Fitted:
        """Leaves the best weights in the model. Raises TrainingError where not one epoch ended with numbers."""
        if self.best is None:
            raise TrainingError(f"{self.fault or 'not one epoch was trained'}; a smaller fit.learning_rate may help")
        self._save()
        self.accelerator.free_memory()
        self.model.cpu().load_state_dict(self.kept)
        self.model.eval()
        fault = self.fault and f"{self.fault}; the best epoch before it, {self.best.number}, is kept"
        return Fitted(self.history, self.best, self.seconds_before, fault)

    def restore(self) -> None:
        """Puts everything where the checkpoint left it. Raises TrainingError where it belongs to another run."""
        contents = None if self.checkpoint is None else self.checkpoint.load()
        if contents is None:
            return
        self.model.load_state_dict(contents["model"])
        self.optimiser.load_state_dict(contents["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(contents["average"])
        self.history = [Epoch(**epoch) for epoch in contents["history"]]
        self.best = next((epoch for epoch in self.history if epoch.number == contents["best"]), None)
        self.kept = contents["kept"]
        self.epoch, self.batch, self.step = contents["epoch"], contents["batch"], contents["step"]
        self.total, self.count, self.words = contents["total"], contents["count"], contents["words"]
        self.seconds, self.seconds_before, self.fault = contents["seconds"], contents["seconds_before"], contents["fault"]
        self.state = self.processes.own_state(contents["state"])

    def _end_epoch(self) -> None:
        """Judges the epoch. One that ends with what is no number is none: it is a fault."""
        if not self.count:
            raise TrainingError("the training data has nothing to predict: too few words or texts for one batch")
        valid_loss = None if self.feed.valid is None else self._validate(self.feed.valid())
        epoch = Epoch(self.epoch, self.total / max(1, self.count), valid_loss, self.words / max(self.seconds, 1e-9))
        if not math.isfinite(epoch.judged_by):
            self.fault = f"the validation loss is {epoch.judged_by} at the end of epoch {self.epoch}"
            return
        if self.best is None or epoch.judged_by < self.best.judged_by:
            kept = {name: weight.detach().cpu().clone() for name, weight in self._judged.state_dict().items()}
            if not all(torch.isfinite(weight).all() for weight in kept.values()):
                self.fault = f"the weights are no longer numbers at the end of epoch {self.epoch}"
                return
            self.best, self.kept = epoch, kept
        self.history.append(epoch)
        self.seconds_before += self.seconds
        self.epoch, self.batch, self.state = self.epoch + 1, 0, None
        self.total, self.count, self.words, self.seconds = 0.0, 0.0, 0, 0.0
        self.tell(epoch)
        self._save()

    def _validate(self, batches: Iterable[Batch]) -> float | None:
        """None where there is nothing to predict, as if there were no validation split."""
        shares = map(self.processes.share, batches)
        total, count = self.processes.sum(*_sum_losses(self._judged, shares, self.processes.device, self.feed.carries_state))
        return total / count if count else None

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        state = self.processes.whole_state(self.state, self.rows)
        if self.processes.writes:
            self.checkpoint.save(self._contents(state))

    def _contents(self, state: State | None) -> Contents:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "best": None if self.best is None else self.best.number,
            "kept": self.kept,
            **{name: getattr(self, name) for name in ("epoch", "batch", "step", "total", "count", "words")},
            **{name: getattr(self, name) for name in ("seconds", "seconds_before", "fault")},
            "state": state,
        }
