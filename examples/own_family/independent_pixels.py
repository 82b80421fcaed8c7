r"""Every pixel on its own: the baseline that any model of images must beat.

.. math:: p(x) = \prod_i p(x_i), \quad p(x_i) = \mathrm{softmax}(θ_i)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.data.levels import dequantize
from limner.distributions import Categorical
from limner.models import Family, Recipe, TrainingConfig
from limner.models.autoregressive import Tractable
from limner.ranges import NotNegativeReal

__all__ = ["FAMILY", "IndependentPixels", "IndependentPixelsConfig"]


@dataclass(frozen=True)
class IndependentPixelsConfig:
    """Independent pixels."""

    initial_scale: NotNegativeReal = 0.0
    """Standard deviation of the first logits; 0 begins with all levels alike."""


class IndependentPixels(Tractable):
    """See the module's text.

    Args:
        config: Its sizes.
        shape: ``(C, H, W)``.
        levels: Values of a pixel, L.
    """

    def __init__(self, config: IndependentPixelsConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        self.logits = nn.Parameter(config.initial_scale * torch.randn(shape[0], levels, *shape[1:]))  # (C, L, H, W)

    def distribution(self, n: int) -> Categorical:
        """p(x_i) of all pixels, ``(n, C, H, W)``."""
        return Categorical(self.logits.expand(n, *self.logits.shape))

    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        return self.distribution(len(k)).log_prob(k).double().flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``: each pixel is drawn by itself."""
        uniforms = torch.rand((n, *self.shape), generator=generator, dtype=torch.float64).to(self.device)
        return dequantize(self.distribution(n).icdf(uniforms), self.levels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """A high rate: there is one layer, and nothing to break."""
    return Recipe(IndependentPixelsConfig(), TrainingConfig(learning_rate=0.03, weight_decay=0.0, epochs=20))


FAMILY = Family(
    name="independent-pixels",
    model=IndependentPixels,
    config=IndependentPixelsConfig,
    paper="no paper: a baseline",
    summary="The baseline that any other model must beat: every pixel by itself.",
    recipes={"default": _default},
    demo=_default,
)
