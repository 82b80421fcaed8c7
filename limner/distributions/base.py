"""What every pixel likelihood offers: log-probabilities that sum to 1 over the levels, and inverse-CDF draws."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.devices import wide

__all__ = ["ChannelDistribution", "PixelDistribution", "at_least_float32", "precise", "softly_bounded"]


class PixelDistribution(ABC):
    """A distribution over levels 0 .. L-1 for each pixel, independent given its parameters.

    A network returns one of these, so that a loss is ``-distribution.log_prob(k)`` and nothing else. All arithmetic
    is done in float32 at least, whatever the network's autocast type.
    """

    levels: int

    @abstractmethod
    def log_prob(self, k: Tensor) -> Tensor:
        """ln p of levels ``k``, int64 ``(B, C, H, W)``, in nats, per channel of each pixel, ``(B, C, H, W)``."""

    @abstractmethod
    def icdf(self, u: Tensor) -> Tensor:
        """The smallest level whose cumulative probability reaches ``u``, uniforms ``(B, C, H, W)`` in [0, 1).

        One uniform decides one value, so that two samplers fed the same uniforms draw the same image.
        """

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Mean intensity in [0, 1] (level / (L - 1)), ``(B, C, H, W)``."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variance of the intensity, ``(B, C, H, W)``."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Levels drawn with uniforms from ``generator``, int64 ``(B, C, H, W)``."""
        like = self.mean
        return self.icdf(torch.rand(like.shape, generator=generator, device=like.device, dtype=torch.float64))


class ChannelDistribution(PixelDistribution):
    """One whose parameters are ``(B, C, P, H, W)``: P numbers for each channel of each pixel."""

    @classmethod
    @abstractmethod
    def count(cls, levels: int) -> int:
        """P: how many parameters one channel of one pixel takes."""

    @classmethod
    @abstractmethod
    def from_parameters(cls, parameters: Tensor, levels: int) -> ChannelDistribution:
        """The distribution with ``parameters`` ``(B, C, P, H, W)``."""


def softly_bounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` kept within ``low`` and ``high`` by two softplus, so that its gradient nowhere vanishes at once."""
    return high - F.softplus(high - low - F.softplus(x - low))


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 where its type is narrower: bf16 logits lose up to 0.4 % of a log-probability."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def precise(x: Tensor) -> Tensor:
    """``x`` in float64, as ``wide``; in float32 at least where it is differentiated.

    What is measured and drawn keeps its digits; a training step feels the time they take, and not the seventh of them.
    """
    return at_least_float32(x) if x.requires_grad else wide(x)
