"""Encoders and decoders for images of any size: dense, residual, and those of DCGAN."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "ConvDecoder",
    "ConvEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "StridedDecoder",
    "StridedEncoder",
    "convolution_of_doubled",
    "halvings",
    "keeping_variance",
]

Shape = tuple[int, int, int]
FEW_MAPS = 8
"""Maps up to which ``convolution_of_doubled`` is the faster way (docs/notes/training.md)."""


class DenseEncoder(nn.Sequential):
    """``(B, C, H, W)`` → ``(B, outputs)`` through two hidden layers."""

    def __init__(self, shape: Shape, hidden: int, outputs: int, activation: type[nn.Module] = nn.GELU) -> None:
        c, h, w = shape
        super().__init__(nn.Flatten(), *_dense(c * h * w, hidden, outputs, activation))


class DenseDecoder(nn.Sequential):
    """``(B, latent)`` → ``(B, *out)`` through two hidden layers."""

    def __init__(self, latent: int, hidden: int, out: Shape, activation: type[nn.Module] = nn.GELU) -> None:
        c, h, w = out
        super().__init__(*_dense(latent, hidden, c * h * w, activation), nn.Unflatten(1, out))


def _dense(inputs: int, hidden: int, outputs: int, activation: type[nn.Module]) -> list[nn.Module]:
    first, second, last = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
    return [first, activation(), second, activation(), last]


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of the maps from full size down, each half the one before (rounded up), the last about 4 to 7."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 8:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


class ResidualBlock(nn.Module):
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
    """``(B, C, H, W)`` → ``(B, outputs)``: stride-2 convolutions and residual blocks, then one dense layer."""

    def __init__(self, shape: Shape, features: int, outputs: int) -> None:
        super().__init__()
        c, h, w = shape
        sizes = halvings(h, w)
        maps = [min(features * 2**i, 8 * features) for i in range(len(sizes))]
        layers: list[nn.Module] = [nn.Conv2d(c, maps[0], 3, padding=1), nn.GELU()]
        for before, after in pairwise(maps):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), ResidualBlock(after)]
        self.layers = nn.Sequential(*layers, nn.GELU(), nn.Flatten())
        self.out = nn.Linear(maps[-1] * sizes[-1][0] * sizes[-1][1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.out(self.layers(x.to(memory_format=torch.channels_last)))


class ConvDecoder(nn.Module):
    """``(B, latent)`` → ``(B, *out)``: one dense layer, then residual blocks and doublings to the exact size."""

    def __init__(self, latent: int, features: int, out: Shape) -> None:
        super().__init__()
        c, h, w = out
        self.sizes = halvings(h, w)[::-1]
        maps = [min(features * 2**i, 8 * features) for i in range(len(self.sizes))][::-1]
        self.start = nn.Linear(latent, maps[0] * self.sizes[0][0] * self.sizes[0][1])
        self.units = nn.ModuleList(ResidualBlock(m) for m in maps[:-1])
        self.ups = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(maps))
        self.out = nn.Conv2d(maps[-1], c, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        x = self.start(z).unflatten(1, (-1, *self.sizes[0])).to(memory_format=torch.channels_last)
        sizes = self.sizes[1:]
        for unit, up, size in zip(self.units, self.ups, sizes, strict=True):
            x = up(unit(x))
            if size is not sizes[-1]:
                x = F.interpolate(x, size=size)  # nearest; the size is exact for odd sides too
        x = F.gelu(x)  # before the last of them: a quarter of the numbers
        if not sizes:
            return self.out(x)
        if sizes[-1] == (2 * x.shape[2], 2 * x.shape[3]) and self.out.out_channels <= FEW_MAPS:
            return convolution_of_doubled(x, self.out)
        return self.out(F.interpolate(x, size=sizes[-1]))


def convolution_of_doubled(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """``layer``, 3×3, of ``x`` ``(B, F, H, W)`` in which each pixel is four: ``(B, C, 2H, 2W)``.

    Each of the four pixels of a place sees 2×2 places at most (1609.05158), so that they are four maps of a convolution
    of ``x``, which is a quarter as large.
    """
    c, f = layer.weight.shape[:2]
    rows = _of_doubled(layer.weight, 2)  # (2, C, F, 3, 3)
    weight = torch.stack([_of_doubled(part, 3) for part in rows])  # (2, 2, C, F, 3, 3)
    weight = weight.permute(2, 0, 1, 3, 4, 5).reshape(4 * c, f, 3, 3)  # as pixel_shuffle wants them
    bias = None if layer.bias is None else layer.bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(x, weight, bias, padding=1), 2)


def _of_doubled(weight: Tensor, dim: int) -> Tensor:
    """Three taps as the first and the second of two equal pixels have them, ``(2, *weight.shape)``."""
    before, here, after = weight.unbind(dim)
    nothing = torch.zeros_like(here)
    first, second = (before, here + after, nothing), (nothing, before + here, after)
    return torch.stack([torch.stack(taps, dim) for taps in (first, second)])


def keeping_variance(network: nn.Module) -> nn.Module:
    """``network`` with He's initial weights (arXiv 1502.01852), where nothing normalises.

    With PyTorch's, each layer's outputs vary a third as much as its inputs: samples are alike whatever z is, and the
    generator runs into tanh's flat end, all black, before it tells one z from another. What starts at zero, the last
    filters of each residual block, stays so.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.any():
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


