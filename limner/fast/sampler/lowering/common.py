"""What the lowerings share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.fast.sampler.program import Builder, Source, Tap
from limner.models.autoregressive import Autoregressive, ClassBias

__all__ = ["begin", "biases", "convolution", "embedding"]


def embedding(model: Autoregressive, *, ones: bool = False) -> Tensor:
    """What each level of each channel writes into the input, ``(C, L, 1)``, or with a one behind it ``(C, L, 2)``."""
    x = model.intensities(torch.arange(model.levels, device=model.device)).view(1, -1, 1).expand(model.shape[0], -1, 1)
    return torch.cat([x, torch.ones_like(x)], 2) if ones else x


def convolution(weight: Tensor, buffer: int, *, up: int, left: int) -> list[Tap]:
    """The taps of ``weight`` ``(out, in, kh, kw)`` whose first row lies ``up`` rows above, first column ``left``."""
    kh, kw = weight.shape[2:]
    return [Tap(buffer, weight[:, :, r, q].T, r - up, q - left) for r in range(kh) for q in range(kw)]


def begin(builder: Builder, values: Tensor) -> dict[str, Any]:
    """What sums begin with: a bias ``(N,)``, or one for each class ``(K, N)``."""
    return {"bias": values} if values.dim() == 1 else {"start": Source(builder.labels(values))}


def biases(bias: Tensor, label: ClassBias) -> Tensor:
    """The bias ``(N,)``, or with classes that of each, ``(K, N)``."""
    return bias if label.table is None else bias + label.table
