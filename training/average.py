"""A model whose weights are a moving average over the steps of training. Knows no optimiser."""

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """Averages over ever more steps, up to what the past is to keep (Polyak and Juditsky 1992, forgetting the beginning)."""

    def __init__(self, model: nn.Module, kept: float) -> None:
        """kept: the share that the past keeps in the long run, 0.999 say."""
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._kept, self._steps = kept, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After a step that changed model."""
        kept = min(self._kept, (1 + self._steps) / (10 + self._steps)) if self._steps else 0.0
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - kept)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["weights"])
        self._steps = state["steps"]
