"""Pixel likelihoods over discrete levels; the only place where a likelihood is computed."""

from typing import Literal

from limner.distributions.base import ChannelDistribution, PixelDistribution, at_least_float32
from limner.distributions.bernoulli import Bernoulli
from limner.distributions.categorical import Categorical
from limner.distributions.discretized_gaussian import DiscretizedGaussian
from limner.distributions.discretized_logistic import LogisticMixture, LogisticPixels

__all__ = [
    "HEADS",
    "Bernoulli",
    "Categorical",
    "ChannelDistribution",
    "DiscretizedGaussian",
    "Head",
    "LogisticMixture",
    "LogisticPixels",
    "PixelDistribution",
    "at_least_float32",
    "default_head",
]

# The names that configurations use; auto is chosen by ``default_head``.
Head = Literal["auto", "sigmoid", "softmax", "gaussian"]
HEADS: dict[str, type[ChannelDistribution]] = {
    "sigmoid": Bernoulli,
    "softmax": Categorical,
    "gaussian": DiscretizedGaussian,
}


def default_head(levels: int, otherwise: str) -> str:
    """``"sigmoid"`` for binary images, else ``otherwise``."""
    return "sigmoid" if levels == 2 else otherwise
