"""What a ladder of maps is built of: residual blocks, and the steps between maps and a single place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Gather", "Inner", "Size", "Spread", "Unit"]

Size = tuple[int, int]


class Inner(nn.Sequential):
    """3×3 filters (1×1 on a map of one place), then 1×1 filters that begin at zero: ``(B, in, H, W)`` → out maps."""

    def __init__(self, inputs: int, outputs: int, size: Size, dropout: float) -> None:
        kernel = 1 if size == (1, 1) else 3
        middle = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2)
        last = nn.Conv2d(inputs, outputs, 1)
        for zeros in last.parameters():
            nn.init.zeros_(zeros)
        super().__init__(nn.SiLU(), middle, nn.SiLU(), nn.Dropout2d(dropout), last)


class Unit(nn.Module):
    """A residual block, half as wide within."""

    def __init__(self, features: int, size: Size, dropout: float) -> None:
        super().__init__()
        width = (features + 1) // 2
        self.narrow = nn.Conv2d(features, width, 1)
        self.inner = Inner(width, features, size, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, F, H, W)`` → the same shape."""
        return x + self.inner(self.narrow(F.silu(x)))


class Gather(nn.Sequential):
    """All places of maps ``(B, in, H, W)``, narrowed to a quarter, in one, ``(B, out, 1, 1)``."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        width = (inputs + 3) // 4
        joined = nn.Linear(width * size[0] * size[1], outputs)
        super().__init__(nn.Conv2d(inputs, width, 1), nn.Flatten(), joined, nn.Unflatten(1, (outputs, 1, 1)))


class Spread(nn.Sequential):
    """From one place ``(B, in, 1, 1)`` to maps ``(B, out, H, W)``, the mirror of ``Gather``."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        width = (outputs + 3) // 4
        parted = nn.Linear(inputs, width * size[0] * size[1])
        super().__init__(nn.Flatten(), parted, nn.Unflatten(1, (width, *size)), nn.Conv2d(width, outputs, 1))
