r"""Multi-scale PixelRNN (van den Oord et al. 2016, arXiv 1601.06759, section 3.6).

.. math:: p(x) = p(s) \prod_{i \notin s} p(x_i \mid x_{<i}, s), \qquad s = x \text{ at every f-th row and column}

A PixelRNN draws the small image s. A convolutional network with a transposed convolution enlarges it to feature maps
of the size of x, and a second PixelRNN, biased in every layer by these maps, draws the pixels in between in raster
order, given the small image all over. Its pixels are known by then and count once: this is the exact ln p(x), in an
order of its own. With more scales the small image is drawn in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from limner.data.levels import dequantize
from limner.devices import beside, exact_device, wide
from limner.distributions import PixelDistribution
from limner.errors import LimnerError
from limner.models.autoregressive import Tractable
from limner.models.contracts import Numbers, describe_images
from limner.models.families import Family
from limner.models.pixelrnn import RECURRENT, DiagonalBiLSTM, PixelRNN, RowLSTM, RowLSTMConfig
from limner.models.recipes import DEMO, Recipe
from limner.ranges import Positive

__all__ = ["MultiScalePixelRNN", "MultiScalePixelRNNConfig", "Upsampling"]

TwoOrMore = Annotated[int, Meta(ge=2, le=64)]


@dataclass(frozen=True)
class MultiScalePixelRNNConfig(RowLSTMConfig):
    """The PixelRNNs of all scales; ``kernel`` is of Row LSTM layers."""

    network: Literal["diagonal", "row"] = "diagonal"
    """The PixelRNNs' layers: Diagonal BiLSTM or Row LSTM."""
    scales: TwoOrMore = 2
    """Images, from the smallest to the whole one."""
    factor: TwoOrMore = 2
    """Every factor-th row and column of an image make the next smaller one."""
    small_hidden: Positive = 32
    """`hidden` of the smallest image's PixelRNN."""
    small_layers: Positive = 1
    """`layers` of the smallest image's PixelRNN."""
    context: Positive = 32
    """Feature maps of the enlarged image, which bias the next PixelRNN."""


