r"""PixelCNN++ (Salimans, Karpathy, Chen, Kingma 2017, arXiv 1701.05517).

A pixel is a mixture of discretized logistics whose channels share the component and whose means are linear in the
earlier channels (``LogisticMixture``), so that no layer has to separate R from G from B. The network has two streams:
*down* sees the rows above a pixel, *right* also what lies left of it in its own row, and each layer of right looks at
down. Blocks are gated,

.. math:: x + a \odot σ(b), \quad (a, b) = W_2 * ε(W_1 * ε(x) + N ε(\text{shortcut})) + V^T h,
          \quad ε(x) = \mathrm{elu}([x, -x])

They work at full size, at half, at a quarter, and back, each block on the way back with a shortcut from its mirror.
With ``rms_norm``, limner's own, ε reads maps whose root mean square is 1 at each pixel (arXiv 1910.07467). What a block
adds is then bounded, however large its input has grown: without it long training ends in a leap of the loss, and single
samples run off into noise.

Nothing is masked: the convolutions are shifted so that their kernels end at the pixel that they may see last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.distributions import LogisticMixture
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.contracts import ConditionalConfig
from limner.models.families import Family
from limner.models.recipes import DEMO, MUON, Recipe, is_large
from limner.nn.norms import layer_normalised
from limner.ranges import Decay, NotNegative, Positive

__all__ = [
    "GatedResidualBlock",
    "Maps",
    "PixelCNNPP",
    "PixelCNNPPConfig",
    "ShiftedConv2d",
    "TwoStreamBlock",
    "concat_elu",
    "maps_of",
]


@dataclass(frozen=True)
class PixelCNNPPConfig(ConditionalConfig):
    """PixelCNN++."""

    features: Positive = 48
    """Feature maps p of each stream; 160 in the paper."""
    blocks: Positive = 2
    """Blocks of each stream at each size on the way down, and as many on the way up; 5 in the paper."""
    halvings: NotNegative = 2
    """How many times the sides are halved."""
    components: Positive = 10
    """Logistics of a pixel's mixture."""
    dropout: Decay = 0.0
    """Probability that a feature is dropped in training, in the middle of a block; 0.5 in the paper."""
    rms_norm: bool = False
    """Whether what blocks read is divided by its root mean square over the maps; runs of older versions do not."""


def concat_elu(x: Tensor) -> Tensor:
    """elu of x and of -x, ``(B, p, ...)`` → ``(B, 2p, ...)``."""
    return F.elu(torch.cat([x, -x], 1))


class Maps(NamedTuple):
    """The feature maps of a stream, and what blocks read of them."""

    plain: Tensor
    """``(B, p, H, W)``."""
    active: Tensor
    """ε of these, or of these normalised, ``(B, 2p, H, W)``."""


def maps_of(x: Tensor, config: PixelCNNPPConfig) -> Maps:
    """The maps ``x`` ``(B, p, H, W)`` and what blocks read of them."""
    if not config.rms_norm:
        return Maps(x, concat_elu(x))
    # The mean of (x, -x) is 0, so that this divides by the root mean square; torch has no quick kernel for that alone.
    return Maps(x, F.elu(layer_normalised(torch.cat([x, -x], 1))))


class ShiftedConv2d(nn.Conv2d):
    """A convolution whose output at (i, j) sees rows from i - ``up`` and columns from j - 1 on, as many as its kernel.

    With stride 2 there are outputs at even i and j only.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], *, up: int = 1, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride)
        self.up = up
        self.border = (1, kernel[1] - 2, up, kernel[0] - up - 1)  # left, right, top, bottom; less than 0 cuts

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` → ``(B, out, ⌈H / stride⌉, ⌈W / stride⌉)``."""
        return super().forward(F.pad(x, self.border))


class GatedResidualBlock(nn.Module):
    """One block of one stream: the equation above.

    The kernel is (2, 3) in the down stream and (2, 2) in the right one; ``shortcut`` feature maps, or 0, come from
    elsewhere: the other stream, the mirror block.
    """

    def __init__(self, config: PixelCNNPPConfig, kernel: tuple[int, int], shortcut: int) -> None:
        super().__init__()
        p = config.features
        self.first = ShiftedConv2d(2 * p, p, kernel)
        self.link = nn.Conv2d(2 * shortcut, p, 1) if shortcut else None
        self.dropout = nn.Dropout(config.dropout)
        self.second = ShiftedConv2d(2 * p, 2 * p, kernel)
        self.label = ClassBias(config.classes, 2 * p)
        nn.init.zeros_(self.second.weight)  # the block starts as the identity

    def forward(self, x: Maps, shortcut: Tensor | None, labels: Tensor | None) -> Tensor:
        """``x`` and the active maps of its ``shortcut`` ``(B, 2 · shortcut, H, W)`` → ``(B, p, H, W)``."""
        y = self.first(x.active)
        if self.link is not None and shortcut is not None:
            y = y + self.link(shortcut)
        y = self.label(self.second(self.dropout(concat_elu(y))), labels)
        a, b = y.chunk(2, 1)
        return x.plain + a * torch.sigmoid(b)


