r"""Autoregression over patches: a causal residual network whose symbols are whole patches of pixels.

.. math:: p(x) = \prod_i p(s_i \mid s_1, \ldots, s_{i-1})

The image is cut into p×p patches in raster order, each one symbol s of :math:`L^{C p^2}`; the softmax over them is
joint, so nothing within a patch is taken to be independent, and the likelihood is exact. A binary image in 2×2
patches has a quarter of the positions of a pixel-wise model, and 16 symbols. With patch=1 it is a pixel-wise model.

A pixel's own conditional follows from the joint one: within a patch in raster order, R before G before B,

.. math:: p(x_t \mid x_{<t}, s_{<i}) = \sum_{x_{>t}} p(s_i \mid s_{<i}) \Big/ \sum_{x_{\ge t}} p(s_i \mid s_{<i})

so that it is sampled, completed and coded a value at a time as every model of this family is. The network is limner's
own: masked convolutions (arXiv 1601.06759) in pre-normalised residual blocks with squared ReLU (arXiv 2109.08668).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.devices import wide
from limner.distributions import Categorical, at_least_float32
from limner.errors import LimnerError, option
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.contracts import ConditionalConfig
from limner.models.families import Family
from limner.models.recipes import DEMO, MUON, Recipe
from limner.nn import MaskedConv2d, normalised
from limner.nn.streaming import map_here
from limner.ranges import Fraction, NotNegative, Positive, odd

__all__ = ["PatchBlock", "PatchPixelCNN", "PatchPixelCNNConfig"]

MOST_SYMBOLS = 4096


@dataclass(frozen=True)
class PatchPixelCNNConfig(ConditionalConfig):
    """The PixelCNN over patches."""

    patch: NotNegative = 0
    """Side of a patch; 1 is a pixel-wise model; 0 is 2 where that gives 256 symbols or fewer, else 1."""
    features: Positive = 64
    """Feature maps between blocks."""
    blocks: NotNegative = 10
    """Residual blocks (mask B)."""
    expansion: Positive = 2
    """Feature maps inside a block, as a multiple of those between blocks."""
    embedding: Positive = 16
    """Numbers that stand for a symbol where the network begins."""
    first_kernel: Positive = 13
    """Side of the first convolution (mask A), in patches; odd."""
    kernel: Positive = 3
    """Side of the blocks' convolutions (mask B), in patches; odd."""
    dropout: Fraction = 0.0
    """Part of a block's inner maps that is dropped while training."""

    def __post_init__(self) -> None:
        odd(first_kernel=self.first_kernel, kernel=self.kernel)


