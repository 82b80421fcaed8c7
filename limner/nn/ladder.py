"""What a ladder of maps is built of: residual blocks, and the steps between maps and a single place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.norms import layer_normalised

__all__ = ["Bottleneck", "Gather", "ResidualBlock", "Size", "Spread", "activated"]

Size = tuple[int, int]


def activated(x: Tensor, layer_norm: bool) -> Tensor:
    """SiLU of maps ``(B, F, H, W)``, or of these normalised."""
    return F.silu(layer_normalised(x) if layer_norm else x)


class Bottleneck(nn.Sequential):
    """The narrow part of a block, ``(B, in, H, W)`` → ``(B, out, H, W)``.

    3×3 filters (1×1 on a map of one place), then 1×1 filters that start at zero.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, dropout: float) -> None:
        kernel = 1 if size == (1, 1) else 3
        middle = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2)
        last = nn.Conv2d(inputs, outputs, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # each block starts as the identity
        super().__init__(nn.SiLU(), middle, nn.SiLU(), nn.Dropout2d(dropout), last)


class ResidualBlock(nn.Module):
    """F → F/2 (1×1), F/2 → F/2 (3×3), F/2 → F (1×1), added to the input (after arXiv 2011.10650)."""

    def __init__(self, features: int, size: Size, dropout: float, layer_norm: bool) -> None:
        super().__init__()
        width = (features + 1) // 2
        self.layer_norm = layer_norm
        self.narrow = nn.Conv2d(features, width, 1)
        self.inner = Bottleneck(width, features, size, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, F, H, W)`` → the same shape."""
        return x + self.inner(self.narrow(activated(x, self.layer_norm)))


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
