r"""The bound of K importance samples, of which few are decoded: two-phase sampling.

As a function of the noise ε in z = μ + σ ε, the logarithm of a sample's weight, ln w = ln p(x, z) - ln q(z|x), is
close to its second-order Taylor polynomial at 0, which costs next to nothing. So all K samples are weighed by that,
ln ŵ, and n of them are decoded: sample k with a chance :math:`π_k` that grows with :math:`\hat w_k`, up to 1 for the
heaviest. The estimator of Horvitz and Thompson (JASA 47, 1952)

.. math:: \frac{1}{K} \sum_{k \text{ decoded}} \frac{w_k}{π_k}

has the mean 1/K Σ w_k over the choices, whatever the polynomial is worth: of its logarithm the mean is no larger than
that of the K-sample bound, so that it is a bound as well. Its variance, estimated from the same samples and so too low
where heavy ones were missed, tells about how much looser it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limner import kernels
from limner.models.importance import systematic

__all__ = ["inclusion", "taylor", "two_phase"]

POWER = 0.7
"""Of the approximate weights: they are trusted so far (LOG.md)."""
EVENLY = 0.3
"""Part of the n samples that is drawn whatever their approximate weights."""


def taylor(f: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value ``(B,)``, gradient ``(B, d)`` and second derivatives ``(B, d, d)`` of a function at ``(B, d)``.

    Args:
        f: From ``(B, d)`` to ``(B,)``, each from its own row.
        at: Where.
    """
    b, d = at.shape
    directions = torch.eye(d, dtype=at.dtype, device=at.device).unsqueeze(1).expand(d, b, d)
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        value = f(at)
        (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, at, directions, is_grads_batched=True)
    return value.detach(), slope.detach(), curvature.transpose(0, 1)


def inclusion(log_weights: Tensor, n: int) -> Tensor:
    """The chance of each of K samples to be among ``n``, ``(B, K)``, rows that sum to n.

    Args:
        log_weights: Approximate ones, ``(B, K)``.
        n: Fewer than K.
    """
    evenly = EVENLY * n / log_weights.shape[1]
    shape = torch.softmax(POWER * log_weights, 1).clamp(min=1e-20)  # so that no factor is infinite
    sure = torch.zeros_like(shape, dtype=torch.bool)
    while True:  # those above 1 are held at 1, and the others grow, of which some come above 1
        rest = torch.where(sure, 0, shape).sum(1, keepdim=True)
        left = n - torch.where(sure, 1.0, evenly).sum(1, keepdim=True)
        chances = torch.where(sure, 1.0, shape * (left / rest) + evenly)
        more = chances > 1
        if not more.any():
            return chances
        sure |= more


def _quadratics(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """c + b·x + x·A x of points ``(B, K, d)``, ``(B, K)``."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and kernels.available():
        from limner.nn.compiled_quadratic import quadratics

        return quadratics(x, a, b, c)
    return c.unsqueeze(1) + torch.linalg.vecdot(torch.baddbmm(b.unsqueeze(1), x, a), x)


def two_phase(log_weight: Callable[[Tensor], Tensor], noise: Tensor, n: int, uniforms: Tensor) -> Tensor:
    """``log_sums`` of K samples from ``n`` of them, float64 ``(5, B)``.

    Args:
        log_weight: ln w, nats ``(S, B)``, of noise ``(S, B, d)``.
        noise: Standard normal numbers ``(K, B, d)``.
        n: Fewer than K.
        uniforms: Numbers in [0, 1) that decide which are decoded, float64 ``(B, 1)``.
    """
    samples, b, d = noise.shape
    value, slope, curvature = taylor(lambda x: log_weight(x.unsqueeze(0))[0], noise.new_zeros(b, d))
    noise = noise.transpose(0, 1)
    approximate = _quadratics(noise, 0.5 * curvature, slope, value)
    expected = value + 0.5 * curvature.diagonal(dim1=1, dim2=2).sum(1)
    chances = inclusion(approximate, n)
    chosen = systematic(chances, n, uniforms)  # (B, n)
    log_w = log_weight(noise.gather(1, chosen.unsqueeze(2).expand(-1, -1, d)).transpose(0, 1)).T.double()
    log_p = torch.log(chances.gather(1, chosen).double())
    log_sum, log_squares = (torch.logsumexp(power * log_w - log_p, 1) for power in (1, 2))
    elbo = expected.double() + ((log_w - approximate.gather(1, chosen)) * torch.exp(-log_p)).sum(1) / samples
    spread = torch.logsumexp(2 * (log_w - log_p) + torch.log1p(-torch.exp(log_p)), 1)
    variance = torch.exp(spread - 2 * log_sum)
    return torch.stack([log_sum, log_squares, elbo, torch.full_like(elbo, n), variance])
