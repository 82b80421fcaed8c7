r"""Variational autoencoder (Kingma and Welling 2013, arXiv 1312.6114); its bounds are in ``bounded.py``.

Encoder and decoder are both Gaussian, each with a mean and a (diagonal) covariance:

.. math:: q(z \mid x) = N(μ_z(x), \mathrm{diag}\,σ_z^2(x)), \quad p(x \mid z) = N(μ_x(z), \mathrm{diag}\,σ_x^2(z))

where the decoder's normal is integrated over each level's bin, so that it is a likelihood of discrete images
(for binary images it is a Bernoulli, whose variance p(1 - p) follows from its mean). The prior p(z) is N(0, I), whose
KL has a closed form, or a learned mixture (``priors.py``). Given a class y: q(z|x, y), p(x|z, y), and p(z) as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner import kernels
from limner.distributions import Bernoulli, PixelDistribution, at_least_float32
from limner.models.bounded import Bounded, BoundedConfig, Draw, Weights
from limner.models.contracts import standard_normal
from limner.models.heads import HeadConfig, PixelHead
from limner.models.importance import (
    at_once,
    log_normal,
    own_noise,
    own_uniforms,
    resampled,
    scaled_gradient,
    with_gradient_of,
)
from limner.models.priors import GaussianMixture
from limner.models.training_loops import terms_by_loops
from limner.models.two_phase import two_phase
from limner.nn.coders import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from limner.ranges import Decay, Positive

__all__ = ["VAE", "VAEConfig"]


@dataclass(frozen=True)
class VAEConfig(HeadConfig, BoundedConfig):
    """The variational autoencoder."""

    latent: Positive = 40
    """Dimensions of z; 2 for the image of the latent plane."""
    network: Literal["dense", "conv"] = "conv"
    """Layers of encoder and decoder: dense (as published) or convolutional."""
    hidden: Positive = 400
    """Units of each of the two hidden layers (dense)."""
    activation: Literal["gelu", "tanh"] = "gelu"
    """After each hidden layer (dense); tanh is the published one."""
    features: Positive = 32
    """Feature maps at full size, doubled at each halving (conv)."""
    input_dropout: Decay = 0.0
    """Part of the values that the encoder does not see in training: the bound stays one, and the encoder learns less by
    heart (1805.08913)."""
    output_scale: bool = False
    """Whether a learned number multiplies all that the decoder gives: no model more can be told, but its last layer's
    weights, each of which sees much noise, grow together by it (docs/notes/vae.md)."""
    gradient: Literal["doubly-reparameterized", "reparameterized"] = "doubly-reparameterized"
    """How the encoder learns: without the noise of its score, by 1810.04152 (K = 1: 1703.09194), or by all of ∇ ln w;
    in the mean they are the same."""
    gradient_samples: Positive = 4
    """Of the K samples those through which the doubly reparameterized gradient goes, drawn in proportion to their
    weights (1509.00519, section 3); all where K is no larger."""
    prior: Literal["normal", "mixture", "vamp"] = "normal"
    """p(z): N(0, I), a learned mixture of Gaussians, or the VampPrior (1705.07120)."""
    prior_components: Positive = 100
    """Gaussians of the learned prior."""


class VAE(Bounded):
    """See the module's text.

    Args:
        config: Its sizes.
        shape: ``(C, H, W)``.
        levels: Values of a pixel, L.

    Raises:
        LimnerError: A head that is not for these images.
    """

    config: VAEConfig

    def __init__(self, config: VAEConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        c, h, w = shape
        self.head = PixelHead(config, shape, levels)
        seen, codes = (c + (self.classes > 0), h, w), config.latent + self.classes
        self.encoder: nn.Module
        self.decoder: nn.Module
        if config.network == "dense":
            activation = {"gelu": nn.GELU, "tanh": nn.Tanh}[config.activation]
            self.encoder = DenseEncoder(seen, config.hidden, 2 * config.latent, activation)
            self.decoder = DenseDecoder(codes, config.hidden, (self.head.maps, h, w), activation)
            nn.init.zeros_(self.decoder.linears[-1].weight)  # no pixel begins with noise that it has to unlearn
        else:
            self.encoder = ConvEncoder(seen, config.features, 2 * config.latent)
            self.decoder = ConvDecoder(codes, config.features, (self.head.maps, h, w))
        self.log_scale = nn.Parameter(torch.zeros(())) if config.output_scale else None
        if config.network == "dense":
            self.rows = 5000
            if self.head.kind == "sigmoid":  # by compiled loops: 10,000 MNIST digits in about a minute
                self.default_importance_samples = 5000
                self.rows = 50_000 if kernels.available() else 5000  # torch's idle threads disturb long loops less
        self.planes = nn.Embedding(self.classes, h * w) if self.classes else None  # what the encoder sees of a class
        m, d = config.prior_components, config.latent
        match config.prior:
            case "mixture":
                self.mixture_logits = nn.Parameter(torch.zeros(m))
                self.mixture_mean = nn.Parameter(torch.randn(m, d))
                self.mixture_log_std = nn.Parameter(torch.zeros(m, d))
            case "vamp":
                self.pseudo_inputs = nn.Parameter(torch.randn(m, *shape))

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z|x), each ``(B, latent)``, of intensities ``(B, C, H, W)``; ln σ bounded to ±7."""
        if self.planes is not None:
            x = torch.cat([x, self.planes(labels).view(-1, 1, *self.shape[1:])], 1)
        mean, log_std = at_least_float32(self.encoder(x)).chunk(2, 1)
        return mean, 7 * torch.tanh(log_std / 7)

    def _likelihood(self, z: Tensor, labels: Tensor | None) -> PixelDistribution:
        maps = self.decoder(self._with_class(z, labels))
        return self.head(maps if self.log_scale is None else self.log_scale.exp() * maps)

    def log_likelihood(self, k: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """ln p(x|z), nats ``(S, B)``, of levels int64 ``(B, C, H, W)`` given codes ``(S, B, latent)``.

        Where there is a compiled loop for it and no gradient is asked for, by that; under autocast in bfloat16.
        """
        y = None if labels is None else labels.repeat(len(z))
        floats = z.device.type == "cpu" and z.dtype == self.dtype == torch.float32 and not torch.is_grad_enabled()
        binary = self.head.kind == "sigmoid"
        if isinstance(self.decoder, DenseDecoder) and binary and floats and kernels.available():
            from limner.nn.compiled_dense import bernoulli_log_prob

            z = self._with_class(z.flatten(0, 1), y).view(*z.shape[:2], -1)
            scale = 1.0 if self.log_scale is None else self.log_scale.exp().item()
            return bernoulli_log_prob(self.decoder, z, k, scale=scale, bf16=torch.is_autocast_enabled("cpu"))
        p = self.likelihood(z.flatten(0, 1), y)  # of (S·B, C, H, W)
        if isinstance(p, Bernoulli):  # images need not be repeated
            return Bernoulli(p.logits.unflatten(0, z.shape[:2])).log_prob(k).flatten(2).sum(2)
        return p.log_prob(k.repeat(len(z), 1, 1, 1)).flatten(1).sum(1).view(z.shape[:2])

    def _with_class(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """``z`` ``(B, latent)`` and the class, one-hot, where there are classes."""
        return z if labels is None else torch.cat([z, F.one_hot(labels, self.classes).to(z)], 1)

    def prior(self) -> GaussianMixture | None:
        """The learned p(z); None is N(0, I)."""
        match self.config.prior:
            case "mixture":
                return GaussianMixture(
                    torch.log_softmax(self.mixture_logits, 0),
                    self.mixture_mean,
                    7 * torch.tanh(self.mixture_log_std / 7),
                )
            case "vamp":
                m = self.config.prior_components
                classes = torch.arange(m, device=self.device) % self.classes if self.classes else None
                mean, log_std = self.posterior(torch.tanh(self.pseudo_inputs), classes)
                return GaussianMixture(torch.full_like(mean[:, 0], -math.log(m)), mean, log_std)
        return None

    def infer(self, k: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z|x), each ``(B, latent)``."""
        return self.posterior(F.dropout(self.intensities(k), self.config.input_dropout, self.training), labels)

    def log_posterior(self, inferred: tuple[Tensor, ...], labels: Tensor | None, z: Tensor) -> Tensor:
        """See ``Bounded``."""
        return log_normal(z, *inferred).sum(1)

    def weights(
        self,
        k: Tensor,
        inferred: tuple[Tensor, ...],
        labels: Tensor | None,
        samples: int,
        draw: Draw,
        scale: float = 1.0,
    ) -> Weights:
        """See ``Bounded``; the groups of latents are the dimensions of z."""
        mean, log_std = inferred[0], inferred[1] + math.log(scale)
        noise = draw(samples, mean.shape[1:]).to(mean)
        z = mean + torch.exp(log_std) * noise  # (S, B, latent)
        return self._weights_of(k, labels, z, noise, mean, log_std)

    def _weights_of(
        self, k: Tensor, labels: Tensor | None, z: Tensor, noise: Tensor, mean: Tensor, log_std: Tensor
    ) -> Weights:
        """Of codes ``z`` ``(S, B, latent)``, which are ``noise`` away from the mean, in σ."""
        log_x = self.log_likelihood(k, z, labels)
        prior = self.prior()
        if prior is None:  # the 2π of ln p(z) - ln q(z|x) cancel
            log_ratio = 0.5 * (noise**2 - z**2) + log_std
            return Weights(log_x, log_ratio.sum(2), gaussian_kl(mean, log_std).T.unsqueeze(1))
        log_q = -(0.5 * noise**2 + log_std + 0.5 * math.log(2 * math.pi)).sum(2)
        log_ratio = prior.log_prob(z) - log_q
        return Weights(log_x, log_ratio, -log_ratio.unsqueeze(0))

    def _path(
        self, k: Tensor, labels: Tensor | None, noise: Tensor, mean: Tensor, log_std: Tensor, factor: Tensor
    ) -> Weights:
        """The same, whose gradient in μ and σ goes by way of z only, ``factor`` ``(S, B, 1)`` times."""
        z = scaled_gradient(mean + torch.exp(log_std) * noise, factor)
        mean, log_std = mean.detach(), log_std.detach()
        noise = (z - mean) * torch.exp(-log_std)
        w = self._weights_of(k, labels, z, noise, mean, log_std)
        if self.config.prior != "normal":
            return w
        sampled = (0.5 * (z**2 - noise**2) - log_std).mean(0)  # what the closed form is the mean of
        return Weights(w.log_x, w.log_ratio, with_gradient_of(w.kl, sampled.T.unsqueeze(1)))

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """As of ``Bounded``; in training its gradient is the config's."""
        if (terms := terms_by_loops(self, images, generator)) is not None:
            return terms
        doubly = self.config.gradient == "doubly-reparameterized" and self.training and torch.is_grad_enabled()
        if not doubly or (self.classes and labels is None):
            return super().loss_terms(images, generator, labels)
        k = self.checked_levels(images)
        labels = self.checked_labels(labels, len(k))
        samples, n = self.samples, self.config.gradient_samples
        mean, log_std = self.infer(k, labels)
        noise = standard_normal((samples, *mean.shape), generator, k.device).to(mean)
        if samples == 1:
            return self.elbo_terms(self._path(k, labels, noise, mean, log_std, torch.ones_like(noise[:, :, :1])))
        with torch.no_grad():
            w = self._weights_of(k, labels, mean + torch.exp(log_std) * noise, noise, mean, log_std)
            bound, weight = w.bound, torch.softmax(w.log_x + w.log_ratio, 0).to(mean)  # (S, B)
            part = weight
            if n < samples:
                chosen = resampled(weight, n, generator)
                noise = noise.gather(0, chosen.unsqueeze(2).expand(-1, -1, noise.shape[2]))
                weight = weight.gather(0, chosen)
                part = torch.full_like(weight, 1 / n)
        w = self._path(k, labels, noise, mean, log_std, weight.unsqueeze(2))
        return {"nll": -with_gradient_of(bound, (part * (w.log_x + w.log_ratio)).sum(0))}

    def decodes(self, samples: int, one_in: int) -> int:
        """A part of many, where a dense decoder makes them: fewer tell too little, or the polynomial costs as much."""
        many = self.config.network == "dense" and samples >= max(1000, 20 * self.config.latent)
        return samples // one_in if many else samples

    def _sums(
        self, k: Tensor, q: Bounded, y: Tensor | None, samples: int, scale: float, names: list[str], one_in: int
    ) -> Tensor:
        """As of ``Bounded``; many samples of a dense decoder in ``two_phase``."""
        n = self.decodes(samples, one_in)
        if n == samples:
            return super()._sums(k, q, y, samples, scale, names, one_in)
        found = []
        for at in range(0, len(k), size := max(1, at_once(self.rows, self.shape, k.device) // n)):
            part, labels, own = k[at : at + size], None if y is None else y[at : at + size], names[at : at + size]
            mean, log_std = q.infer(part, labels)
            log_weight = partial(self._log_weight, part, labels, mean, log_std + math.log(scale))
            noise = own_noise(own, k.device)(samples, mean.shape[1:]).to(mean)
            uniforms = own_uniforms([f"{name}/decoded" for name in own], k.device)
            found.append(two_phase(log_weight, noise, n, uniforms))
        return torch.cat(found, 1)

    def _log_weight(self, k: Tensor, labels: Tensor | None, mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
        """ln w, nats ``(S, B)``, of the sample that is ``noise`` ``(S, B, latent)`` away from the mean, in σ."""
        w = self._weights_of(k, labels, mean + torch.exp(log_std) * noise, noise, mean, log_std)
        return w.log_x + w.log_ratio

    @torch.no_grad()
    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes z ~ p(z), ``(n, latent)``: standard normal unless the prior is learned."""
        prior = self.prior()
        if prior is not None:
            return prior.sample(n, generator)
        return standard_normal((n, self.config.latent), generator, self.device).to(self.dtype)

    def features(self, images: Tensor) -> Tensor:
        """The mean of q(z|x), ``(B, latent)``, of uint8 images ``(B, C, H, W)``, with its gradient."""
        return self.posterior(self.intensities(self.checked_levels(images)), self.likeliest(images))[0]

    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of q(z|x, y), ``(B, latent)``, of uint8 images; without labels of the ``likeliest`` class."""
        labels = self.checked_labels(labels, len(images))
        if labels is None:
            return self.features(images)
        return self.posterior(self.intensities(self.checked_levels(images)), labels)[0]


def gaussian_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) in closed form (1312.6114, appendix B), nats, of μ and ln σ, of each dimension."""
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1) - log_std
