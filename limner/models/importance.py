r"""The bound of K importance samples (Burda, Grosse, Salakhutdinov 2015, arXiv 1509.00519), in training and measuring.

K samples of q(z|x) bound ln p(x) more tightly than the ELBO, which is their bound where K is 1 (equation 8):

.. math:: \ln p(x) \ge E \ln \frac{1}{K} \sum_k w_k, \quad w_k = p(x, z_k) / q(z_k \mid x)

The gradient of the latter is :math:`E \sum_k \tilde w_k ∇ \ln w_k` with normalised weights (equation 13). The doubly
reparameterized gradient (1810.04152; K = 1: 1703.09194) has the same mean without the noise of q's score. Given a class
y everything is of p(x|y); without one p(x) is the mean of p(x|y) over the classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.devices import wide
from limner.distributions import Bernoulli, PixelDistribution, at_least_float32
from limner.noise import named_generator

__all__ = ["Draw", "ImportanceBound", "Weights", "doubly_reparameterized", "gaussian_kl", "log_likelihood"]

SAMPLES = 50
"""Samples whose noise is drawn at a time: a constant, as an image's noise must not depend on its neighbours."""
DECODED_BYTES = {"cpu": 2**24, "cuda": 2**30}
"""Bound on the largest map of all samples that go through the decoder in one pass when a bound is measured."""

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
    def log_w(self) -> Tensor:
        """ln w = ln p(x, z) - ln q(z|x), ``(S, B)``."""
        return self.log_x + self.log_ratio.to(self.log_x.device)

    @property
    def total_kl(self) -> Tensor:
        """Over all groups, the samples' mean, ``(B,)``."""
        return self.kl.sum(0).mean(0).to(self.log_x.device)

    @property
    def bound(self) -> Tensor:
        """The ELBO where S is 1, else ln 1/S Σ w_s, ``(B,)``."""
        s = len(self.log_x)
        if s == 1:
            return self.log_x[0] - self.total_kl
        return torch.logsumexp(self.log_w, 0) - math.log(s)


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


def mean_log_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """μ and ln σ, bounded to ±7, of a Gaussian layer's outputs, which are the halves of ``(N, 2D, ...)``."""
    mean, log_std = at_least_float32(x).chunk(2, 1)
    return mean, 7 * torch.tanh(log_std / 7)


def gaussian_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) in closed form (1312.6114, appendix B), nats, of μ and ln σ, of each dimension."""
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1) - log_std


def log_likelihood(p: PixelDistribution, levels: Tensor, num_samples: int) -> Tensor:
    """ln p(x|z), nats ``(S, B)``, of levels ``(B, C, H, W)``; ``p`` is of S codes for each, ``(S·B, C, H, W)``."""
    if isinstance(p, Bernoulli):  # images need not be repeated
        return Bernoulli(p.logits.unflatten(0, (num_samples, -1))).log_prob(levels).flatten(2).sum(2)
    return p.log_prob(levels.repeat(num_samples, 1, 1, 1)).flatten(1).sum(1).view(num_samples, -1)


def own_noise(names: Sequence[str], device: torch.device) -> Draw:
    """Noise of which each image has its own, a function of its name and of what was drawn of it before.

    It does not depend on how many samples are drawn at a time, if they are multiples of ``SAMPLES``.
    """
    generators = [named_generator(name) for name in names]

    def draw(s: int, shape: tuple[int, ...]) -> Tensor:
        noise = torch.empty(len(names), s, *shape)
        for own, generator in zip(noise, generators, strict=True):
            for part in own.split(SAMPLES):
                part.normal_(generator=generator)
        return noise.to(device).transpose(0, 1)

    return draw


def log_sums(weigh: Callable[[int], Weights], num_samples: int) -> Tensor:
    """ln Σ w, ln Σ w² and the ELBO over ``num_samples`` samples, nats float64 ``(3, B)``.

    ``weigh(s)`` gives s samples more; at most ``SAMPLES`` are weighed at a time.
    """
    log_w, log_w2, elbo = [], [], torch.zeros((), dtype=torch.float64)
    for start in range(0, num_samples, SAMPLES):
        s = min(SAMPLES, num_samples - start)
        w = weigh(s)
        log = wide(w.log_x) + wide(w.log_ratio)
        log_w.append(torch.logsumexp(log, 0))
        log_w2.append(torch.logsumexp(2 * log, 0))
        elbo = elbo + (wide(w.log_x).mean(0) - wide(w.total_kl)) * (s / num_samples)
    return torch.stack([*(torch.logsumexp(torch.stack(parts), 0) for parts in (log_w, log_w2)), elbo])


def scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is ``factor`` times what comes back to it."""
    return x.detach() + factor * (x - x.detach())


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """The numbers of ``value`` with the gradient of ``surrogate``."""
    return value.detach() + (surrogate - surrogate.detach())


Weigh = Callable[[Tensor, Tensor, Tensor, Tensor], Weights]
"""``weigh(z, noise, mean, log_std)``: the weights of codes ``z`` ``(S, B, latent)``, ``noise`` away from μ, in σ."""


def doubly_reparameterized(
    weigh: Weigh, mean: Tensor, log_std: Tensor, noise: Tensor, *, sampled_kl: bool
) -> tuple[Weights, Tensor]:
    """The weights and the bound ``(B,)``, whose gradient has no score of q (1810.04152, equation 8).

    Where K is 1 this is "sticking the landing" (1703.09194): the gradient in μ and σ goes by way of z only. With more
    samples z's gradient is weighted once more, by the normalised weights.

    Args:
        weigh: Of the model.
        mean: μ of q(z|x), ``(B, latent)``.
        log_std: ln σ, likewise.
        noise: Standard normal numbers ``(K, B, latent)``.
        sampled_kl: Whether the KL is sampled anyway (a learned prior); else its closed form gets the sampled gradient.
    """
    factor = torch.ones_like(noise[:, :, :1])
    bound = None
    if len(noise) > 1:
        with torch.no_grad():
            w = weigh(mean + torch.exp(log_std) * noise, noise, mean, log_std)
            bound, factor = w.bound, torch.softmax(w.log_w, 0).to(mean).unsqueeze(2)  # (K, B, 1)
    z = scaled_gradient(mean + torch.exp(log_std) * noise, factor)
    mean, log_std = mean.detach(), log_std.detach()
    noise = (z - mean) * torch.exp(-log_std)
    w = weigh(z, noise, mean, log_std)
    if bound is not None:
        return w, with_gradient_of(bound, (factor.squeeze(2).to(w.log_w.device) * w.log_w).sum(0))
    if not sampled_kl:  # what the closed form is the mean of
        sampled = (0.5 * (z**2 - noise**2) - log_std).mean(0)
        w = Weights(w.log_x, w.log_ratio, with_gradient_of(w.kl, sampled.T.unsqueeze(1)))
    return w, w.bound
