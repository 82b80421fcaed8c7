r"""PixelCNN (van den Oord, Kalchbrenner, Kavukcuoglu 2016, arXiv 1601.06759, section 3.3 and table 1).

.. math:: p(x) = \prod_{i=1}^{n^2} p(x_{i,R} \mid x_{<i})\, p(x_{i,G} \mid x_{<i}, x_{i,R})\,
          p(x_{i,B} \mid x_{<i}, x_{i,R}, x_{i,G})

A 7×7 convolution with mask A, residual blocks with mask B, and two 1×1 layers with mask B before the softmax
(the sigmoid for binary images). Its blind spot, a wedge to the upper right, is the paper's: the gated model's
two stacks were made to close it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.distributions import Head
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.contracts import ConditionalConfig
from limner.models.families import Family
from limner.models.recipes import DEMO, PIXELCNN, Recipe
from limner.nn import MaskedConv2d
from limner.ranges import NotNegative, Positive, odd

__all__ = ["PixelCNN", "PixelCNNConfig", "ResidualBlock"]


@dataclass(frozen=True)
class PixelCNNConfig(ConditionalConfig):
    """The masked PixelCNN."""

    features: Positive = 64
    """Feature maps between blocks, 2h in the paper; a block works on half of them."""
    blocks: NotNegative = 12
    """Residual blocks (mask B)."""
    first_kernel: Positive = 7
    """Side of the first convolution (mask A); odd."""
    kernel: Positive = 3
    """Side of the blocks' convolutions (mask B); odd."""
    head_features: Positive = 64
    """Feature maps of the last two 1×1 layers."""
    head: Head = "auto"
    """The distribution of a pixel: softmax, sigmoid, gaussian, or auto (sigmoid if binary, else softmax)."""

    def __post_init__(self) -> None:
        odd(first_kernel=self.first_kernel, kernel=self.kernel)
        if self.classes and not self.blocks:
            raise LimnerError("blocks=0: must be 1 or more in a conditional model, or nothing would see the class")


class ResidualBlock(nn.Module):
    """2h → h (1×1), h → h (k×k), h → 2h (1×1), added to the input: the paper's figure 5 left."""

    def __init__(self, features: int, kernel: int, channels: int, classes: int = 0) -> None:
        super().__init__()
        half = max(features // 2, channels)
        self.reduce = MaskedConv2d(features, half, 1, "B", channels)
        self.convolve = MaskedConv2d(half, half, kernel, "B", channels)
        self.expand = MaskedConv2d(half, features, 1, "B", channels)
        nn.init.zeros_(self.expand.weight)  # each block starts as the identity
        self.label = ClassBias(classes, half)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, 2h, H, W)`` → the same shape; ``labels`` int64 ``(B,)`` where there are classes."""
        y = self.reduce(F.relu(x))
        y = self.label(self.convolve(F.relu(y)), labels)
        return x + self.expand(F.relu(y))


class PixelCNN(Autoregressive):
    """See the module's text."""

    config: PixelCNNConfig
    streams = True

    def __init__(self, config: PixelCNNConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels, config.head)
        channels = shape[0]
        self.first = MaskedConv2d(channels, config.features, config.first_kernel, "A", channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(config.features, config.kernel, channels, config.classes) for _ in range(config.blocks)
        )
        self.head_1 = MaskedConv2d(config.features, config.head_features, 1, "B", channels)
        self.head_2 = MaskedConv2d(config.head_features, channels * self.parameters_per_channel, 1, "B", channels)
        nn.init.zeros_(self.head_2.weight)  # uniform over the levels until something is learned

    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, features, H, W)``."""
        x = x.to(memory_format=torch.channels_last)
        x = self.first(x)
        for block in self.blocks:
            x = block(x, labels)
        return F.relu(x)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, C·P, H, W)``."""
        return self.head_2(F.relu(self.head_1(self.maps(x, labels))))


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For images of any size."""
    return Recipe(PixelCNNConfig(), PIXELCNN)


def _small(shape: tuple[int, int, int]) -> Recipe:
    """Half as wide and deep: draws thousands of images a second."""
    return Recipe(PixelCNNConfig(features=32, blocks=6, head_features=32), PIXELCNN)


FAMILIES = (
    Family(
        name="pixelcnn",
        model=PixelCNN,
        config=PixelCNNConfig,
        paper="van den Oord et al. 2016, arXiv 1601.06759",
        summary="Exact likelihoods, samples and completions by masked convolutions; the simplest PixelCNN.",
        recipes={"default": _default, "small": _small},
        demo=lambda shape: Recipe(PixelCNNConfig(blocks=5, first_kernel=5), replace(DEMO, learning_rate=3e-3)),
        tiny=("features=8", "blocks=1", "head_features=8", "first_kernel=3"),
        in_demo=True,
    ),
)
