r"""Variational autoencoder (Kingma and Welling 2013, arXiv 1312.6114) and its importance bound (IWAE, 1509.00519).

Encoder and decoder are both Gaussian, each with a mean and a (diagonal) covariance:

.. math:: q(z \mid x) = N(μ_z(x), \mathrm{diag}\,σ_z^2(x)), \quad p(x \mid z) = N(μ_x(z), \mathrm{diag}\,σ_x^2(z))

where the decoder's normal is integrated over each level's bin, so that it is a likelihood of discrete pictures
(for binary pictures it is a Bernoulli, whose variance p(1 - p) follows from its mean). Training ascends the ELBO

.. math:: \ln p(x) \ge E_q[\ln p(x \mid z)] - KL(q(z \mid x) \,\|\, N(0, I))

and K importance samples tighten it: :math:`\ln p(x) \ge E \ln \frac{1}{K} \sum_k p(x, z_k) / q(z_k \mid x)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from limner.checks import Positive
from limner.data.levels import dequantize
from limner.distributions import HEADS, Head, PixelDistribution, at_least_float32, default_head
from limner.models.contracts import Bound, Explicit, standard_normal
from limner.nn.coders import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder

__all__ = ["VAE", "ImportanceBound", "VAEConfig"]


@dataclass(frozen=True)
class VAEConfig:
    """The variational autoencoder."""

    latent: Positive = 40
    """Dimensions of z; 2 for the picture of the latent plane."""
    network: Literal["dense", "conv"] = "conv"
    """Layers of encoder and decoder: dense (as published) or convolutional."""
    hidden: Positive = 400
    """Units of each of the two hidden layers (dense)."""
    features: Positive = 32
    """Feature maps at full size, doubled at each halving (conv)."""
    head: Head = "auto"
    """p(x|z): sigmoid (Bernoulli), gaussian (discretized, mean and variance), softmax, or auto."""


@dataclass(frozen=True)
class ImportanceBound:
    """The K-sample bound of ln p(x) for each image.

    Attributes:
        log_prob: ln 1/K Σ w_k, nats ``(B,)``, a lower bound in expectation.
        elbo: The ELBO from the same K samples with the closed-form KL, nats ``(B,)``.
        effective_samples: (Σ w)² / Σ w², between 1 and K, ``(B,)``.
    """

    log_prob: Tensor
    elbo: Tensor
    effective_samples: Tensor


class VAE(Explicit):
    """See the module's text.

    Args:
        config: Its sizes.
        shape: ``(C, H, W)``.
        levels: Values of a pixel, L.
    """

    bound: ClassVar[Bound] = "lower"
    config: VAEConfig

    def __init__(self, config: VAEConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        self.head = HEADS[default_head(levels, "gaussian") if config.head == "auto" else config.head]
        out = (shape[0] * self.head.count(levels), *shape[1:])
        self.encoder: nn.Module
        self.decoder: nn.Module
        if config.network == "dense":
            self.encoder = DenseEncoder(shape, config.hidden, 2 * config.latent)
            self.decoder = DenseDecoder(config.latent, config.hidden, out)
        else:
            self.encoder = ConvEncoder(shape, config.features, 2 * config.latent)
            self.decoder = ConvDecoder(config.latent, config.features, out)

    def posterior(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z|x), each ``(B, latent)``, of levels int64 ``(B, C, H, W)``; ln σ bounded to ±7."""
        mean, log_std = at_least_float32(self.encoder(self.intensities(k))).chunk(2, 1)
        return mean, 7 * torch.tanh(log_std / 7)

    def likelihood(self, z: Tensor) -> PixelDistribution:
        """p(x|z) over ``(B, C, H, W)``, of codes ``(B, latent)``."""
        c, h, w = self.shape
        return self.head.from_parameters(self.decoder(z).reshape(len(z), c, -1, h, w), self.levels)

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``reconstruction`` = -ln p(x|z) of one z ~ q and ``kl``, nats, each ``(B,)``; their sum is -ELBO."""
        k = self.checked_levels(images)
        mean, log_std = self.posterior(k)
        z = mean + torch.exp(log_std) * standard_normal(mean.shape, generator, mean.device).to(mean)
        reconstruction = -self.likelihood(z).log_prob(k).flatten(1).sum(1)
        return {"reconstruction": reconstruction, "kl": gaussian_kl(mean, log_std)}

    def log_prob(
        self, images: Tensor, *, generator: torch.Generator | None = None, importance_samples: int = 1
    ) -> Tensor:
        """A lower bound of ln p(x), nats an image ``(B,)``: the ELBO, or the K-sample bound where K > 1.

        Raises:
            LimnerError: Pictures of another shape or other levels than the model's.
        """
        bound = self.importance_bound(images, importance_samples, generator=generator)
        return bound.log_prob if importance_samples > 1 else bound.elbo

    @torch.no_grad()
    def importance_bound(
        self, images: Tensor, samples: int, *, generator: torch.Generator | None = None, rows: int = 8192
    ) -> ImportanceBound:
        """The ``samples``-sample bound (IWAE equation 8) of uint8 pictures ``(B, C, H, W)``.

        All images' samples go through the decoder together, (images × K) rows at a time: at most ``rows``, so that
        memory does not grow with K. The weights are kept as running log-sums.

        Raises:
            LimnerError: Pictures of another shape or other levels than the model's.
        """
        k = self.checked_levels(images)
        b = len(k)
        mean, log_std = (t.double() for t in self.posterior(k))
        log_w = torch.full((b,), -math.inf, dtype=torch.float64, device=k.device)
        log_w2, reconstruction = log_w.clone(), torch.zeros_like(log_w)
        chunk = max(1, rows // b)
        for start in range(0, samples, chunk):
            s = min(chunk, samples - start)
            noise = standard_normal((s, *mean.shape), generator, k.device)  # (S, B, latent)
            z = mean + torch.exp(log_std) * noise
            p = self.likelihood(z.flatten(0, 1).to(self.dtype))  # (S·B, C, H, W)
            x = k.expand(s, *k.shape).flatten(0, 1)
            log_x = p.log_prob(x).double().flatten(1).sum(1).view(s, b)
            # ln p(z) - ln q(z|x): the 2π of both cancel.
            log_ratio = (-0.5 * z**2 + 0.5 * noise.double() ** 2 + log_std).sum(2)
            w = log_x + log_ratio
            log_w = torch.logaddexp(log_w, torch.logsumexp(w, 0))
            log_w2 = torch.logaddexp(log_w2, torch.logsumexp(2 * w, 0))
            reconstruction += log_x.sum(0)
        return ImportanceBound(
            log_prob=log_w - math.log(samples),
            elbo=reconstruction / samples - gaussian_kl(mean, log_std),
            effective_samples=torch.exp(2 * log_w - log_w2),
        )

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` pictures, uint8 ``(n, C, H, W)``: z ~ N(0, I), then x ~ p(x|z), not only its mean."""
        p = self.likelihood(self.latents(n, generator=generator))
        uniforms = torch.rand((n, *self.shape), generator=generator, dtype=torch.float64)
        return dequantize(p.icdf(uniforms.to(self.device)), self.levels)

    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes z ~ N(0, I), ``(n, latent)``."""
        return standard_normal((n, self.config.latent), generator, self.device).to(self.dtype)

    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of q(z|x), ``(B, latent)``, of uint8 pictures ``(B, C, H, W)``; it has no classes."""
        self.checked_labels(labels, len(images))
        return self.posterior(self.checked_levels(images))[0]

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean picture of p(x|z), uint8 ``(B, C, H, W)``, of codes ``(B, latent)``; it has no classes."""
        self.checked_labels(labels, len(z))
        return torch.round(self.likelihood(z.to(self.device)).mean * 255).to(torch.uint8)


def gaussian_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) in closed form (1312.6114, appendix B), nats ``(B,)``, of μ and ln σ ``(B, latent)``."""
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)
