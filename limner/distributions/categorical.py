"""Categorical pixels: the L-way softmax head of the PixelRNN paper (arXiv 1601.06759, section 2.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.devices import beside, wide
from limner.distributions.base import ChannelDistribution, at_least_float32

__all__ = ["Categorical"]


class Categorical(ChannelDistribution):
    """``p(k) = softmax(logits)_k``: no order between levels is assumed, any shape can be learned.

    Args:
        logits: Unnormalised log-probabilities ``(B, C, L, H, W)``.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = beside(at_least_float32(logits))
        self.levels = logits.shape[2]

    @classmethod
    def count(cls, levels: int) -> int:
        """One logit a level."""
        return levels

    @classmethod
    def from_parameters(cls, parameters: Tensor, levels: int) -> Categorical:
        """From logits ``(B, C, L, H, W)``."""
        return cls(parameters)

    def log_prob(self, k: Tensor) -> Tensor:
        """The log-softmax at ``k``."""
        b, c, levels, h, w = self.logits.shape
        # The levels last: where the network is channels_last they are neighbours in memory already.
        logits = self.logits.permute(0, 3, 4, 1, 2).reshape(-1, levels)  # (B·H·W·C, L)
        nats = F.cross_entropy(logits, beside(k).permute(0, 2, 3, 1).reshape(-1), reduction="none")
        return -nats.view(b, h, w, c).permute(0, 3, 1, 2)

    def icdf(self, u: Tensor) -> Tensor:
        """How many cumulative sums ``u`` passes, ``(B, C, H, W)``."""
        cdf = torch.softmax(wide(self.logits), 2).cumsum(2)
        return (u.unsqueeze(2) >= cdf).sum(2).clamp_max(self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """The exact mean over all levels."""
        return (torch.softmax(self.logits, 2) * self._intensities()).sum(2)

    @property
    def variance(self) -> Tensor:
        """The exact variance over all levels."""
        squared = (self._intensities() - self.mean.unsqueeze(2)) ** 2
        return (torch.softmax(self.logits, 2) * squared).sum(2)

    def _intensities(self) -> Tensor:
        logits = self.logits
        steps = torch.linspace(0, 1, self.levels, device=logits.device, dtype=logits.dtype)
        return steps.view(-1, 1, 1)  # (L, 1, 1)
