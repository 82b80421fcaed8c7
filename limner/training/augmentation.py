"""Training pictures moved by a few pixels: more pictures than there are, for models that would learn them by heart.

A model of p(x) must not learn the moves, so they become rarer as the learning rate falls, and the last steps see the
pictures as they are (distribution augmentation, Jun et al., ICML 2020, keeps them and tells the model which).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from limner.data.batches import Batch
from limner.training.config import TrainingConfig

__all__ = ["augmented", "shifted"]


def augmented(batch: Batch, config: TrainingConfig, factor: float, step: int) -> Batch:
    """The batch of ``step`` as ``config.shift`` wants it: a function of its arguments, which a resumed run repeats.

    A picture is moved with the chance (3 factor - 1) / 2.

    Args:
        batch: On the CPU.
        config: The numbers.
        factor: What the learning rate is multiplied by at ``step``.
        step: From 0.
    """
    chance = (3 * factor - 1) / 2
    if config.shift == 0 or chance <= 0:
        return batch
    digest = hashlib.blake2b(f"{config.seed}/shift/{step}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    far, n = config.shift, len(batch.images)
    moves = torch.randint(-far, far + 1, (n, 2), generator=generator)
    moves[torch.rand(n, generator=generator) >= chance] = 0
    return replace(batch, images=shifted(batch.images, moves))


def shifted(images: Tensor, moves: Tensor) -> Tensor:
    """Each of ``(B, C, H, W)`` moved down and right by its ``moves`` int64 ``(B, 2)``; its edges are repeated."""
    n, c, h, w = images.shape
    rows = (torch.arange(h) - moves[:, :1]).clamp(0, h - 1)
    columns = (torch.arange(w) - moves[:, 1:]).clamp(0, w - 1)
    places = (rows.unsqueeze(2) * w + columns.unsqueeze(1)).view(n, 1, h * w).expand(-1, c, -1)
    return images.flatten(2).gather(2, places).view_as(images)
