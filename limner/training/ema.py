"""A moving average of the weights (Polyak averaging): what is evaluated, sampled and kept."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """``averaged`` follows ``model``: after step t it moves by 1 - min(decay, (1 + t) / (10 + t)).

    Args:
        model: The model that is trained.
        decay: The average's decay; 0 makes ``averaged`` equal to ``model`` after each update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.averaged = copy.deepcopy(model).requires_grad_(False).eval()
        self._pairs = list(self.averaged.parameters()), list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model after ``step`` finished steps."""
        averaged, current = self._pairs
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(averaged, current, 1.0 - decay)
