r"""Mixtures of discretized logistics (PixelCNN++, Salimans et al. 2017, arXiv 1701.05517, sections 2.1 and 2.2).

A logistic of mean μ and scale s, integrated over each level's bin; the first and last levels own the whole tails:

.. math:: P(x \mid π, μ, s) = \sum_m π_m [σ((x + \tfrac{1}{L-1} - μ_m)/s_m) - σ((x - \tfrac{1}{L-1} - μ_m)/s_m)]

with x in [-1, 1]. The channels of a pixel share the component m, and each mean is linear in the earlier channels:

.. math:: μ_G = \bar μ_G + α x_R, \quad μ_B = \bar μ_B + β x_R + γ x_G
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.distributions.base import PixelDistribution, precise, softly_bounded

__all__ = ["LogisticMixture", "LogisticPixels"]

# s stays between 1/20 of a level (all mass in one bin) and twice the whole range.
_MIN_SCALE_IN_LEVELS = 0.05
_MAX_SCALE = 4.0


class LogisticMixture(PixelDistribution):
    """A mixture of M discretized logistics for each channel of each pixel.

    In float64 (see ``DiscretizedGaussian``), but for parameters that are differentiated (``precise``).

    Args:
        logits: Unnormalised log-weights, ``(B, C, M, H, W)`` or of one channel for all.
        means: μ, in intensities -1 to 1, ``(B, C, M, H, W)``.
        log_scales: ln s before bounding, ``(B, C, M, H, W)``; bounded smoothly.
        levels: L.
    """

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor, levels: int) -> None:
        low, high = math.log(_MIN_SCALE_IN_LEVELS * 2 / (levels - 1)), math.log(_MAX_SCALE)
        self.levels = levels
        self.means = precise(means)
        self.per_scale = torch.exp(-softly_bounded(precise(log_scales), low, high))
        self.log_weights = F.log_softmax(precise(logits), 2).expand_as(self.means)
        self._known: tuple[Tensor, int, Tensor] | None = None  # levels, their version, ``log_components`` of them

    @staticmethod
    def count(channels: int, components: int) -> int:
        """Parameters of a pixel: M logits, and for each channel M means, M scales and M slopes an earlier channel."""
        return components * (1 + 2 * channels + channels * (channels - 1) // 2)

    @classmethod
    def split(cls, parameters: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, means, log-scales and slopes, ``precise``, each ``(B, ·, M, H, W)``, of parameters ``(B, P, H, W)``.

        They are M logits; C·M means and C·M log-scales, channel by channel; M slopes for each pair G on R, B on R, B on
        G. All zeros are M logistics side by side over the whole range.
        """
        b, p, h, w = parameters.shape
        m = p // cls.count(channels, 1)
        parts = precise(parameters).split([m, channels * m, channels * m, (channels * (channels - 1) // 2) * m], 1)
        logits, means, log_scales, slopes = (part.view(b, -1, m, h, w) for part in parts)
        places = (2 * torch.arange(m, dtype=means.dtype, device=means.device) + 1) / m - 1
        return logits, means + places.view(-1, 1, 1), log_scales - math.log(1.5 * m), torch.tanh(slopes)

    @classmethod
    def given(cls, parameters: Tensor, k: Tensor, levels: int) -> LogisticMixture:
        """p(x_c | x_1, ..., x_{c-1}) for each channel c, given levels ``k`` int64 ``(B, C, H, W)`` of those before it.

        Their mixture component is not known, only how well each explains them, so that channel c is a mixture with
        weights π_m ∏_{c' < c} P(x_c' | m): the product over the channels is the paper's joint probability.
        ``parameters`` ``(B, P, H, W)`` are as in ``split``.
        """
        c = k.shape[1]
        logits, first, log_scales, slopes = cls.split(parameters, c)
        x = (k.to(first) * (2 / (levels - 1)) - 1).unsqueeze(2)  # (B, C, 1, H, W)
        means = list(first.unbind(1))
        for channel in range(1, c):
            means[channel] = means[channel] + (slopes[:, _pairs(channel)] * x[:, :channel]).sum(1)
        p = cls(logits, torch.stack(means, 1), log_scales, levels)
        if c > 1:
            components = p.log_components(k)
            explained = components[:, :-1].cumsum(1)  # (B, C - 1, M, H, W)
            later = F.log_softmax(p.log_weights[:, 1:] + explained, 2)
            p._known = None if k.is_inference() else (k, k._version, components)  # torch counts changes in place
            p.log_weights = torch.cat([p.log_weights[:, :1], later], 1)
        return p

    def log_components(self, k: Tensor) -> Tensor:
        """ln P of levels ``k`` int64 ``(B, C, H, W)`` under each component, ``(B, C, M, H, W)``.

        σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(b - a)), whose logarithm has no cancellation however far out a level lies.
        """
        k = k.to(self.means.device).unsqueeze(2)
        half = self.per_scale / (self.levels - 1)  # half a bin
        centre = (k.to(self.means) * (2 / (self.levels - 1)) - 1 - self.means) * self.per_scale
        below, above = _log_sigmoid(centre + half), _log_sigmoid(half - centre)  # ln σ(a), ln σ(-b)
        inside = below + above + torch.log(-torch.expm1(-2 * half))
        return torch.where(k == 0, below, torch.where(k == self.levels - 1, above, inside))

    def log_prob(self, k: Tensor) -> Tensor:
        """ln p of levels ``k`` int64 ``(B, C, H, W)``, nats, for each channel."""
        known, changes, components = self._known or (None, 0, None)
        if known is not k or k._version != changes or components is None:
            components = self.log_components(k)
        return torch.logsumexp(self.log_weights + components, 2)

    def cdf(self, k: Tensor) -> Tensor:
        """p(level ≤ k) for ``k`` from 0 to L - 2, ``(B, C, H, W)``."""
        upper = (2 * k.to(self.means) + 1).unsqueeze(2) / (self.levels - 1) - 1
        return (torch.exp(self.log_weights) * torch.sigmoid((upper - self.means) * self.per_scale)).sum(2)

    def icdf(self, u: Tensor) -> Tensor:
        """The smallest level whose cumulative probability passes ``u``, by bisection."""
        low = torch.zeros(u.shape, dtype=torch.int64, device=u.device)
        high = torch.full_like(low, self.levels - 1)
        for _ in range((self.levels - 1).bit_length()):
            middle = (low + high) // 2
            passed = (low < high) & (u >= self.cdf(middle))
            low, high = torch.where(passed, middle + 1, low), torch.where(passed, high, middle)
        return low

    @property
    def mean(self) -> Tensor:
        """The exact mean over all levels: Σ_k p(level > k) / (L - 1)."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """The exact variance over all levels."""
        mean, square = self._moments()
        return square - mean**2

    def _moments(self) -> tuple[Tensor, Tensor]:
        """E x = Σ p(level > k) / (L - 1) and E x² = Σ (2k + 1) p(level > k) / (L - 1)²; x in [0, 1]."""
        first = second = torch.zeros_like(self.means[:, :, 0])
        for level in range(self.levels - 1):
            survival = 1 - self.cdf(torch.full(first.shape, level, device=first.device))
            first, second = first + survival, second + (2 * level + 1) * survival
        return first / (self.levels - 1), second / (self.levels - 1) ** 2


class LogisticPixels(PixelDistribution):
    """The joint distribution of a pixel's channels that ``LogisticMixture.given`` factorises.

    Args:
        parameters: ``(B, P, H, W)``, see ``LogisticMixture.split``.
        channels: C.
        levels: L.
    """

    def __init__(self, parameters: Tensor, channels: int, levels: int) -> None:
        self.parameters, self.channels, self.levels = parameters, channels, levels

    def log_prob(self, k: Tensor) -> Tensor:
        """ln p of levels ``k`` int64 ``(B, C, H, W)``, each channel given those before it."""
        return LogisticMixture.given(self.parameters, k, self.levels).log_prob(k)

    def icdf(self, u: Tensor) -> Tensor:
        """Channel after channel."""
        k = torch.zeros(u.shape, dtype=torch.int64, device=u.device)
        for channel in range(self.channels):
            k[:, channel] = LogisticMixture.given(self.parameters, k, self.levels).icdf(u)[:, channel]
        return k

    @property
    def mean(self) -> Tensor:
        """Of the underlying logistics, within [0, 1]."""
        return ((self._moments()[0] + 1) / 2).clamp(0, 1)

    @property
    def variance(self) -> Tensor:
        """Of the underlying logistics."""
        return self._moments()[1] / 4

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance in [-1, 1]. In a component x_c = μ_c + Σ_{c' < c} α x_c' + e_c, with Var e = (s π)² / 3."""
        logits, first, log_scales, slopes = LogisticMixture.split(self.parameters, self.channels)
        p = LogisticMixture(logits, first, log_scales, self.levels)
        noise = (math.pi / p.per_scale) ** 2 / 3  # (B, C, M, H, W)
        means: list[Tensor] = []
        shares: list[Tensor] = []  # of each e in x_c, (B, C, M, H, W)
        for channel, mean in enumerate(first.unbind(1)):
            share = torch.zeros_like(noise)
            share[:, channel] = 1
            for before, slope in enumerate(slopes[:, _pairs(channel)].unbind(1)):
                mean = mean + slope * means[before]
                share = share + slope.unsqueeze(1) * shares[before]
            means.append(mean)
            shares.append(share)
        each, weights = torch.stack(means, 1), torch.exp(p.log_weights)
        variances = torch.stack([(share**2 * noise).sum(1) for share in shares], 1)
        mean = (weights * each).sum(2)
        return mean, (weights * (variances + each**2)).sum(2) - mean**2


def _log_sigmoid(x: Tensor) -> Tensor:
    """ln σ(x), in a third of the time of torch's own."""
    return -F.softplus(-x, threshold=40)


def _pairs(channel: int) -> slice:
    """The slopes of ``channel`` on those before it."""
    return slice(channel * (channel - 1) // 2, channel * (channel + 1) // 2)
