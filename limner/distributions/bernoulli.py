"""Bernoulli pixels: the sigmoid head, for binary images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.devices import beside, wide
from limner.distributions.base import ChannelDistribution, at_least_float32
from limner.errors import LimnerError

__all__ = ["Bernoulli"]


class Bernoulli(ChannelDistribution):
    """``p(1) = sigmoid(logit)``, two levels.

    Args:
        logits: ln p(1) - ln p(0), ``(B, C, H, W)``.
    """

    levels = 2

    def __init__(self, logits: Tensor) -> None:
        self.logits = beside(at_least_float32(logits))

    @classmethod
    def count(cls, levels: int) -> int:
        """One logit.

        Raises:
            LimnerError: More than two levels.
        """
        if levels != 2:
            raise LimnerError(f"a sigmoid (Bernoulli) head is for binary images, these have {levels} levels")
        return 1

    @classmethod
    def from_parameters(cls, parameters: Tensor, levels: int) -> Bernoulli:
        """From logits ``(B, C, 1, H, W)``."""
        cls.count(levels)
        return cls(parameters.squeeze(2))

    def log_prob(self, k: Tensor) -> Tensor:
        """ln sigmoid(±logit): never the logarithm of a rounded probability; ``k`` is broadcast."""
        sign = 1 - 2 * k.to(self.logits)
        return -F.softplus(sign * self.logits, threshold=40)  # torch's logsigmoid takes three times as long

    def icdf(self, u: Tensor) -> Tensor:
        """1 where ``u`` passes p(0)."""
        return (u >= torch.sigmoid(-wide(self.logits))).long()

    @property
    def mean(self) -> Tensor:
        """p(1)."""
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        """p(1) p(0)."""
        return torch.sigmoid(self.logits) * torch.sigmoid(-self.logits)