class TwoStreamBlock(nn.Module):
    """A block of each stream; on the way up with shortcuts from the mirror block."""

    def __init__(self, config: PixelCNNPPConfig, *, shortcut: bool) -> None:
        super().__init__()
        self.config, p = config, config.features
        self.down = GatedResidualBlock(config, (2, 3), shortcut=p if shortcut else 0)
        self.right = GatedResidualBlock(config, (2, 2), shortcut=2 * p if shortcut else p)

    def forward(
        self, d: Maps, r: Maps, labels: Tensor | None, mirror: tuple[Maps, Maps] | None = None
    ) -> tuple[Maps, Maps]:
        """Both streams → both streams."""
        d = maps_of(self.down(d, None if mirror is None else mirror[0].active, labels), self.config)
        aside = d.active
        if mirror is not None:  # ε of both side by side: of x of both, then of -x of both
            (x, y), (minus_x, minus_y) = zip(d.active.chunk(2, 1), mirror[1].active.chunk(2, 1), strict=True)
            aside = torch.cat([x, y, minus_x, minus_y], 1)
        return d, maps_of(self.right(r, aside, labels), self.config)


class PixelCNNPP(Autoregressive):
    """See the module's text."""

    config: PixelCNNPPConfig

    def __init__(self, config: PixelCNNPPConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        c, p, sizes = shape[0], config.features, config.halvings + 1
        # The ones say where the image is: around it there are zeros.
        self.first_down = ShiftedConv2d(c + 1, p, (2, 3), up=2)  # the two rows above
        self.first_above = ShiftedConv2d(c + 1, p, (1, 3))  # the row above
        self.first_left = ShiftedConv2d(c + 1, p, (2, 1))  # the pixel to the left, and the one above that
        self.descent = nn.ModuleList(TwoStreamBlock(config, shortcut=False) for _ in range(sizes * config.blocks))
        self.halve_down = nn.ModuleList(ShiftedConv2d(p, p, (2, 3), stride=2) for _ in range(config.halvings))
        self.halve_right = nn.ModuleList(ShiftedConv2d(p, p, (2, 2), stride=2) for _ in range(config.halvings))
        self.ascent = nn.ModuleList(TwoStreamBlock(config, shortcut=True) for _ in range(sizes * config.blocks))
        # A pixel becomes 2×2, a linear map of its own for each of the four.
        self.double_down = nn.ModuleList(nn.ConvTranspose2d(p, p, 2, 2) for _ in range(config.halvings))
        self.double_right = nn.ModuleList(nn.ConvTranspose2d(p, p, 2, 2) for _ in range(config.halvings))
        self.out = nn.Conv2d(2 * p, LogisticMixture.count(c, config.components), 1)
        nn.init.zeros_(self.out.weight)  # the mixture starts as its components side by side

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: all kernels but the first and the last."""
        kernels = [n for n, p in self.named_parameters() if p.dim() == 4 and not n.startswith(("first_", "out"))]
        return dict.fromkeys(kernels, 1)

    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, 2 · features, H, W)``, of the right stream."""
        x, config = torch.cat([x, torch.ones_like(x[:, :1])], 1).to(memory_format=torch.channels_last), self.config
        d = maps_of(self.first_down(x), config)
        r = maps_of(self.first_above(x) + self.first_left(x), config)
        mirrors: list[tuple[Maps, Maps]] = []
        for i, block in enumerate(self.descent):
            scale, within = divmod(i, config.blocks)
            if scale and within == 0:  # the first block of a smaller size
                d = maps_of(self.halve_down[scale - 1](d.plain), config)
                r = maps_of(self.halve_right[scale - 1](r.plain), config)
            d, r = block(d, r, labels)
            mirrors.append((d, r))
        for i, block in enumerate(self.ascent):
            scale, within = divmod(i, config.blocks)
            if scale and within == 0:  # the first block of a larger size
                h, w = mirrors[-1][0].plain.shape[2:]  # where a side was odd, what was doubled is one too many
                d = maps_of(self.double_down[scale - 1](d.plain)[:, :, :h, :w], config)
                r = maps_of(self.double_right[scale - 1](r.plain)[:, :, :h, :w], config)
            d, r = block(d, r, labels, mirrors.pop())
        return r.active

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → the mixture's parameters ``(B, P, H, W)``."""
        return self.out(self.maps(x, labels))

    def distribution(self, parameters: Tensor, k: Tensor) -> LogisticMixture:
        """The mixtures of ``parameters`` ``(B, P, H, W)``, given the earlier channels of each pixel in ``k``."""
        return LogisticMixture.given(parameters, k, self.levels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For images of any size; small batches, and of large images fewer maps and one size more."""
    if is_large(shape):
        return Recipe(PixelCNNPPConfig(features=24, halvings=3, rms_norm=True), replace(MUON, batch_size=8))
    return Recipe(PixelCNNPPConfig(rms_norm=True), replace(MUON, batch_size=16))


FAMILIES = (
    Family(
        name="pixelcnn++",
        model=PixelCNNPP,
        config=PixelCNNPPConfig,
        paper="Salimans et al. 2017, arXiv 1701.05517",
        summary="Exact likelihoods of colour images by mixtures of logistics, at full, half and quarter size.",
        recipes={"default": _default},
        demo=lambda shape: Recipe(
            PixelCNNPPConfig(features=24, halvings=1, components=5, rms_norm=True), replace(DEMO, learning_rate=2e-3)
        ),
        tiny=("features=4", "blocks=1", "halvings=1", "components=2"),
    ),
)
