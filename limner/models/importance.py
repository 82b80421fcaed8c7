"""What the bounds of ln p(x) are made of: noise, and the weights of importance samples (arXiv 1509.00519)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.fast.threads import in_shares
from limner.noise import named_generator

__all__ = [
    "SAMPLES",
    "Draw",
    "ImportanceBound",
    "Weights",
    "at_once",
    "log_normal",
    "log_sums",
    "own_noise",
    "own_uniforms",
    "resampled",
    "scaled_gradient",
    "systematic",
    "with_gradient_of",
]

SAMPLES = 50
"""Samples whose noise is drawn at a time: a constant, as an image's noise must not depend on its neighbours."""

GPU_VALUES = 2**23
"""Of images that are decoded together on a GPU: each of their maps takes 32 MB."""

Draw = Callable[[int, tuple[int, ...]], Tensor]
"""``draw(S, shape)``: standard normal numbers of S samples of each image, ``(S, B, *shape)``."""


@dataclass(frozen=True)
class Weights:
    """Of S samples z ~ q(z|x) for each of B images, in nats.

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
        decoded: How many samples were decoded, of each class, ``(B,)``; see ``two_phase``.
        variance: That of Σ w with the choice of these, relative to its square, estimated, ``(B,)``: ``log_prob`` is
            about half of it below that of all samples, or more where heavy samples were missed.
        class_log_probs: The bounds of ln p(x|y) for each class y, ``(B, classes)``; None without classes.
    """

    log_prob: Tensor
    elbo: Tensor
    effective_samples: Tensor
    decoded: Tensor
    variance: Tensor
    class_log_probs: Tensor | None = None


def log_normal(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """ln N(z; μ, σ²) of each number, of μ and ln σ."""
    return -(0.5 * ((z - mean) * torch.exp(-log_std)) ** 2 + log_std + 0.5 * math.log(2 * math.pi))


def own_noise(names: Sequence[str], device: torch.device) -> Draw:
    """Noise of which each image has its own, a function of its name and of what was drawn of it before.

    It does not depend on how many samples are drawn at a time, if they are multiples of ``SAMPLES``.
    """
    generators = [named_generator(name) for name in names]

    def draw(s: int, shape: tuple[int, ...]) -> Tensor:
        noise = torch.empty(len(names), s, *shape)

        def share(first: int, last: int) -> None:
            for own, generator in zip(noise[first:last], generators[first:last], strict=True):
                for part in own.split(SAMPLES):
                    part.normal_(generator=generator)

        in_shares(share, len(names))
        return noise.to(device).transpose(0, 1)

    return draw


def own_uniforms(names: Sequence[str], device: torch.device) -> Tensor:
    """A number in [0, 1) of each name, float64 ``(B, 1)``."""
    numbers = [torch.rand(1, 1, generator=named_generator(name), dtype=torch.float64) for name in names]
    return torch.cat(numbers).to(device)


def at_once(rows: int, shape: tuple[int, int, int], device: torch.device) -> int:
    """How many images ``(C, H, W)`` are decoded together: ``rows``, and on a GPU as many as fill it."""
    return rows if device.type == "cpu" else max(rows, GPU_VALUES // math.prod(shape))


def log_sums(weigh: Callable[[int], Weights], samples: int) -> Tensor:
    """ln Σ w, ln Σ w² and the ELBO over ``samples`` samples, nats float64, and K and 0, ``(5, B)``.

    The last are how many were decoded, and how much the sum varies with the choice of these (``two_phase``).

    Args:
        weigh: So many samples more.
        samples: K, of which ``SAMPLES`` are weighed at a time.
    """
    log_w, log_w2, elbo = [], [], torch.zeros(())
    for start in range(0, samples, SAMPLES):
        s = min(SAMPLES, samples - start)
        w = weigh(s)
        log = w.log_x.double() + w.log_ratio.double()
        log_w.append(torch.logsumexp(log, 0))
        log_w2.append(torch.logsumexp(2 * log, 0))
        elbo = elbo + (w.log_x.double().mean(0) - w.total_kl.double()) * (s / samples)
    sums = [torch.logsumexp(torch.stack(parts), 0) for parts in (log_w, log_w2)]
    return torch.stack([*sums, elbo, torch.full_like(elbo, samples), torch.zeros_like(elbo)])


def resampled(weights: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """``n`` of S samples of each image, in proportion to their weights, int64 ``(n, B)``.

    By systematic resampling: one uniform number an image, so that a sample of weight w comes ⌊n w⌋ or ⌈n w⌉ times.

    Args:
        weights: Of each sample, not negative, ``(S, B)``; an image's need not sum to 1.
        n: How many are drawn.
        generator: Of the uniform numbers.
    """
    device = weights.device if generator is None else generator.device
    uniforms = torch.rand((weights.shape[1], 1), generator=generator, dtype=torch.float64, device=device)
    return systematic(weights.T, n, uniforms.to(weights.device)).T


def systematic(weights: Tensor, n: int, uniforms: Tensor) -> Tensor:
    """As ``resampled``, of weights ``(B, S)`` to ``(B, n)``, by given uniform numbers float64 ``(B, 1)``."""
    sums = weights.double().cumsum(1)
    places = (torch.arange(n, device=sums.device) + uniforms) / n * sums[:, -1:]
    return torch.searchsorted(sums, places, right=True).clamp(max=weights.shape[1] - 1)


def scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is ``factor`` times what comes back to it."""
    return x.detach() + factor * (x - x.detach())


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """The numbers of ``value`` with the gradient of ``surrogate``."""
    return value.detach() + (surrogate - surrogate.detach())
