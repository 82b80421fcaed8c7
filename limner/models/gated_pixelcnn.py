r"""Gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328, section 2 and figure 2).

Two stacks close the blind spot of the masked PixelCNN: the vertical stack sees all rows above a pixel, the horizontal
stack what lies left of it in its own row, and the vertical feeds the horizontal in every layer. Each is gated,

.. math:: y = \tanh(W_f * x + V_f^T h) \odot σ(W_g * x + V_g^T h)

where h says the class (equation 4; the terms are absent in an unconditional model).
No mask is needed in the vertical stack: a row of its maps holds nothing but the rows of pixels above.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.families import Family
from limner.models.pixelcnn import PixelCNNConfig
from limner.models.recipes import DEMO, MUON, Recipe
from limner.nn import MaskedConv2d, RowsAbove
from limner.nn.streaming import row_wise
from limner.ranges import NotNegative, Positive

__all__ = ["GatedBlock", "GatedPixelCNN", "GatedPixelCNNConfig", "gate"]


@dataclass(frozen=True)
class GatedPixelCNNConfig(PixelCNNConfig):
    """The gated PixelCNN: the masked one's sizes, where not said otherwise."""

    features: Positive = 32
    """Feature maps p of each stack; a gate takes 2p."""
    blocks: NotNegative = 8
    """Gated blocks after the first layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_kernel < 3:
            raise LimnerError("first_kernel=1: must be 3 or more, or the first layer would see no row above")


def gate(x: Tensor, groups: int = 1) -> Tensor:
    """tanh ⊙ σ of the halves of each channel group's maps, ``(B, 2p, ...)`` → ``(B, p, ...)``."""
    f, g = x.unflatten(1, (groups, 2, -1)).unbind(2)
    return (torch.tanh(f) * torch.sigmoid(g)).flatten(1, 2)


class GatedBlock(nn.Module):
    """One layer of both stacks, with its link from vertical to horizontal."""

    def __init__(self, features: int, kernel: int, channels: int, classes: int = 0) -> None:
        super().__init__()
        self.channels = channels
        self.vertical = RowsAbove(features, 2 * features, kernel, strict=False)
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.horizontal = MaskedConv2d(features, 2 * features, (1, kernel), "B", channels)
        self.out = MaskedConv2d(features, features, 1, "B", channels)
        nn.init.zeros_(self.out.weight)  # the horizontal stack starts as the identity
        self.vertical_label, self.horizontal_label = ClassBias(classes, 2 * features), ClassBias(classes, 2 * features)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps of both stacks, each ``(B, p, H, W)``; ``labels`` int64 ``(B,)`` where there are classes."""
        v, link = self.vertical_stack(v, labels)
        left = gate(self.horizontal_label(self.horizontal(h) + link, labels), self.channels)
        return v, h + self.out(left)

    @row_wise
    def vertical_stack(self, v: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Its next maps ``(B, p, H, W)``, and what they give the horizontal stack, ``(B, 2p, H, W)``."""
        above = self.vertical(v)
        return v + gate(self.vertical_label(above, labels)), self.link(above)


class GatedPixelCNN(Autoregressive):
    """See the module's text."""

    config: GatedPixelCNNConfig
    streams = True

    def __init__(self, config: GatedPixelCNNConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels, config.head)
        channels = shape[0]
        # Channel groups of equal size, so that a gate's halves belong to one group.
        features = -(-config.features // channels) * channels
        self.first_vertical = RowsAbove(channels, features, config.first_kernel, strict=True)
        self.first_link = nn.Conv2d(features, features, 1)
        self.first_horizontal = MaskedConv2d(channels, features, (1, config.first_kernel), "A", channels)
        self.blocks = nn.ModuleList(
            GatedBlock(features, config.kernel, channels, config.classes) for _ in range(config.blocks)
        )
        if config.blocks:  # nothing reads what the last block makes of its vertical stack
            self.blocks[-1].vertical_label = ClassBias(0, 2 * features)
        self.head_1 = MaskedConv2d(features, config.head_features, 1, "B", channels)
        self.head_2 = MaskedConv2d(config.head_features, channels * self.parameters_per_channel, 1, "B", channels)
        nn.init.zeros_(self.head_2.weight)

    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, features, H, W)``, of the horizontal stack."""
        x = x.to(memory_format=torch.channels_last)
        v = self.first_vertical(x)
        h = self.first_horizontal(x) + self.first_link(v)
        for block in self.blocks:
            v, h = block(v, h, labels)
        return F.relu(h)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, C·P, H, W)``."""
        return self.head_2(F.relu(self.head_1(self.maps(x, labels))))


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For images of any size."""
    return Recipe(GatedPixelCNNConfig(), MUON)


FAMILIES = (
    Family(
        name="gated-pixelcnn",
        model=GatedPixelCNN,
        config=GatedPixelCNNConfig,
        paper="van den Oord et al. 2016, arXiv 1606.05328",
        summary="Exact likelihoods by two stacks of gated convolutions, without the blind spot.",
        recipes={"default": _default},
        demo=lambda shape: Recipe(GatedPixelCNNConfig(blocks=4, first_kernel=5), replace(DEMO, learning_rate=3e-3)),
        tiny=("features=4", "blocks=1", "head_features=8", "first_kernel=3"),
    ),
)
