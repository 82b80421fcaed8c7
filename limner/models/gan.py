r"""Generative adversarial network (Goodfellow et al. 2014, arXiv 1406.2661).

A generator turns noise :math:`z \sim N(0, I)` into an image G(z); a discriminator gives an image's logit D(x), and
σ(D(x)) is how probable it is that x is from the data. They play

.. math:: \min_G \max_D \; E_x \ln σ(D(x)) + E_z \ln(1 - σ(D(G(z))))

or one of its successors: :data:`OBJECTIVES`. ``training/adversarial.py`` lets them take turns. There is no p(x):
samples, but no likelihood. Given a class y the generator gets an embedding of y beside z, and the discriminator's logit
is a projection (Miyato and Koyama 2018, arXiv 1802.05637): :math:`D(x, y) = ψ(φ(x)) + \langle v_y, φ(x) \rangle`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from limner.data.levels import dequantize
from limner.errors import LimnerError
from limner.models.contracts import ConditionalConfig, Model, standard_normal
from limner.models.families import Family
from limner.models.recipes import AdversarialConfig, Recipe, TrainingConfig
from limner.nn import coders
from limner.nn.norms import take_standing_statistics
from limner.ranges import NotNegative, Positive

__all__ = ["GAN", "OBJECTIVES", "Discriminator", "GANConfig", "Generator", "relativistic"]


@dataclass(frozen=True)
class GANConfig(ConditionalConfig):
    """The generative adversarial network."""

    latent: Positive = 64
    """Dimensions of z."""
    network: Literal["dense", "dcgan", "residual"] = "dcgan"
    """Layers of both players: dense (as first published), strided convolutions with BatchNorm in the generator
    (DCGAN, arXiv 1511.06434), or residual blocks without any normalisation."""
    hidden: Positive = 256
    """Features φ(x) that the discriminator judges by, and units of each hidden layer (dense)."""
    features: Positive = 32
    """Feature maps at full size, doubled at each halving (dcgan, residual)."""
    generator_features: NotNegative = 0
    """The same of the generator, where it shall be wider or narrower than the discriminator; 0: as `features`."""
    discriminator_norm: Literal["none", "batch", "spectral"] = "none"
    """Of the discriminator's layers: none, BatchNorm (as in DCGAN), or spectral: σ_max(W) = 1 (arXiv 1802.05957)."""

    def __post_init__(self) -> None:
        if self.discriminator_norm == "batch" and self.network != "dcgan":
            raise LimnerError(
                "discriminator_norm=batch is for network=dcgan: choose that, or discriminator_norm=spectral"
            )

    def check_training(self, training: TrainingConfig) -> None:
        """Raise a ``LimnerError`` where a penalty is asked of a discriminator whose logits depend on their batch."""
        penalty = training.chosen_penalty if isinstance(training, AdversarialConfig) else "none"
        if self.discriminator_norm == "batch" and penalty != "none":
            raise LimnerError(
                f"penalty={penalty}: with BatchNorm an image's logit depends on its batch, and so would the penalty; "
                "choose discriminator_norm=none or spectral, or penalty=none"
            )


