r"""PixelCNN++ (Salimans, Karpathy, Chen, Kingma 2017, arXiv 1701.05517).

A pixel is a mixture of discretized logistics whose channels share the component and whose means are linear in the
earlier channels (``LogisticMixture``), so that no layer has to separate R from G from B. The network has two streams:
*down* sees the rows above a pixel, *right* also what lies left of it in its own row, and each layer of right looks at
down. Blocks are gated,

.. math:: x + a \odot σ(b), \quad (a, b) = W_2 * ε(W_1 * ε(x) + N ε(\text{shortcut})) + V^T h,
          \quad ε(x) = \mathrm{elu}([x, -x])

They work at full size, at half, at a quarter, and back, each block on the way back with a shortcut from its mirror.
Nothing is masked: the convolutions are shifted so that their kernels end at the pixel that they may see last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.distributions import LogisticMixture
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.contracts import ConditionalConfig
from limner.models.families import Family
from limner.models.recipes import DEMO, MUON, Recipe
from limner.ranges import Decay, NotNegative, Positive

__all__ = ["GatedResidualBlock", "PixelCNNPP", "PixelCNNPPConfig", "ShiftedConv2d", "TwoStreamBlock", "concat_elu"]


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


def concat_elu(x: Tensor) -> Tensor:
    """elu of x and of -x, ``(B, p, ...)`` → ``(B, 2p, ...)``."""
    return F.elu(torch.cat([x, -x], 1))


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

    def forward(self, x: Tensor, shortcut: Tensor | None, labels: Tensor | None) -> Tensor:
        """``x`` ``(B, p, H, W)`` and ``shortcut`` ``(B, ·, H, W)`` → ``(B, p, H, W)``."""
        y = self.first(concat_elu(x))
        if self.link is not None and shortcut is not None:
            y = y + self.link(concat_elu(shortcut))
        y = self.label(self.second(self.dropout(concat_elu(y))), labels)
        a, b = y.chunk(2, 1)
        return x + a * torch.sigmoid(b)


class TwoStreamBlock(nn.Module):
    """A block of each stream; on the way up with shortcuts from the mirror block."""

    def __init__(self, config: PixelCNNPPConfig, *, shortcut: bool) -> None:
        super().__init__()
        p = config.features
        self.down = GatedResidualBlock(config, (2, 3), shortcut=p if shortcut else 0)
        self.right = GatedResidualBlock(config, (2, 2), shortcut=2 * p if shortcut else p)

    def forward(
        self, d: Tensor, r: Tensor, labels: Tensor | None, mirror: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps of both streams, each ``(B, p, H, W)``."""
        d = self.down(d, None if mirror is None else mirror[0], labels)
        r = self.right(r, d if mirror is None else torch.cat([d, mirror[1]], 1), labels)
        return d, r


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
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1).to(memory_format=torch.channels_last)
        d = self.first_down(x)
        r = self.first_above(x) + self.first_left(x)
        mirrors: list[tuple[Tensor, Tensor]] = []
        for i, block in enumerate(self.descent):
            scale, within = divmod(i, self.config.blocks)
            if scale and within == 0:  # the first block of a smaller size
                d, r = self.halve_down[scale - 1](d), self.halve_right[scale - 1](r)
            d, r = block(d, r, labels)
            mirrors.append((d, r))
        for i, block in enumerate(self.ascent):
            scale, within = divmod(i, self.config.blocks)
            if scale and within == 0:  # the first block of a larger size
                h, w = mirrors[-1][0].shape[2:]  # where a side was odd, what was doubled is one too many
                d, r = self.double_down[scale - 1](d)[:, :, :h, :w], self.double_right[scale - 1](r)[:, :, :h, :w]
            d, r = block(d, r, labels, mirrors.pop())
        return concat_elu(r)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → the mixture's parameters ``(B, P, H, W)``."""
        return self.out(self.maps(x, labels))

    def distribution(self, parameters: Tensor, k: Tensor) -> LogisticMixture:
        """The mixtures of ``parameters`` ``(B, P, H, W)``, given the earlier channels of each pixel in ``k``."""
        return LogisticMixture.given(parameters, k, self.levels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For images of any size; small batches."""
    return Recipe(PixelCNNPPConfig(), replace(MUON, batch_size=16))


FAMILIES = (
    Family(
        name="pixelcnn++",
        model=PixelCNNPP,
        config=PixelCNNPPConfig,
        paper="Salimans et al. 2017, arXiv 1701.05517",
        summary="Exact likelihoods of colour images by mixtures of logistics, at full, half and quarter size.",
        recipes={"default": _default},
        demo=lambda shape: Recipe(
            PixelCNNPPConfig(features=24, halvings=1, components=5), replace(DEMO, learning_rate=2e-3)
        ),
        tiny=("features=4", "blocks=1", "halvings=1", "components=2"),
    ),
)
