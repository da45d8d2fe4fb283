"""The processes that train one model together, each on its own rows of every batch. Knows no loss and no optimiser."""

import hashlib
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from training.batches import Batch
from training.recurrent import State


class Processes:
    """This process among all; alone it is all of them."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.world: int = accelerator.num_processes
        self.writes: bool = accelerator.is_main_process  # files are one process's business

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self._accelerator.device)

    @property
    def have_bfloat16(self) -> bool:
        """Whether the device multiplies such numbers itself: one that imitates it is many times slower than with 32 bits."""
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        processor = Path("/proc/cpuinfo")
        return self.device.type == "cpu" and processor.is_file() and "bf16" in processor.read_text("utf-8", "replace")

    def step_seed(self, seed: int, step: int) -> int:
        """What this process draws its chance from at a step. A CPU looks at the low 32 bits alone: neighbours differ in these."""
        return int.from_bytes(hashlib.sha256(f"{seed} {step} {self.rank}".encode()).digest()[:4])

    def share(self, batch: Batch) -> Batch:
        """This process's rows of a batch."""
        return batch.share(self.rank, self.world) if self.world > 1 else batch

    def sum(self, *numbers: float) -> list[float]:
        """Each number's sum over all processes."""
        if self.world == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return cast(list[float], self._accelerator.reduce(summed, "sum").tolist())

    def whole_state(self, state: State | None, rows: int) -> State | None:
        """All processes' rows of the carried state (layers, B, H); some may hold a row less, or one that counts for nothing."""
        if state is None or self.world == 1:
            return state
        alike = [self._accelerator.pad_across_processes(part.transpose(0, 1).contiguous()) for part in state]
        gathered = [_interleave(self._accelerator.gather(part), self.world)[:rows] for part in alike]
        return [part.transpose(0, 1).contiguous() for part in gathered]

    def own_state(self, state: State | None) -> State | None:
        """This process's rows of a whole state, as Batch.share gives them out."""
        if state is None:
            return None
        rows = slice(self.rank, None, self.world) if self.rank < state[0].shape[1] else slice(1)
        return [part[:, rows].to(self.device).contiguous() for part in state]


def _interleave(rows: Tensor, world: int) -> Tensor:
    """Rows as the processes hold them one after another, (world * n, ...), in the order of the whole batch."""
    return rows.reshape(world, -1, *rows.shape[1:]).transpose(0, 1).flatten(0, 1)