class Generator(nn.Module):
    """z ``(B, latent)``, and y int64 ``(B,)`` where there are classes → images in [-1, 1], ``(B, C, H, W)``."""

    def __init__(self, config: GANConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.classes = nn.Embedding(config.classes, config.latent) if config.classes else None
        inputs, features = config.latent * (1 + (config.classes > 0)), config.generator_features or config.features
        self.layers: nn.Module
        match config.network:
            case "dense":
                self.layers = coders.DenseDecoder(inputs, config.hidden, shape)
            case "dcgan":
                self.layers = coders.StridedDecoder(inputs, features, shape)
            case "residual":
                self.layers = coders.keeping_variance(coders.ConvDecoder(inputs, features, shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """See the class."""
        if self.classes is not None and labels is not None:
            z = torch.cat([z, self.classes(labels)], 1)
        return torch.tanh(self.layers(z))


class Discriminator(nn.Module):
    """Images in [-1, 1] ``(B, C, H, W)``, and y int64 ``(B,)`` where there are classes → logits ``(B,)``."""

    def __init__(self, config: GANConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.layers: nn.Module
        match config.network:
            case "dense":
                self.layers = coders.DenseEncoder(shape, config.hidden, config.hidden)
            case "dcgan":
                norm = config.discriminator_norm == "batch"
                self.layers = coders.StridedEncoder(shape, config.features, config.hidden, norm)
            case "residual":
                self.layers = coders.keeping_variance(coders.ConvEncoder(shape, config.features, config.hidden))
        self.out = nn.Linear(config.hidden, 1)
        self.classes = nn.Embedding(config.classes, config.hidden) if config.classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, std=config.hidden**-0.5)  # a logit of order 1, as ψ gives
        if config.discriminator_norm == "spectral":
            for module in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]:
                nn.init.orthogonal_(module.weight)  # a weight that starts at zero has no largest singular value
                spectral_norm(module)

    def features(self, x: Tensor) -> Tensor:
        """φ(x), ``(B, hidden)``, of images in [-1, 1]."""
        return F.leaky_relu(self.layers(x), 0.2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """See the class."""
        features = self.features(x)
        logits = self.out(features).squeeze(1)
        if self.classes is not None and labels is not None:
            logits = logits + (self.classes(labels) * features).sum(1)
        return logits


Losses = tuple[Tensor, Tensor]
"""What discriminator and generator minimise, of logits ``real`` = D(x) and ``fake`` = D(G(z)), all four ``(B,)``."""


def minimax(real: Tensor, fake: Tensor) -> Losses:
    r"""The game itself (Goodfellow et al. 2014, equation 1): the generator descends what the discriminator ascends.

    .. math:: \min_G \max_D \; \ln σ(D(x)) + \ln(1 - σ(D(G(z))))

    As 1 - σ(d) = σ(-d), no logit gives an infinity. Where the discriminator is sure of a fake, the generator's slope is
    σ(D(G(z))) ≈ 0: it saturates.
    """
    return -F.logsigmoid(real) - F.logsigmoid(-fake), F.logsigmoid(-fake)


def non_saturating(real: Tensor, fake: Tensor) -> Losses:
    r"""The same discriminator; the generator ascends :math:`\ln σ(D(G(z)))` (Goodfellow et al. 2014, section 3).

    Its slope is 1 - σ(D(G(z))): largest where its images are poor.
    """
    return -F.logsigmoid(real) - F.logsigmoid(-fake), -F.logsigmoid(fake)


def least_squares(real: Tensor, fake: Tensor) -> Losses:
    r"""LSGAN (Mao et al. 2017, arXiv 1611.04076, equation 9), with targets 0, 1 and 1.

    .. math:: \min_D \tfrac12 (D(x) - 1)^2 + \tfrac12 D(G(z))^2, \quad \min_G \tfrac12 (D(G(z)) - 1)^2
    """
    return 0.5 * (real - 1) ** 2 + 0.5 * fake**2, 0.5 * (fake - 1) ** 2


def hinge(real: Tensor, fake: Tensor) -> Losses:
    r"""The hinge loss (Lim and Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17).

    .. math:: \min_D \max(0, 1 - D(x)) + \max(0, 1 + D(G(z))), \quad \min_G -D(G(z))
    """
    return F.relu(1 - real) + F.relu(1 + fake), -fake


def wasserstein(real: Tensor, fake: Tensor) -> Losses:
    r"""The Wasserstein distance's dual (Arjovsky et al. 2017, arXiv 1701.07875); a penalty keeps D 1-Lipschitz.

    .. math:: \min_G \max_D \; D(x) - D(G(z))
    """
    return -(real - fake), -fake


def relativistic(real: Tensor, fake: Tensor) -> Losses:
    r"""RpGAN (Jolicoeur-Martineau 2018, arXiv 1807.00734), with R1 and R2 the R3GAN of Huang et al. 2024 (2501.05441).

    .. math:: \max_D \; \ln σ(D(x) - D(G(z))), \quad \max_G \; \ln σ(D(G(z)) - D(x))

    in pairs of an image and a sample: which of the two is the more real one. It does not saturate.
    """
    return -F.logsigmoid(real - fake), -F.logsigmoid(fake - real)


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Losses]] = {
    "minimax": minimax,
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "relativistic": relativistic,
}


class GAN(Model):
    """See the module's text."""

    config: GANConfig

    def __init__(self, config: GANConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        self.generator = Generator(config, shape)
        self.discriminator = Discriminator(config, shape)

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Both players: ``real_logit`` of the images and ``fake_logit`` of as many samples, each ``(B,)``."""
        x = self.intensities(self.checked_levels(images))
        y, _ = self.drawn(len(x), generator, labels if self.classes else None)
        fakes = self.generator(self.latents(len(x), generator=generator), y)
        return {"real_logit": self.discriminator(x, y), "fake_logit": self.discriminator(fakes, y)}

    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """z ~ N(0, I), ``(n, latent)``."""
        return standard_normal((n, self.config.latent), generator, self.device).to(self.dtype)

    def draw(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """G(z) in [-1, 1], ``(B, C, H, W)``; of a conditional model the classes int64 ``(B,)`` are needed.

        Raises:
            LimnerError: Labels that the model does not know, or none where it needs them.
        """
        if self.classes and labels is None:
            raise LimnerError(f"this GAN draws an image of one of {self.classes} classes: give labels")
        return self.generator(z.to(self.device), self.checked_labels(labels, len(z)))

    def take_standing_statistics(self, batch_size: int, batches: int) -> None:
        """Give the generator's BatchNorm the moments of its own samples, the same ones at each call."""
        random = torch.Generator().manual_seed(0)

        def draw() -> None:
            y = torch.randint(self.classes, (batch_size,), generator=random) if self.classes else None
            self.draw(self.latents(batch_size, generator=random), y)

        take_standing_statistics(self.generator, draw, batches)

    def features(self, images: Tensor) -> Tensor:
        """φ(x), what the discriminator judges by, ``(B, hidden)``, of uint8 images ``(B, C, H, W)``."""
        return self.discriminator.features(self.intensities(self.checked_levels(images)))

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """G(z) with each value at the nearest level, uint8 ``(B, C, H, W)``; the errors are those of ``draw``."""
        intensities = (self.draw(z, labels) + 1) / 2  # in [0, 1]
        return dequantize(torch.round(intensities * (self.levels - 1)), self.levels)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``, of ``labels`` int64 ``(n,)`` or of classes drawn uniformly.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        labels, (z,) = self.drawn(n, generator, labels, lambda n: self.latents(n, generator=generator))
        return self.decode(z, labels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """Narrow convolutional players with R1 and R2 every fourth step; for RGB a weaker penalty, and smaller batches."""
    rates = AdversarialConfig(learning_rate=5e-4, discriminator_learning_rate=1e-3)
    training = replace(rates, penalty_every=4, ema_decay=0.9995)
    if shape[0] == 3:
        training = replace(training, batch_size=32, learning_rate=1e-3, zero_penalty=0.1)
    return Recipe(GANConfig(features=8, generator_features=16, hidden=128), training)


def _strong(shape: tuple[int, int, int]) -> Recipe:
    """Players twice as wide: for a GPU, or for longer runs."""
    default = _default(shape)
    return replace(default, network=replace(default.network, features=16, generator_features=32))


def _residual(shape: tuple[int, int, int]) -> Recipe:
    """Residual players, and rates at which these learn."""
    network = GANConfig(network="residual", features=16, hidden=128)
    return Recipe(network, AdversarialConfig(learning_rate=2e-4, discriminator_learning_rate=2e-4))


FAMILIES = (
    Family(
        name="gan",
        model=GAN,
        config=GANConfig,
        paper="Goodfellow et al. 2014, arXiv 1406.2661",
        summary="Sharp samples in one pass from a generator trained against a discriminator; no density.",
        recipes={"default": _default, "strong": _strong, "residual": _residual},
        demo=lambda shape: Recipe(
            GANConfig(network="dense", latent=16, hidden=128),
            AdversarialConfig(precision="float32", learning_rate=1e-3, epochs=60, augment="none"),
        ),
        training=AdversarialConfig,
        tiny=("network=dense", "hidden=16", "latent=4", "keep=last"),
        in_demo=True,
    ),
)