def _strided(height: int, width: int, features: int) -> tuple[list[tuple[int, int]], list[int]]:
    """The sizes of ``halvings``, two at least, and the number of maps at each but the first."""
    sizes = halvings(height, width)
    if len(sizes) == 1:
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes, [min(features * 2**i, 8 * features) for i in range(1, len(sizes))]


class StridedEncoder(nn.Module):
    """``(B, C, H, W)`` → ``(B, outputs)``: the discriminator of DCGAN (arXiv 1511.06434), 5×5 filters of stride 2.

    ``norm``: BatchNorm after all of them but the first, as published; an image's code then depends on its batch.
    """

    def __init__(self, shape: Shape, features: int, outputs: int, norm: bool = False) -> None:
        super().__init__()
        c, h, w = shape
        sizes, maps = _strided(h, w, features)
        layers: list[nn.Module] = [nn.Conv2d(c, maps[0], 5, stride=2, padding=2), nn.LeakyReLU(0.2)]
        for before, after in pairwise(maps):
            layers.append(nn.Conv2d(before, after, 5, stride=2, padding=2, bias=not norm))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.out = nn.Linear(maps[-1] * sizes[-1][0] * sizes[-1][1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.out(self.layers(x.to(memory_format=torch.channels_last)))


class StridedDecoder(nn.Module):
    """``(B, latent)`` → ``(B, *out)``: the generator of DCGAN, 5×5 transposed convolutions of stride 2, BatchNorm."""

    def __init__(self, latent: int, features: int, out: Shape) -> None:
        super().__init__()
        c, h, w = out
        sizes, maps = _strided(h, w, features)
        self.first = sizes[-1]
        self.start = nn.Linear(latent, maps[-1] * self.first[0] * self.first[1], bias=False)  # BatchNorm has a bias
        layers: list[nn.Module] = []
        for before, after, size in zip(maps[::-1], [*maps[-2::-1], c], sizes[-2::-1], strict=True):
            more = (1 - size[0] % 2, 1 - size[1] % 2)  # n → 2n - 1 or 2n: the size is exact for odd sides too
            up = nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=more, bias=len(layers) == 3 * len(maps) - 3)
            layers += [nn.BatchNorm2d(before), nn.ReLU(), up]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return self.layers(self.start(z).unflatten(1, (-1, *self.first)).to(memory_format=torch.channels_last))
