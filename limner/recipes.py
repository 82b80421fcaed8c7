"""Named, complete, frozen configurations: what ``limner train MODEL`` uses before ``--set`` changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from limner.models import family
from limner.models.gated_pixelcnn import GatedPixelCNNConfig
from limner.models.pixelcnn import PixelCNNConfig
from limner.models.vae import VAEConfig
from limner.training.config import TrainingConfig

__all__ = ["Recipe", "default_recipe", "demo_recipe"]


@dataclass(frozen=True)
class Recipe:
    """The sizes of a network and how it is trained."""

    network: Any
    training: TrainingConfig


def default_recipe(model: str, shape: tuple[int, int, int]) -> Recipe:
    """The recipe of ``limner train MODEL`` for pictures of ``shape`` (C, H, W); measured in LOG.md.

    Raises:
        LimnerError: No such model.
    """
    match family(model).name:
        case "gated-pixelcnn":
            return Recipe(GatedPixelCNNConfig(), TrainingConfig(learning_rate=3e-3, weight_decay=0.0, clip_norm=200.0))
        case "pixelcnn":
            return Recipe(PixelCNNConfig(), TrainingConfig(learning_rate=3e-3, weight_decay=0.0, clip_norm=200.0))
        case _:
            small = math.prod(shape) <= 1024  # MNIST: a dense step takes a tenth of a convolutional one
            network = VAEConfig(network="dense" if small else "conv")
            return Recipe(network, TrainingConfig(batch_size=128, ema_decay=0.999, clip_norm=400.0))


def demo_recipe(model: str) -> Recipe:
    """Small networks for the bundled 8×8 digits: well under a minute each on two cores.

    Raises:
        LimnerError: No such model.
    """
    training = TrainingConfig(batch_size=32, precision="float32")
    match family(model).name:
        case "gated-pixelcnn":
            gated = GatedPixelCNNConfig(features=32, blocks=4, first_kernel=5)
            return Recipe(gated, replace(training, learning_rate=3e-3, epochs=20))
        case "pixelcnn":
            network = PixelCNNConfig(features=64, blocks=5, first_kernel=5)
            return Recipe(network, replace(training, learning_rate=3e-3, epochs=20))
        case _:
            return Recipe(
                VAEConfig(latent=2, network="dense", hidden=256), replace(training, learning_rate=2e-3, epochs=50)
            )
