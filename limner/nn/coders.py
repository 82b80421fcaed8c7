"""Encoders and decoders for pictures of any size: dense and convolutional."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvDecoder", "ConvEncoder", "DenseDecoder", "DenseEncoder", "halvings"]

Shape = tuple[int, int, int]


class DenseEncoder(nn.Sequential):
    """``(B, C, H, W)`` → ``(B, outputs)`` through two hidden layers."""

    def __init__(self, shape: Shape, hidden: int, outputs: int) -> None:
        c, h, w = shape
        super().__init__(nn.Flatten(), *_dense(c * h * w, hidden, outputs))


class DenseDecoder(nn.Sequential):
    """``(B, latent)`` → ``(B, *out)`` through two hidden layers."""

    def __init__(self, latent: int, hidden: int, out: Shape) -> None:
        c, h, w = out
        super().__init__(*_dense(latent, hidden, c * h * w), nn.Unflatten(1, out))


def _dense(inputs: int, hidden: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, outputs),
    ]


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of the maps from full size down, each half the one before (rounded up), the last about 4 to 7."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 8:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions added to the input; no normalisation, so that an image's code is its own."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, F, H, W)`` → the same shape."""
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class ConvEncoder(nn.Module):
    """``(B, C, H, W)`` → ``(B, outputs)``: stride-2 convolutions and residual units, then one dense layer."""

    def __init__(self, shape: Shape, features: int, outputs: int) -> None:
        super().__init__()
        c, h, w = shape
        sizes = halvings(h, w)
        maps = [min(features * 2**i, 8 * features) for i in range(len(sizes))]
        layers: list[nn.Module] = [nn.Conv2d(c, maps[0], 3, padding=1), nn.GELU()]
        for before, after in pairwise(maps):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), ResidualUnit(after)]
        self.layers = nn.Sequential(*layers, nn.GELU(), nn.Flatten())
        self.out = nn.Linear(maps[-1] * sizes[-1][0] * sizes[-1][1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.out(self.layers(x.to(memory_format=torch.channels_last)))


class ConvDecoder(nn.Module):
    """``(B, latent)`` → ``(B, *out)``: one dense layer, then residual units and doublings to the exact size."""

    def __init__(self, latent: int, features: int, out: Shape) -> None:
        super().__init__()
        c, h, w = out
        self.sizes = halvings(h, w)[::-1]
        maps = [min(features * 2**i, 8 * features) for i in range(len(self.sizes))][::-1]
        self.start = nn.Linear(latent, maps[0] * self.sizes[0][0] * self.sizes[0][1])
        self.units = nn.ModuleList(ResidualUnit(m) for m in maps[:-1])
        self.ups = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(maps))
        self.out = nn.Conv2d(maps[-1], c, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        x = self.start(z).unflatten(1, (-1, *self.sizes[0])).to(memory_format=torch.channels_last)
        for unit, up, size in zip(self.units, self.ups, self.sizes[1:], strict=True):
            x = F.interpolate(up(unit(x)), size=size)  # nearest; the size is exact for odd sides too
        return self.out(F.gelu(x))
