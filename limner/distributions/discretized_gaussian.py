r"""Discretized Gaussian pixels: a normal density integrated over each level's bin.

Level k owns the bin (k - ½, k + ½), the first and last levels own the whole tails, so that

.. math:: p(k) = \Phi((b_{k+1} - μ)/σ) - \Phi((b_k - μ)/σ), \quad b_0 = -∞, b_L = ∞

sums to 1 exactly. A density evaluated at the levels would be no likelihood of discrete data: it grows without
bound as σ shrinks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.devices import beside, wide
from limner.distributions.base import ChannelDistribution, softly_bounded

__all__ = ["DiscretizedGaussian"]

# σ stays between 1/20 of a level (all mass in one bin) and twice the whole range.
_MIN_STD_IN_LEVELS = 0.05
_MAX_STD = 2.0


class DiscretizedGaussian(ChannelDistribution):
    """A normal of mean μ and standard deviation σ, in intensities (level / (L - 1)), over L levels.

    The arithmetic is float64: in float32 the difference of two cumulative probabilities loses its digits in the
    tails, just where an outlier's log-probability is decided.

    Args:
        mean: μ, ``(B, C, H, W)``; any real number.
        log_std: ln σ before bounding, broadcastable to ``mean``.
        levels: L.
        bounded: Bound ln σ smoothly; else σ is as given.
    """

    def __init__(self, mean: Tensor, log_std: Tensor, levels: int, *, bounded: bool = True) -> None:
        low, high = math.log(_MIN_STD_IN_LEVELS / (levels - 1)), math.log(_MAX_STD)
        self.levels = levels
        self._mean = wide(mean)
        self.log_std = softly_bounded(wide(log_std), low, high) if bounded else wide(log_std)

    @classmethod
    def count(cls, levels: int) -> int:
        """Mean and log standard deviation."""
        return 2

    @classmethod
    def from_parameters(cls, parameters: Tensor, levels: int) -> DiscretizedGaussian:
        """From ``(B, C, 2, H, W)``: μ around mid grey, and ln σ around a quarter of the range."""
        mean, log_std = wide(parameters).unbind(2)
        return cls(mean + 0.5, log_std + math.log(0.25), levels)

    def log_prob(self, k: Tensor) -> Tensor:
        """ln of the bin's mass, from the nearer tail: right to float64 rounding however far out ``k`` lies."""
        per_std, k = torch.exp(-self.log_std), beside(k)
        centre = (wide(k) / (self.levels - 1) - self._mean) * per_std
        half = 0.5 / (self.levels - 1) * per_std
        # Φ(upper) - Φ(lower) = Φ(-lower) - Φ(-upper): reflect so that both bounds lie in the left tail.
        first, last = k == 0, k == self.levels - 1
        right = centre > 0
        near = torch.where(right, half - centre, half + centre)  # the bound of the bin with more mass beyond it
        far = torch.where(right, -half - centre, centre - half)
        open_far = torch.where(right, last, first)  # the bin reaches to infinity on its far side
        open_near = torch.where(right, first, last)  # ... or on its near side: all but the far tail is inside
        log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
        between = log_near + _log1mexp(log_near - log_far)
        return torch.where(open_far, log_near, torch.where(open_near, torch.special.log_ndtr(-far), between))

    def icdf(self, u: Tensor) -> Tensor:
        """The level whose bin holds μ + σ Φ⁻¹(u)."""
        x = self._mean + torch.exp(self.log_std) * torch.special.ndtri(wide(u))
        return torch.floor((x * (self.levels - 1) + 0.5).clamp(0, self.levels - 1)).long()

    @property
    def mean(self) -> Tensor:
        """μ of the underlying normal, within [0, 1]."""
        return self._mean.clamp(0, 1)

    @property
    def variance(self) -> Tensor:
        """σ² of the underlying normal."""
        return torch.exp(2 * self.log_std).expand_as(self._mean)


def _log1mexp(d: Tensor) -> Tensor:
    """ln(1 - exp(-d)) for d > 0, without cancellation at either end."""
    small = d < math.log(2)
    d_small, d_large = torch.where(small, d, 1.0), torch.where(small, 1.0, d)
    return torch.where(small, torch.log(-torch.expm1(-d_small)), torch.log1p(-torch.exp(-d_large)))
