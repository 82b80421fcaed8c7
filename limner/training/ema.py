"""A moving average of the weights (Polyak averaging): what is evaluated, sampled and kept."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

__all__ = ["MovingAverage"]

M = TypeVar("M", bound=nn.Module)


class MovingAverage(Generic[M]):
    """``averaged`` follows ``model``, which is trained: after step t it moves by 1 - min(decay, (1 + t) / (10 + t)).

    Buffers are taken over as they are; a BatchNorm's statistics are then not those of the averaged weights
    (``GAN.take_standing_statistics``). A ``decay`` of 0 takes over all.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.decay = decay
        self.averaged: M = copy.deepcopy(model)
        self.averaged.requires_grad_(False).eval()
        self._averaged: list[torch.Tensor] = list(self.averaged.parameters())
        self._current: list[torch.Tensor] = list(model.parameters())
        self._buffers = list(zip(self.averaged.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model after ``step`` finished steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._current, 1.0 - decay)
        for averaged, current in self._buffers:
            averaged.copy_(current)