class PatchBlock(nn.Module):
    """x + W relu²(masked convolution of the normalised x)."""

    def __init__(self, config: PatchPixelCNNConfig) -> None:
        super().__init__()
        width = config.expansion * config.features
        self.convolve = MaskedConv2d(config.features, width, config.kernel, "B")
        self.label = ClassBias(config.classes, width)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Conv2d(width, config.features, 1)
        nn.init.zeros_(self.out.weight)  # each block starts as the identity

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, F, H, W)`` → the same shape; ``labels`` int64 ``(B,)`` where there are classes."""
        y = self.label(self.convolve(normalised(x)), labels)
        return x + self.out(self.dropout(F.relu(y).square()))


class PatchPixelCNN(Autoregressive):
    """See the module's text.

    Raises:
        LimnerError: The patches do not tile the image, or have too many values for one softmax.
    """

    config: PatchPixelCNNConfig
    streams = True

    def __init__(self, config: PatchPixelCNNConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        c, h, w = shape
        f, pairs = config.features, levels ** (4 * c) <= 256 and h % 2 == w % 2 == 0
        self.patch = config.patch or (2 if pairs else 1)
        if h % self.patch or w % self.patch:
            raise LimnerError(f"patch={self.patch}: patches of this side do not tile images of {h}×{w} pixels")
        self.values = c * self.patch**2
        if levels**self.values > MOST_SYMBOLS:
            smaller = " or a smaller patch" if self.patch > 1 else ""
            raise LimnerError(
                f"patch={self.patch}: a patch of {self.values} values of {levels} levels is one of "
                f"{levels}^{self.values} symbols, more than one softmax can hold ({MOST_SYMBOLS}): "
                f"take fewer {option('levels')}{smaller}, and for colour pixelcnn++"
            )
        self.symbols = levels**self.values
        self.embed = nn.Embedding(self.symbols, config.embedding)
        self.first = MaskedConv2d(config.embedding, f, config.first_kernel, "A")
        self.position = nn.Parameter(torch.zeros(1, f, h // self.patch, w // self.patch))
        self.blocks = nn.ModuleList(PatchBlock(config) for _ in range(config.blocks))
        self.label = ClassBias(config.classes, f)
        self.head_1 = nn.Conv2d(f, 2 * f, 1)
        self.head_2 = nn.Conv2d(2 * f, self.symbols, 1)
        nn.init.zeros_(self.head_2.weight)  # uniform over the symbols until something is learned
        nn.init.zeros_(self.head_2.bias)  # type: ignore[arg-type]
        self.register_buffer("place_values", levels ** torch.arange(self.values - 1, -1, -1), persistent=False)

    place_values: Tensor

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: the kernels of the blocks and of the first layer of the head."""
        kernels = [n for n, p in self.named_parameters() if p.dim() == 4 and n.startswith(("blocks", "head_1"))]
        return dict.fromkeys(kernels, 1)

    def patches(self, k: Tensor) -> Tensor:
        """Levels ``(B, C, H, W)`` as the values of each patch in their order, int64 ``(B, values, H/p, W/p)``."""
        b, c, h, w = k.shape
        p = self.patch
        cut = k.view(b, c, h // p, p, w // p, p).permute(0, 3, 5, 1, 2, 4)  # (B, p, p, C, H/p, W/p)
        return cut.reshape(b, self.values, h // p, w // p)

    def pixels(self, values: Tensor) -> Tensor:
        """The inverse of ``patches`` for ``(B, values, ..., H/p, W/p)``: ``(B, C, ..., H, W)``."""
        b, _, *inner, rows, columns = values.shape
        p = self.patch
        v = values.view(b, p, p, -1, *inner, rows, columns)
        v = v.movedim(1, -2).movedim(1, -1)  # (B, C, ..., H/p, p, W/p, p)
        return v.reshape(b, -1, *inner, rows * p, columns * p)

    def symbols_of(self, k: Tensor) -> Tensor:
        """The symbol of each patch of levels ``(B, C, H, W)``, int64 ``(B, H/p, W/p)``."""
        return (self.patches(k) * self.place_values.view(-1, 1, 1)).sum(1)

    def symbol_maps(self, symbols: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden maps ``(B, F, H/p, W/p)`` of symbols int64 ``(B, H/p, W/p)``."""
        x = self.embed(symbols).permute(0, 3, 1, 2)  # channels_last as it is
        x = self.label(self.first(x) + map_here(self.position, x.shape[2]), labels)
        for block in self.blocks:
            x = block(x, labels)
        return normalised(x)

    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, F, H/p, W/p)``."""
        k = ((x + 1) * (0.5 * (self.levels - 1))).round().long()
        return self.symbol_maps(self.symbols_of(k), labels)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, S, H/p, W/p)``."""
        return self._head(self.maps(x, labels))

    def _head(self, maps: Tensor) -> Tensor:
        return self.head_2(F.relu(self.head_1(maps)).square())

    def distribution(self, parameters: Tensor, k: Tensor) -> Categorical:
        """Every value's own softmax, given the values before it in its patch, from ``(B, S, H/p, W/p)``."""
        values = self.patches(k)
        b, _, rows, columns = values.shape
        parameters = at_least_float32(parameters).reshape(b, self.symbols, rows, columns)
        logits = []
        for t in range(self.values):  # the equation above
            joint = parameters.unflatten(1, (self.levels, -1))  # (B, L, symbols of the values after t, ...)
            logits.append(joint.logsumexp(2))  # x_{>t} summed out
            parameters = joint.gather(1, values[:, t, None, None].expand_as(joint[:, :1])).squeeze(1)  # given x_t
        return Categorical(self.pixels(torch.stack(logits, 1)))

    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        symbols = self.symbols_of(k)
        logits = self._head(self.symbol_maps(symbols, labels)).permute(0, 2, 3, 1)  # symbols last, as in memory
        nats = F.cross_entropy(at_least_float32(logits).reshape(-1, self.symbols), symbols.flatten(), reduction="none")
        return -wide(nats.view(len(k), -1)).sum(1)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For about ten minutes of two cores on binary 28×28 images."""
    return Recipe(PatchPixelCNNConfig(), MUON)


def _strong(shape: tuple[int, int, int]) -> Recipe:
    """Deeper and regularised: for longer runs, in which the default begins to overfit."""
    return Recipe(PatchPixelCNNConfig(blocks=12, dropout=0.2), replace(MUON, ema_decay=0.9995, weight_decay=0.1))


FAMILIES = (
    Family(
        name="patch-pixelcnn",
        model=PatchPixelCNN,
        config=PatchPixelCNNConfig,
        paper="limner; masks of arXiv 1601.06759",
        summary="The best exact likelihood of binary images in ten minutes: 2×2 patches, one joint softmax each.",
        recipes={"default": _default, "strong": _strong},
        demo=lambda shape: Recipe(
            PatchPixelCNNConfig(features=32, blocks=4, first_kernel=5),
            replace(DEMO, optimizer="muon", learning_rate=3e-3, weight_decay=0.0),
        ),
        images="grey, few levels: the levels to the power of a patch's pixels must stay small",
        tiny=("features=8", "blocks=1", "first_kernel=3"),
    ),
)
