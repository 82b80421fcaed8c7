r"""Autoencoder (Hinton and Salakhutdinov 2006, Science 313) and denoising autoencoder (Vincent et al. 2008, ICML).

An encoder f makes a short code of an image, a decoder g an image of the code, and training makes the two alike:

.. math:: z = f(\tilde x), \quad \hat x = g(z), \quad \min_{f, g} \| x - \hat x \|^2

The input :math:`\tilde x` is x itself, or x with a part of its values destroyed (denoising), of which the whole image
is to be restored. Where it is x moved, turned and sheared a little, codes come out that do not depend on these
(Sundermeyer et al. 2018, arXiv 1902.01275). For binary images the error is the cross-entropy of the pixels instead of
the square. There is no p(z) and no p(x): nothing is drawn, and an error is no likelihood, the cross-entropy neither, as
z is read off x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.distributions import at_least_float32
from limner.models.contracts import Model, standard_normal, uniform
from limner.models.families import Family
from limner.models.recipes import DEMO, Recipe, TrainingConfig
from limner.nn.coders import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from limner.ranges import Fraction, Positive

__all__ = ["Autoencoder", "AutoencoderConfig"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder."""

    latent: Positive = 64
    """Dimensions of the code z."""
    network: Literal["dense", "conv"] = "conv"
    """Layers of encoder and decoder: dense or convolutional."""
    hidden: Positive = 400
    """Units of each of the two hidden layers (dense)."""
    features: Positive = 32
    """Feature maps at full size, doubled at each halving (conv)."""
    error: Literal["auto", "squared", "cross-entropy"] = "auto"
    """What is minimised: the squared error, the cross-entropy, or auto (cross-entropy if binary, else squared)."""
    corruption: Literal["none", "masking", "salt-and-pepper", "gaussian", "affine"] = "none"
    """What is done to the encoder's input in training: nothing, values set to 0, values set to 0 or 1, noise added, or
    a random affine map of the image; anything but none makes it a denoising autoencoder."""
    corruption_level: Fraction = 0.25
    """Part of the values that are corrupted; the standard deviation of the noise on intensities in [0, 1]; or by how
    much at most the entries of an affine map differ from the identity's (of a shift: in half sides of the image)."""


class Autoencoder(Model):
    """See the module's text."""

    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        auto = "cross-entropy" if levels == 2 else "squared"
        self.error = auto if config.error == "auto" else config.error
        self.encoder: nn.Module
        self.decoder: nn.Module
        if config.network == "dense":
            self.encoder = DenseEncoder(shape, config.hidden, config.latent)
            self.decoder = DenseDecoder(config.latent, config.hidden, shape)
        else:
            self.encoder = ConvEncoder(shape, config.features, config.latent)
            self.decoder = ConvDecoder(config.latent, config.features, shape)

    def unit_intensities(self, images: Tensor) -> Tensor:
        """x in [0, 1] of uint8 images ``(B, C, H, W)``, the same shape."""
        return self.checked_levels(images).to(self.dtype) / (self.levels - 1)

    def errors(self, x: Tensor, x_given: Tensor) -> dict[str, Tensor]:
        """``squared_error`` (x − x̂)² and, where images are binary, ``cross_entropy`` −x ln x̂ − (1 − x) ln(1 − x̂).

        Args:
            x: Intensities in [0, 1], ``(B, C, H, W)``, as each error is.
            x_given: x̃, what the encoder is given, likewise.
        """
        z = self.encoder(2 * x_given - 1)  # z = f(x̃)
        logits = at_least_float32(self.decoder(z))  # x̂ = g(z) = σ(logits)
        errors = {"squared_error": (x - torch.sigmoid(logits)).square()}
        if self.error == "cross-entropy" or self.levels == 2:
            errors["cross_entropy"] = F.binary_cross_entropy_with_logits(logits, x.to(logits), reduction="none")
        return errors

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The error that is minimised, summed over an image's values, ``(B,)``, by its name."""
        x = self.unit_intensities(images)
        errors = self.errors(x, self.corrupted(x, generator))
        name = "squared_error" if self.error == "squared" else "cross_entropy"
        return {name: errors[name].flatten(1).sum(1)}  # ‖x − x̂‖²

    def corrupted(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Intensities in [0, 1] ``(B, C, H, W)`` as the encoder is given them in training, the same shape."""
        level = self.config.corruption_level
        match self.config.corruption:
            case "none":
                return x
            case "gaussian":
                return x + level * standard_normal(tuple(x.shape), generator, x.device).to(x)
            case "affine":
                change = 2 * uniform((len(x), 2, 3), generator, x.device).to(x) - 1
                grid = F.affine_grid(torch.eye(2, 3).to(x) + level * change, list(x.shape), align_corners=False)
                return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        u = uniform(tuple(x.shape), generator, x.device)
        value = torch.zeros_like(x) if self.config.corruption == "masking" else (u < level / 2).to(x)
        return torch.where(u < level, value, x)

    def reconstruction_errors(self, images: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """See ``ReconstructionErrors``; the corruption is drawn from ``generator``."""
        x = self.eval().unit_intensities(images)
        errors = self.errors(x, x)
        if self.config.corruption != "none":
            x_given = self.corrupted(x, generator)
            errors |= {"corrupted": (x - x_given).square(), "denoised": self.errors(x, x_given)["squared_error"]}
        return errors

    def features(self, images: Tensor) -> Tensor:
        """Codes ``(B, latent)`` of uint8 images ``(B, C, H, W)``, with their gradient."""
        return at_least_float32(self.encoder(self.intensities(self.checked_levels(images))))

    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes ``(B, latent)`` of uint8 images ``(B, C, H, W)``; nothing is corrupted, and there are no classes."""
        self.checked_labels(labels, len(images))
        return self.features(images)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images of codes ``(B, latent)``, uint8 ``(B, C, H, W)``; there are no classes."""
        self.checked_labels(labels, len(z))
        return torch.round(torch.sigmoid(self.decoder(z.to(self.device))) * 255).to(torch.uint8)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images encoded and decoded, uint8 ``(B, C, H, W)``."""
        return self.decode(self.encode(images, labels), labels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """Codes of 8×8 to 32×32 images by dense layers, of larger ones by convolutions."""
    network = AutoencoderConfig(network="dense" if math.prod(shape) <= 1024 else "conv")
    return Recipe(network, TrainingConfig(batch_size=128, ema_decay=0.999))


def _denoising(shape: tuple[int, int, int]) -> Recipe:
    """Restores masked images, which makes codes that tell what is shown: the start of a classifier."""
    default = _default(shape)
    network = replace(default.network, corruption="masking", corruption_level=0.75)
    return Recipe(network, replace(default.training, epochs=60))


def _augmented(shape: tuple[int, int, int]) -> Recipe:
    """Restores moved images, likewise."""
    default = _default(shape)
    return replace(default, network=replace(default.network, corruption="affine", corruption_level=0.25))


FAMILIES = (
    Family(
        name="autoencoder",
        model=Autoencoder,
        config=AutoencoderConfig,
        paper="Hinton and Salakhutdinov 2006, Science 313",
        summary="Codes of images, and an encoder to start a classifier from where labels are few; no density.",
        recipes={"default": _default, "denoising": _denoising, "augmented": _augmented},
        demo=lambda shape: Recipe(
            AutoencoderConfig(latent=16, network="dense", hidden=256), replace(DEMO, learning_rate=2e-3, epochs=30)
        ),
        tiny=("network=dense", "hidden=16", "latent=4"),
        in_demo=True,
    ),
)
