"""Ancestral sampling that computes each activation of a PixelCNN once: the arithmetic of one forward pass.

An output at pixel (i, j) is a sum over the rows above and over what lies left in its own row. The rows above are known
when row i begins, so their share is computed for the whole row in one convolution (in the gated model that is the whole
vertical stack); the rest is one small matrix product a pixel. Only ``kernel // 2`` rows of each layer's input are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.models.autoregressive import Autoregressive
from limner.sampling.caches import network
from limner.sampling.rows import RowSampler

__all__ = ["CachedRowSampler"]


class CachedRowSampler(RowSampler):
    """See ``RowSampler``; plain PyTorch, on any device, for the networks in ``limner.sampling.caches``."""

    def __init__(self, model: Autoregressive, n: int, **options: Any) -> None:
        super().__init__(model, n, **options)
        with torch.no_grad():
            self.network = network(model, n, self.labels, self.context)

    def _draw_row(self, i: int) -> Tensor | None:
        model, k, network = self.model, self.k, self.network
        c, _, w = model.shape
        network.begin_row()
        parameters = []
        for j in range(w):
            here = k[:, :, i : i + 1, j : j + 1]  # a view
            # Channel c sees the channels before it in the same pixel, so the pixel is computed once for each. No map
            # sees the last channel of its own pixel: after the last pass every cached activation is final.
            for channel in range(c):
                y = network.at(j, model.intensities(k[:, :, i, j]))[:, :, None, None]
                drawn = model.distribution(y, here).icdf(self.uniforms[:, :, i : i + 1, j : j + 1])[:, channel, 0, 0]
                if self.given is not None:
                    drawn = torch.where(self.given[:, i, j], k[:, channel, i, j], drawn)
                k[:, channel, i, j] = drawn
            network.put(j, model.intensities(k[:, :, i, j]))
            parameters.append(y)
        network.end_row()
        return None if self.given is None else torch.cat(parameters, 3)

    def _select(self, index: Tensor) -> None:
        self.network.select(index)
