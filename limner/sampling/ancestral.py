"""The front door of sampling: the fastest exact sampler that a model has."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from limner.models.autoregressive import Autoregressive
from limner.models.contracts import Samples
from limner.sampling.cached import OnRow, cached, has_cache

__all__ = ["OnRow", "sample"]


def sample(
    model: Samples,
    n: int,
    *,
    generator: torch.Generator | None = None,
    on_row: OnRow | None = None,
    batch_size: int = 256,
) -> Tensor:
    """``n`` pictures of any model that samples, uint8 ``(n, C, H, W)``.

    Args:
        model: A PixelCNN is sampled from caches, identical to its naive sampler.
        n: How many.
        generator: Source of all randomness.
        on_row: Called after each finished row of an autoregressive model, with the row and the batch so far.
        batch_size: Pictures drawn together, which bounds the memory.
    """
    parts = []
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        if isinstance(model, Autoregressive):
            draw = functools.partial(cached, model) if has_cache(model) else model.sample
            parts.append(draw(size, generator=generator, on_row=on_row))
        else:
            parts.append(model.sample(size, generator=generator))
    return torch.cat(parts)