class Upsampling(nn.Sequential):
    """Feature maps ``(B, features, f·h, f·w)`` of an image ``(B, C, h, w)``.

    The transposed convolution's kernel is centred on the small pixel's place in the large image and ends where its
    neighbours have theirs, so that every place knows the small pixels on all sides, also below and to the right.
    """

    def __init__(self, channels: int, features: int, factor: int) -> None:
        super().__init__(
            nn.Conv2d(channels, features, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(features, features, 2 * factor + 1, factor, factor, output_padding=factor - 1),
            nn.ReLU(),
        )


class MultiScalePixelRNN(Tractable):
    """See the module's text.

    Raises:
        LimnerError: An image of one pixel would have to be made smaller.
    """

    config: MultiScalePixelRNNConfig
    given: Tensor

    def __init__(self, config: MultiScalePixelRNNConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        (channels, h, w), f = shape, config.factor
        if f ** (config.scales - 2) >= max(h, w):
            raise LimnerError(
                f"scales={config.scales}: images of {describe_images(shape)} are one pixel before they are the "
                f"smallest (factor={f}); take fewer scales"
            )
        smaller = (channels, -(-h // f), -(-w // f))
        pixelrnn: type[PixelRNN] = DiagonalBiLSTM if config.network == "diagonal" else RowLSTM
        self.small: PixelRNN | MultiScalePixelRNN  # of the small image
        if config.scales > 2:
            self.small = MultiScalePixelRNN(replace(config, scales=config.scales - 1), smaller, levels)
        else:
            sizes = replace(config, hidden=config.small_hidden, layers=config.small_layers)
            self.small = pixelrnn(sizes, smaller, levels)
        self.upsampling = Upsampling(channels, config.context, f)  # makes feature maps of it
        self.large = pixelrnn(config, shape, levels, config.context)  # of the whole image, given these
        given = torch.zeros(h, w, dtype=torch.bool)  # where the whole image holds the small one
        given[::f, ::f] = True
        self.register_buffer("given", given, persistent=False)

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: those of the PixelRNNs."""
        parts = {"small": self.small, "large": self.large}
        return {f"{part}.{name}": n for part, model in parts.items() for name, n in model.muon_parameters().items()}

    def smaller(self, k: Tensor) -> Tensor:
        """The small image in ``k`` ``(B, C, H, W)``, a view ``(B, C, ⌈H/f⌉, ⌈W/f⌉)``."""
        return k[:, :, :: self.config.factor, :: self.config.factor]

    def context(self, small: Tensor) -> Tensor:
        """What biases the large PixelRNN, ``(B, context, H, W)``, of levels int64 ``(B, C, ⌈H/f⌉, ⌈W/f⌉)``."""
        _, h, w = self.shape
        return self.upsampling(self.intensities(small))[:, :, :h, :w]

    def features(self, images: Tensor) -> Tensor:
        """The means of the whole image's hidden maps, ``(B, 2h)``, of uint8 images ``(B, C, H, W)``."""
        k = self.checked_levels(images)
        return self.large.maps(self.intensities(k), None, self.context(self.smaller(k))).mean((2, 3))

    def conditionals(self, k: Tensor, labels: Tensor | None = None) -> PixelDistribution:
        """p(x_i | x_<i, s, y) for every pixel and channel at once, given levels ``k`` int64 ``(B, C, H, W)``.

        Those of the pixels of s say nothing: they are known.
        """
        return self.large.conditionals(k, labels, self.context(self.smaller(k)))

    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        small = self.small._log_prob(self.smaller(k), labels)  # ln p(s)
        between = wide(self.conditionals(k, labels).log_prob(k)).masked_fill(beside(self.given), 0.0)  # i ∉ s
        return small + between.flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``: first the small ones, then the pixels in between, one pass a value.

        Args:
            n: How many.
            generator: Source of each image's label and then of one uniform a value of each of its scales; those of
                pixels that are known by then are not used.
            labels: Classes int64 ``(n,)``; by default drawn uniformly, where the model has classes.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        labels, uniforms = self.drawn(n, generator, labels, *self.uniforms_of_scales(generator))
        return self._drawn_from([u.to(exact_device(self.device)) for u in uniforms], labels)

    def uniforms_of_scales(self, generator: torch.Generator | None) -> list[Numbers]:
        """One uniform a value of each scale's image, the smallest scale first."""
        small = self.small
        smaller = small.uniforms_of_scales if isinstance(small, MultiScalePixelRNN) else lambda g: [small.uniforms(g)]
        return [*smaller(generator), self.uniforms(generator)]

    def _drawn_from(self, scales: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        *smaller, uniforms = scales
        if isinstance(self.small, MultiScalePixelRNN):
            small = self.small._drawn_from(smaller, labels)
        else:
            small = self.small.drawn_from(smaller[0], labels)
        k = torch.zeros(uniforms.shape, dtype=torch.int64, device=self.device)
        self.smaller(k).copy_(self.small.checked_levels(small))
        for i, j in (~self.given).nonzero().tolist():
            for channel in range(self.shape[0]):
                k[:, channel, i, j] = self.conditionals(k, labels).icdf(uniforms)[:, channel, i, j]
        return dequantize(k, self.levels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For images of 32×32 and larger."""
    training = replace(RECURRENT, batch_size=16, learning_rate=0.01, matrix_learning_rate=0.05)
    return Recipe(MultiScalePixelRNNConfig(), training)


FAMILIES = (
    Family(
        name="multi-scale-pixelrnn",
        model=MultiScalePixelRNN,
        config=MultiScalePixelRNNConfig,
        paper="van den Oord et al. 2016, arXiv 1601.06759",
        summary="Exact likelihoods of larger images: every second row and column first, then the pixels in between.",
        recipes={"default": _default},
        demo=lambda shape: Recipe(
            MultiScalePixelRNNConfig(hidden=24, small_hidden=24, context=24, first_kernel=5, head_features=48),
            replace(DEMO, learning_rate=3e-3),
        ),
        images="32×32 and larger, 2 to 256 levels, grey or colour",
        tiny=("hidden=8", "small_hidden=8", "context=4", "first_kernel=3", "head_features=8"),
    ),
)
