"""What a person sees while a model learns: a bar where there is a terminal, lines elsewhere, and the same in metrics.jsonl."""

import time
from collections.abc import Mapping
from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training import progress
from training.folder import RunFolder

LINE_EVERY_S = 30.0  # where there is no terminal to draw a bar on
EPOCH_LINE_EVERY_S = 1.0  # of a toy there are hundreds
RECORD_EVERY_S = 5.0
STEPS_AN_EPOCH = 1000  # of a tracker, which counts in whole numbers


class Screen:
    """Shows one stage of training; call it with what the loop tells."""

    def __init__(self, stage: str, epochs: int, console: Console, run: RunFolder, accelerator: Accelerator) -> None:
        self._stage, self._epochs, self._console = stage, epochs, console
        self._run, self._accelerator = run, accelerator
        self._shown_s, self._recorded_s = -LINE_EVERY_S, time.monotonic()
        self._begun: tuple[float, float] | None = None  # when the first word of it came, and how many epochs were done by then
        self._bar = Progress(
            TextColumn("{task.description} {task.fields[epoch]}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[pace]:,.0f} words/s"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(stage, total=epochs, epoch=1, loss=float("nan"), pace=0.0)

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, told: progress.Progress | progress.Epoch) -> None:
        if isinstance(told, progress.Epoch):
            self._show_epoch(told)
        else:
            self._show_progress(told)

    def _show_progress(self, told: progress.Progress) -> None:
        done, now = told.epoch - 1 + told.share, time.monotonic()
        self._bar.update(self._task, completed=done, epoch=told.epoch, loss=told.loss, pace=told.words_per_s)
        if now - self._recorded_s >= RECORD_EVERY_S:
            self._recorded_s = now
            values = {"epoch": told.epoch, "share": told.share, "train_loss": told.loss, "words_per_s": told.words_per_s}
            self._record(values, done)
        if not self._console.is_terminal and now - self._shown_s >= LINE_EVERY_S:
            self._say(told.epoch, f", {told.share:.0%}: loss {told.loss:.3f}", told.words_per_s, self._left(done, now))
        elif self._begun is None:
            self._begun = now, done

    def _show_epoch(self, epoch: progress.Epoch) -> None:
        valid = "" if epoch.valid_loss is None else f", valid loss {epoch.valid_loss:.4f}"
        if time.monotonic() - self._shown_s >= EPOCH_LINE_EVERY_S or epoch.number == self._epochs:
            self._say(epoch.number, f": train loss {epoch.train_loss:.4f}{valid}", epoch.words_per_s)
        values: dict[str, object] = {"epoch": epoch.number, "train_loss": epoch.train_loss, "words_per_s": epoch.words_per_s}
        self._record(values if epoch.valid_loss is None else {**values, "valid_loss": epoch.valid_loss}, epoch.number)

    def _left(self, done: float, now: float) -> str:
        """The time that the rest of all epochs takes at the pace so far; a run that was resumed began in the middle."""
        if self._begun is None or done <= self._begun[1]:
            self._begun = self._begun or (now, done)
            return ""
        left_s = (now - self._begun[0]) / (done - self._begun[1]) * (self._epochs - done)
        return f", {left_s / 60:.0f} min left"

    def _say(self, epoch: int, what: str, words_per_s: float, more: str = "") -> None:
        self._shown_s = time.monotonic()
        self._console.print(f"{self._stage} {epoch}/{self._epochs}{what}, {words_per_s:,.0f} words/s{more}", soft_wrap=True)

    def _record(self, values: Mapping[str, object], done: float) -> None:
        """done: epochs. A tracker's step is made of it: a run that was resumed goes on in the curve where it was."""
        if self._accelerator.is_main_process:
            self._run.record(self._stage, values)
        step = round(STEPS_AN_EPOCH * done)
        self._accelerator.log({f"{self._stage}/{name}": value for name, value in values.items()}, step=step)
