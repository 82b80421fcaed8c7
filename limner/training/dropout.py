"""Dropout whose random numbers are part of the run: torch's own layers draw from its global generator.

What else draws from that one, in another thread say, would change the weights.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from limner.noise import drawn_whole

__all__ = ["draw_dropout_from"]


class _Dropout(nn.Module):
    """``nn.Dropout``, or that of whole feature maps, with a generator; on a CPU the same numbers as torch's."""

    def __init__(self, p: float, whole_maps: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.whole_maps, self.generator = p, whole_maps, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = drawn_whole(partial(self._kept, x), tuple(x.shape))
        return x * kept.div_(1 - self.p or 1)

    def _kept(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """1 where a value of maps like ``x``, of this shape, is kept."""
        if self.whole_maps:
            kept = x.new_empty((*shape[:2], *[1] * (x.dim() - 2)))
        elif shape == x.shape:
            kept = torch.empty_like(x)
        else:  # drawn in their order in memory
            last = x.dim() == 4 and not x.is_contiguous()
            order = torch.channels_last if last else torch.contiguous_format
            kept = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)
        return kept.bernoulli_(1 - self.p, generator=self.generator)


def draw_dropout_from(generator: torch.Generator, model: nn.Module) -> None:
    """Replace the dropout layers of ``model``, which have no weights, by ones that draw from ``generator``."""
    for module in list(model.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
                setattr(
                    module, name, _Dropout(layer.p, not isinstance(layer, nn.Dropout), generator).train(layer.training)
                )
            elif isinstance(layer, _Dropout):
                layer.generator = generator
