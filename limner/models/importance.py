"""What the bounds of ln p(x) are made of: noise, and the weights of importance samples (arXiv 1509.00519)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.noise import named_generator

__all__ = [
    "Draw",
    "ImportanceBound",
    "Weights",
    "log_normal",
    "own_noise",
    "resampled",
    "scaled_gradient",
    "with_gradient_of",
]

Draw = Callable[[int, tuple[int, ...]], Tensor]
"""``draw(S, shape)``: standard normal numbers of S samples of each picture, ``(S, B, *shape)``."""


@dataclass(frozen=True)
class Weights:
    """Of S samples z ~ q(z|x) for each of B pictures, in nats.

    Attributes:
        log_x: ln p(x|z), ``(S, B)``.
        log_ratio: ln p(z) - ln q(z|x), ``(S, B)``.
        kl: KL(q ‖ p) of each of G groups of latents, ``(G, S, B)`` or ``(G, 1, B)``: in closed form, given the sample
            of the groups above; -log_ratio, as one group, where there is no closed form.
    """

    log_x: Tensor
    log_ratio: Tensor
    kl: Tensor

    @property
    def total_kl(self) -> Tensor:
        """Over all groups, the samples' mean, ``(B,)``."""
        return self.kl.sum(0).mean(0)

    @property
    def bound(self) -> Tensor:
        """The ELBO where S is 1, else ln 1/S Σ w_s, ``(B,)``."""
        s = len(self.log_x)
        if s == 1:
            return self.log_x[0] - self.total_kl
        return torch.logsumexp(self.log_x + self.log_ratio, 0) - math.log(s)


@dataclass(frozen=True)
class ImportanceBound:
    """The K-sample bound of ln p(x) for each image.

    Attributes:
        log_prob: ln 1/K Σ w_k, or the ELBO where K is 1, nats float64 ``(B,)``, a lower bound in expectation.
        elbo: The ELBO from the same K samples with the closed-form KL, nats float64 ``(B,)``.
        effective_samples: (Σ w)² / Σ w², between 1 and K (times the classes), ``(B,)``.
        class_log_probs: The bounds of ln p(x|y) for each class y, ``(B, classes)``; None without classes.
    """

    log_prob: Tensor
    elbo: Tensor
    effective_samples: Tensor
    class_log_probs: Tensor | None = None


def log_normal(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """ln N(z; μ, σ²) of each number, of μ and ln σ."""
    return -(0.5 * ((z - mean) * torch.exp(-log_std)) ** 2 + log_std + 0.5 * math.log(2 * math.pi))


def own_noise(names: Sequence[str], device: torch.device) -> Draw:
    """Noise of which each picture has its own, a function of its name and of what was drawn of it before."""
    generators = [named_generator(name) for name in names]

    def draw(s: int, shape: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.randn((s, *shape), generator=g) for g in generators], 1).to(device)

    return draw


def resampled(weights: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """``n`` of S samples of each picture, in proportion to their weights, int64 ``(n, B)``.

    By systematic resampling: one uniform number a picture, so that a sample of weight w comes ⌊n w⌋ or ⌈n w⌉ times.

    Args:
        weights: Of each sample, not negative, ``(S, B)``; a picture's need not sum to 1.
        n: How many are drawn.
        generator: Of the uniform numbers.
    """
    sums = weights.double().cumsum(0).T.contiguous()  # (B, S)
    device = sums.device if generator is None else generator.device
    uniforms = torch.rand((len(sums), 1), generator=generator, dtype=torch.float64, device=device).to(sums.device)
    places = (torch.arange(n, device=sums.device) + uniforms) / n * sums[:, -1:]
    return torch.searchsorted(sums, places, right=True).clamp(max=len(weights) - 1).T


def scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is ``factor`` times what comes back to it."""
    return x.detach() + factor * (x - x.detach())


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """The numbers of ``value`` with the gradient of ``surrogate``."""
    return value.detach() + (surrogate - surrogate.detach())
