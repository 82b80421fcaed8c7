r"""Variational autoencoder (Kingma and Welling 2013, arXiv 1312.6114).

.. math:: \ln p(x) \ge E_{q(z|x)}\left[\ln p(x \mid z)\right] - KL(q(z \mid x) \,\|\, p(z))

is the ELBO, which ``VAE.loss_terms`` writes out. Encoder and decoder are both Gaussian, each with a mean and a
(diagonal) covariance:

.. math:: q(z \mid x) = N(μ_z(x), \mathrm{diag}\,σ_z^2(x)), \quad p(x \mid z) = N(μ_x(z), \mathrm{diag}\,σ_x^2(z))

where the decoder's normal is integrated over each level's bin, so that it is a likelihood of discrete images
(for binary images it is a Bernoulli, whose variance p(1 - p) follows from its mean). The prior p(z) is N(0, I), whose
KL has a closed form, or a learned mixture (``priors.py``). Given a class y: q(z|x, y), p(x|z, y), and p(z) as it is.
The bound of K samples and other gradients are in ``importance.py``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.devices import beside
from limner.distributions import PixelDistribution
from limner.models.bounded import Bounded, BoundedConfig
from limner.models.contracts import Numbers, standard_normal
from limner.models.families import Family
from limner.models.heads import HeadConfig, PixelHead, usual_head
from limner.models.importance import (
    Draw,
    Weights,
    doubly_reparameterized,
    gaussian_kl,
    log_likelihood,
    mean_log_std,
)
from limner.models.priors import GaussianMixture
from limner.models.recipes import DEMO, Recipe, TrainingConfig, is_large
from limner.nn.coders import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from limner.ranges import Positive

__all__ = ["VAE", "VAEConfig"]


@dataclass(frozen=True)
class VAEConfig(HeadConfig, BoundedConfig):
    """The variational autoencoder."""

    GONE: ClassVar[dict[str, Any]] = BoundedConfig.GONE | {
        "input_dropout": 0.0,
        "output_scale": False,
        "gradient_samples": 4,
    }

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
    gradient: Literal["reparameterized", "doubly-reparameterized"] = "reparameterized"
    """How the encoder learns: by the gradient of the ELBO as it is written, or without the noise of the encoder's
    score (1810.04152; K = 1: 1703.09194); in the mean they are the same."""
    prior: Literal["normal", "mixture", "vamp"] = "normal"
    """p(z): N(0, I), a learned mixture of Gaussians, or the VampPrior (1705.07120)."""
    prior_components: Positive = 100
    """Gaussians of the learned prior."""


class VAE(Bounded):
    """See the module's text.

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
            nn.init.zeros_(cast(nn.Linear, self.decoder[-2]).weight)  # no pixel begins with noise to unlearn
        else:
            self.encoder = ConvEncoder(seen, config.features, 2 * config.latent)
            self.decoder = ConvDecoder(codes, config.features, (self.head.maps, h, w))
        self.decoded_values = h * w * max(self.head.maps, config.features if config.network == "conv" else 1)
        self.planes = nn.Embedding(self.classes, h * w) if self.classes else None  # what the encoder sees of a class
        self.normal_prior = config.prior == "normal"
        m, d = config.prior_components, config.latent
        if config.prior == "mixture":
            self.mixture_logits = nn.Parameter(torch.zeros(m))
            self.mixture_mean = nn.Parameter(torch.randn(m, d))
            self.mixture_log_std = nn.Parameter(torch.zeros(m, d))
        elif config.prior == "vamp":
            self.pseudo_inputs = nn.Parameter(torch.randn(m, *shape))

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: those of encoder and decoder but the first and the last; none of the prior's."""
        named = self.named_parameters()
        weights = [name for name, p in named if p.dim() >= 2 and name.startswith(("encoder", "decoder"))]
        return dict.fromkeys(weights[1:-1], 1)

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z|x), each ``(B, latent)``, of intensities ``(B, C, H, W)``; ln σ bounded to ±7."""
        if self.planes is not None:
            x = torch.cat([x, self.planes(labels).view(-1, 1, *self.shape[1:])], 1)
        return mean_log_std(self.encoder(x))

    def infer(self, levels: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z|x), each ``(B, latent)``."""
        return self.posterior(self.intensities(levels), labels)

    def prior(self) -> GaussianMixture | None:
        """The learned p(z); None is N(0, I)."""
        if self.config.prior == "mixture":
            log_std = 7 * torch.tanh(self.mixture_log_std / 7)
            return GaussianMixture(torch.log_softmax(self.mixture_logits, 0), self.mixture_mean, log_std)
        if self.config.prior == "vamp":
            m = self.config.prior_components
            classes = torch.arange(m, device=self.device) % self.classes if self.classes else None
            mean, log_std = self.posterior(torch.tanh(self.pseudo_inputs), classes)
            return GaussianMixture(torch.full_like(mean[:, 0], -math.log(m)), mean, log_std)
        return None

    def _likelihood(self, z: Tensor, labels: Tensor | None) -> PixelDistribution:
        if labels is not None:  # the decoder sees the class, one-hot, beside z
            z = torch.cat([z, F.one_hot(labels, self.classes).to(z)], 1)
        return self.head(self.decoder(z))

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``reconstruction`` = -ln p(x|z) of one z ~ q(z|x) and ``kl``, nats, each ``(B,)``; their sum is -ELBO.

        With K > 1 importance samples, or of a conditional model without labels, see ``Bounded.loss_terms``.
        """
        doubly = self.config.gradient == "doubly-reparameterized" and self.training
        if (self.classes and labels is None) or (self.config.importance_samples > 1 and not doubly):
            return super().loss_terms(images, generator, labels)
        if doubly:
            return self._doubly_reparameterized_terms(images, generator, labels)
        levels = self.checked_levels(images)
        labels = self.checked_labels(labels, len(levels))
        mean, log_std = self.posterior(self.intensities(levels), labels)  # q(z|x) = N(μ, σ²)
        noise = standard_normal(mean.shape, generator, levels.device).to(mean)
        z = mean + torch.exp(log_std) * noise  # z ~ q(z|x), reparameterized
        reconstruction = -self._likelihood(z, labels).log_prob(levels).flatten(1).sum(1)  # -ln p(x|z)
        prior = self.prior()
        if prior is None:
            kl = gaussian_kl(mean, log_std).T  # KL(q ‖ N(0, I)), (latent, B)
        else:
            kl = (beside(log_normal(noise, log_std)) - prior.log_prob(z)).unsqueeze(0)  # ln q(z|x) - ln p(z) of this z
        return self.elbo_terms(reconstruction, kl)

    def _doubly_reparameterized_terms(
        self, images: Tensor, generator: torch.Generator | None, labels: Tensor | None
    ) -> dict[str, Tensor]:
        levels = self.checked_levels(images)
        labels = self.checked_labels(labels, len(levels))
        mean, log_std = self.infer(levels, labels)
        shape = (self.config.importance_samples, *mean.shape)
        noise = standard_normal(shape, generator, levels.device, images=1).to(mean)
        weigh = functools.partial(self._weigh, levels, labels)
        w, bound = doubly_reparameterized(weigh, mean, log_std, noise, sampled_kl=not self.normal_prior)
        return {"nll": -bound} if len(noise) > 1 else self.elbo_terms(-w.log_x[0], w.kl[:, 0])

    def _weigh(
        self, levels: Tensor, labels: Tensor | None, z: Tensor, noise: Tensor, mean: Tensor, log_std: Tensor
    ) -> Weights:
        """What the bounds are made of, of codes ``z`` ``(S, B, latent)``, which are ``noise`` away from μ, in σ."""
        p = self._likelihood(z.flatten(0, 1), None if labels is None else labels.repeat(len(z)))
        log_x = log_likelihood(p, levels, len(z))  # ln p(x|z)
        prior = self.prior()
        if prior is None:
            log_ratio = (0.5 * (noise**2 - z**2) + log_std).sum(2)  # ln p(z) - ln q(z|x), whose 2π cancel
            kl = gaussian_kl(mean, log_std).T.unsqueeze(1)  # KL(q ‖ N(0, I)) of each dimension, in closed form
        else:
            log_ratio = prior.log_prob(z) - beside(log_normal(noise, log_std))
            kl = -log_ratio.unsqueeze(0)  # of this z
        return Weights(log_x, log_ratio, kl)

    def weights(
        self, levels: Tensor, inferred: tuple[Tensor, ...], labels: Tensor | None, num_samples: int, draw: Draw
    ) -> Weights:
        """See ``Bounded.weights``: the groups of latents are the dimensions of z."""
        mean, log_std = inferred
        noise = draw(num_samples, mean.shape[1:]).to(mean)
        return self._weigh(levels, labels, mean + torch.exp(log_std) * noise, noise, mean, log_std)

    def codes(self, generator: torch.Generator | None) -> Numbers:
        """Codes z ~ p(z), ``(n, latent)``: standard normal unless the prior is learned."""
        prior = self.prior()
        if prior is not None:
            return lambda n: prior.sample(n, generator)
        return lambda n: standard_normal((n, self.config.latent), generator, self.device).to(self.dtype)


def log_normal(noise: Tensor, log_std: Tensor) -> Tensor:
    """ln N(z; μ, σ²), nats ``(...)``, where z is ``noise`` ``(..., latent)`` away from μ, in σ."""
    return -(0.5 * noise**2 + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


_TRAINING = TrainingConfig(batch_size=128, ema_decay=0.999, clip_norm=400.0)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """Dense layers up to 32×32 grey images, of which a step takes a tenth; convolutions and Muon for larger ones."""
    if math.prod(shape) <= 1024:
        return Recipe(VAEConfig(network="dense", head=usual_head(shape)), _TRAINING)
    batch = 32 if is_large(shape) else 128
    training = replace(_TRAINING, batch_size=batch, optimizer="muon", learning_rate=3e-3, warmup_steps=30)
    return Recipe(VAEConfig(network="conv", head=usual_head(shape)), training)


def _published(shape: tuple[int, int, int]) -> Recipe:
    """One stochastic layer of 50 and two hidden layers of 200, as in arXiv 1509.00519."""
    sizes = VAEConfig(network="dense", latent=50, hidden=200, activation="tanh", gradient="doubly-reparameterized")
    training = replace(
        _TRAINING, optimizer="muon", learning_rate=2e-3, matrix_learning_rate=6e-3, weight_decay=0.005,
        augment="shift=1,elastic=1", ema_decay=0.9995, cooldown=0.8,
    )  # fmt: skip
    return Recipe(sizes, training)


def _iwae(shape: tuple[int, int, int]) -> Recipe:
    """The same, trained on the bound of 50 importance samples."""
    published = _published(shape)
    return replace(published, network=replace(published.network, importance_samples=50))


FAMILIES = (
    Family(
        name="vae",
        model=VAE,
        config=VAEConfig,
        paper="Kingma and Welling 2013, arXiv 1312.6114",
        summary="A bound of the likelihood, samples at once, and a latent space to walk in.",
        recipes={"default": _default, "published": _published, "iwae": _iwae},
        demo=lambda shape: Recipe(
            VAEConfig(latent=2, network="dense", hidden=256), replace(DEMO, learning_rate=2e-3, epochs=50)
        ),
        tiny=("network=dense", "hidden=16", "latent=2"),
        in_demo=True,
    ),
)
