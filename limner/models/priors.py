r"""Learned priors p(z), mixtures of Gaussians.

.. math:: p(z) = \sum_m π_m N(z; μ_m, \mathrm{diag}\,σ_m^2)

whose components are parameters (``mixture``), or the posteriors of learned pseudo-inputs, :math:`\frac{1}{M} \sum_m
q(z \mid u_m)`, the VampPrior (Tomczak and Welling 2018, arXiv 1705.07120, equation 9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.devices import exact_device, wide
from limner.models.contracts import standard_normal

__all__ = ["GaussianMixture"]


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of M Gaussians in D dimensions.

    Attributes:
        log_weights: ln π, ``(M,)``.
        mean: μ, ``(M, D)``.
        log_std: ln σ, ``(M, D)``.
    """

    log_weights: Tensor
    mean: Tensor
    log_std: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """ln p(z), nats, float64 ``(...)``, of z ``(..., D)``.

        The squares are multiplied out, so that all pairs of z and components are two matrix products and no tensor is
        ``(..., M, D)``; in float64, where that costs no digits that count.
        """
        z, mean = wide(z), wide(self.mean)
        precision = torch.exp(-2 * wide(self.log_std))
        constant = wide(self.log_std + 0.5 * math.log(2 * math.pi)).sum(1) + 0.5 * (mean**2 * precision).sum(1)
        each = z @ (mean * precision).T - 0.5 * (z**2 @ precision.T) - constant  # (..., M)
        return torch.logsumexp(wide(self.log_weights) + each, -1)

    def sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """``n`` codes, ``(n, D)``."""
        uniforms = torch.rand(n, generator=generator, dtype=torch.float64).to(exact_device(self.mean.device))
        m = torch.searchsorted(torch.softmax(wide(self.log_weights), 0).cumsum(0), uniforms)
        m = m.clamp_max(len(self.mean) - 1)
        noise = standard_normal((n, self.mean.shape[1]), generator, self.mean.device).to(self.mean)
        return self.mean[m] + torch.exp(self.log_std[m]) * noise
