r"""Fully visible belief networks: :math:`p(x) = \prod_i p(x_i \mid x_1, \ldots, x_{i-1})`.

Raster order, and R, then G given R, then B given R and G within a pixel.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.distributions import HEADS, PixelDistribution, default_head
from limner.models.contracts import Bound, Model

__all__ = ["Autoregressive"]


class Autoregressive(Model):
    """A model whose ``logits`` at pixel i (and channel c) see only what comes before: exact ln p(x) and sampling."""

    bound: ClassVar[Bound] = "exact"

    def __init__(self, config: Any, shape: tuple[int, int, int], levels: int, head: str) -> None:
        super().__init__(config, shape, levels)
        self.head = HEADS[default_head(levels, "softmax") if head == "auto" else head]
        self.parameters_per_channel = self.head.count(levels)

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Parameters ``(B, C·P, H, W)`` of p(x_i | x_<i) at every i, of intensities ``(B, C, H, W)`` in [-1, 1]."""

    def conditionals(self, k: Tensor) -> PixelDistribution:
        """p(x_i | x_<i) for every pixel and channel at once, given levels ``k`` int64 ``(B, C, H, W)``."""
        b, c, h, w = k.shape
        parameters = self.logits(self.intensities(k)).reshape(b, c, self.parameters_per_channel, h, w)
        return self.head.from_parameters(parameters, self.levels)

    def log_prob(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """ln p(x) of uint8 pictures ``(B, C, H, W)``, exact, nats an image ``(B,)``; nothing is drawn.

        Raises:
            LimnerError: Pictures of another shape or other levels than the model's.
        """
        k = self.checked_levels(images)
        return self.conditionals(k).log_prob(k).double().flatten(1).sum(1)

    def loss_terms(self, images: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """``nll`` = -ln p(x), ``(B,)``."""
        k = self.checked_levels(images)
        return {"nll": -self.conditionals(k).log_prob(k).flatten(1).sum(1)}

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
        on_row: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """``n`` pictures drawn pixel by pixel, uint8 ``(n, C, H, W)``: the lecture's algorithm, one pass a value.

        Only the rows known so far go through the network. ``on_row(row, images)`` is called after each row.
        """
        c, h, w = self.shape
        uniforms = torch.rand(n, c, h, w, generator=generator, dtype=torch.float64).to(self.device)
        k = torch.zeros(n, c, h, w, dtype=torch.int64, device=self.device)
        for i in range(h):
            for j in range(w):
                for channel in range(c):
                    p = self.conditionals(k[:, :, : i + 1])
                    k[:, channel, i, j] = p.icdf(uniforms[:, :, : i + 1])[:, channel, i, j]
            if on_row is not None:
                on_row(i, dequantize(k, self.levels))
        return dequantize(k, self.levels)
