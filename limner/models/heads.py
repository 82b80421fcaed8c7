"""From a decoder's feature maps to p(x|z), a likelihood of discrete images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from limner.distributions import HEADS, DiscretizedGaussian, LogisticMixture, LogisticPixels, PixelDistribution
from limner.errors import LimnerError, setting
from limner.ranges import Positive, PositiveReal

__all__ = ["HeadConfig", "PixelHead", "usual_head"]


@dataclass(frozen=True)
class HeadConfig:
    """Which p(x|z)."""

    head: Literal["auto", "sigmoid", "gaussian", "logistic", "softmax"] = "auto"
    """p(x|z): sigmoid (Bernoulli), gaussian (discretized), logistic (PixelCNN++'s mixture, channels linked),
    softmax, or auto: sigmoid for binary images, else gaussian."""
    covariance: Literal["pixel", "shared", "fixed"] = "pixel"
    """Diagonal of the gaussian's: of each pixel from the decoder, one for each channel learned, or std²."""
    std: PositiveReal = 0.1
    """σ of the fixed covariance, black being 0 and white 1."""
    components: Positive = 5
    """Logistics in each pixel's mixture (logistic)."""


def usual_head(shape: tuple[int, int, int]) -> Literal["auto", "logistic"]:
    """What recipes take for images of ``shape`` (C, H, W): of RGB the mixture, whose channels know each other."""
    return "logistic" if shape[0] == 3 else "auto"


class PixelHead(nn.Module):
    """p(x|z) of a decoder's maps, of which there are ``maps``, P, for images of ``shape`` (C, H, W).

    Raises:
        LimnerError: A sigmoid for more than two levels, or a covariance for what is not gaussian.
    """

    def __init__(self, config: HeadConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__()
        self.config, self.channels, self.levels = config, shape[0], levels
        self.kind = ("sigmoid" if levels == 2 else "gaussian") if config.head == "auto" else config.head
        if config.covariance != "pixel" and self.kind != "gaussian":
            raise LimnerError(
                f"covariance={config.covariance}: that of head=gaussian; this head is {self.kind}, "
                f"whose variance is its own: add {setting('head', 'gaussian')}, for more than two levels"
            )
        each = 1 if config.covariance != "pixel" else 0 if self.kind == "logistic" else HEADS[self.kind].count(levels)
        self.maps = LogisticMixture.count(shape[0], config.components) if self.kind == "logistic" else each * shape[0]
        self.log_std = nn.Parameter(torch.zeros(shape[0], 1, 1)) if config.covariance == "shared" else None

    def forward(self, parameters: Tensor) -> PixelDistribution:
        """p(x|z) over ``(B, C, H, W)``, of maps ``(B, P, H, W)``."""
        if self.kind == "logistic":
            return LogisticPixels(parameters, self.channels, self.levels)
        parameters = parameters.unflatten(1, (self.channels, -1))
        if self.config.covariance == "pixel":
            return HEADS[self.kind].from_parameters(parameters, self.levels)
        mean = parameters.squeeze(2) + 0.5
        if self.log_std is None:
            fixed = torch.full_like(mean[:1, :1, :1, :1], math.log(self.config.std))
            return DiscretizedGaussian(mean, fixed, self.levels, bounded=False)
        return DiscretizedGaussian(mean, self.log_std + math.log(0.25), self.levels)
