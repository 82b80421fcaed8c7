"""Named, complete, frozen configurations: what ``limner train MODEL`` uses before ``--set`` changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from limner.errors import LimnerError
from limner.models import family
from limner.models.autoencoder import AutoencoderConfig
from limner.models.gan import GANConfig
from limner.models.gated_pixelcnn import GatedPixelCNNConfig
from limner.models.ladder_vae import LadderVAEConfig
from limner.models.multiscale import MultiScalePixelRNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNNConfig
from limner.models.pixelcnn import PixelCNNConfig
from limner.models.pixelcnnpp import PixelCNNPPConfig
from limner.models.pixelrnn import DiagonalBiLSTMConfig, RowLSTMConfig
from limner.models.vae import VAEConfig
from limner.training.config import AdversarialConfig, TrainingConfig

__all__ = ["Recipe", "default_recipe", "demo_recipe", "named_recipe", "training_config"]


_MUON = TrainingConfig(
    optimizer="muon",
    learning_rate=3e-3,
    weight_decay=0.0,
    clip_norm=200.0,
    warmup_steps=30,
    cooldown=0.5,
    evaluations=6,
)
# Without decay the state-to-state matrices grow until the recurrence comes apart (docs/notes/recurrence.md).
_RECURRENT = replace(_MUON, cooldown=0.8, weight_decay=0.3)


@dataclass(frozen=True)
class Recipe:
    """The sizes of a network and how it is trained."""

    network: Any
    training: TrainingConfig

    def __post_init__(self) -> None:
        if isinstance(self.training, AdversarialConfig) and self.network.discriminator_norm == "batch":
            penalty = self.training.chosen_penalty
            if penalty != "none":
                raise LimnerError(
                    f"penalty={penalty}: with BatchNorm an image's logit depends on its batch, and so would the "
                    "penalty; choose discriminator_norm=none or spectral, or penalty=none"
                )


def training_config(model: str) -> type[TrainingConfig]:
    """Of which kind the numbers of a model's training are: those of two players, or of one loss."""
    return AdversarialConfig if model == "gan" else TrainingConfig


def default_recipe(model: str, shape: tuple[int, int, int]) -> Recipe:
    """The recipe of ``limner train MODEL`` for images of ``shape`` (C, H, W); measured in docs/notes/.

    Raises:
        LimnerError: No such model.
    """
    match family(model).name:
        case "gated-pixelcnn":
            return Recipe(GatedPixelCNNConfig(), TrainingConfig(learning_rate=3e-3, weight_decay=0.0, clip_norm=200.0))
        case "pixelcnn++":
            return Recipe(PixelCNNPPConfig(), TrainingConfig(learning_rate=2e-3, weight_decay=0.0, batch_size=16))
        case "patch-pixelcnn":
            return Recipe(PatchPixelCNNConfig(), _MUON)
        case "diagonal-bilstm":
            return Recipe(DiagonalBiLSTMConfig(layers=4), _RECURRENT)
        case "row-lstm":
            return Recipe(RowLSTMConfig(layers=3, kernel=7), _RECURRENT)
        case "multi-scale-pixelrnn":
            training = replace(_RECURRENT, batch_size=16, learning_rate=0.01, matrix_learning_rate=0.05)
            return Recipe(MultiScalePixelRNNConfig(), training)
        case "pixelcnn":
            return Recipe(PixelCNNConfig(), TrainingConfig(learning_rate=3e-3, weight_decay=0.0, clip_norm=200.0))
        case "gan":
            game = AdversarialConfig(
                learning_rate=5e-4, discriminator_learning_rate=1e-3, penalty_every=4, ema_decay=0.9995
            )
            return Recipe(GANConfig(features=16, generator_features=32, hidden=128), game)
        case "autoencoder":
            small = math.prod(shape) <= 1024  # as for the VAE
            codes = AutoencoderConfig(network="dense" if small else "conv")
            return Recipe(codes, TrainingConfig(batch_size=128, ema_decay=0.999))
        case "ladder-vae":
            batch = 128 if math.prod(shape) <= 1024 else 32  # of larger ones more, smaller steps
            training = replace(_MUON, batch_size=batch, weight_decay=0.1, warmup_steps=100, ema_decay=0.999)
            return Recipe(LadderVAEConfig(dropout=0.1), training)
        case _:
            small = math.prod(shape) <= 1024  # MNIST: a dense step takes a tenth of a convolutional one
            network = VAEConfig(network="dense" if small else "conv")
            return Recipe(network, TrainingConfig(batch_size=128, ema_decay=0.999, clip_norm=400.0))


def named_recipe(model: str, name: str, shape: tuple[int, int, int]) -> Recipe:
    """The recipe ``name`` of ``limner train MODEL --recipe NAME`` for images of ``shape`` (C, H, W).

    ``small`` (pixelcnn) draws thousands of samples a second; ``strong`` (patch-pixelcnn, ladder-vae) is regularised for
    more than the ten minutes in which a default begins to overfit binary 28×28 images (docs/notes/pixelcnn.md);
    ``residual`` (gan) has residual players, and rates at which these learn;
    ``denoising`` and ``augmented`` (autoencoder) restore masked and moved images, which makes codes that tell what
    is shown (docs/probe.md);
    ``published`` (vae) is the one-layer model of arXiv 1509.00519, ``iwae`` the same with 50 importance samples.

    Raises:
        LimnerError: No such model, or it has no such recipe.
    """
    default = default_recipe(model, shape)
    match model, name:
        case _, "default":
            return default
        case "gan", "residual":
            slower = AdversarialConfig(learning_rate=2e-4, discriminator_learning_rate=2e-4)
            return Recipe(replace(default.network, network="residual", generator_features=16), slower)
        case "autoencoder", "denoising":
            network = replace(default.network, corruption="masking", corruption_level=0.75)
            return Recipe(network, replace(default.training, epochs=60))
        case "autoencoder", "augmented":
            network = replace(default.network, corruption="affine", corruption_level=0.25)
            return replace(default, network=network)
        case "vae", "published" | "iwae":
            sizes = VAEConfig(
                network="dense",
                latent=50,
                hidden=200,
                activation="tanh",
                importance_samples=50 if name == "iwae" else 1,
                gradient="doubly-reparameterized",
            )
            muon = replace(default.training, optimizer="muon", learning_rate=2e-3, matrix_learning_rate=6e-3)
            return Recipe(
                sizes, replace(muon, weight_decay=0.005, shift=1, elastic=1.0, ema_decay=0.9995, cooldown=0.8)
            )
        case "pixelcnn", "small":
            return replace(default, network=PixelCNNConfig(features=32, blocks=6, head_features=32))
        case "patch-pixelcnn", "strong":
            network = replace(default.network, blocks=12, dropout=0.2)
            return Recipe(network, replace(default.training, ema_decay=0.9995, weight_decay=0.1))
        case "ladder-vae", "strong":
            network = replace(default.network, features=64, dropout=0.2)
            return Recipe(network, replace(default.training, ema_decay=0.9995))
    own = {
        "gan": ["default", "residual"],
        "autoencoder": ["default", "denoising", "augmented"],
        "pixelcnn": ["default", "small"],
        "vae": ["default", "published", "iwae"],
        "patch-pixelcnn": ["default", "strong"],
        "ladder-vae": ["default", "strong"],
    }.get(model, ["default"])
    raise LimnerError(f"--recipe {name}: {model} has {', '.join(own)}")


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
        case "pixelcnn++":
            small = PixelCNNPPConfig(features=24, blocks=2, halvings=1, components=5)
            return Recipe(small, replace(training, learning_rate=2e-3, epochs=20))
        case "patch-pixelcnn":
            patches = PatchPixelCNNConfig(features=32, blocks=4, first_kernel=5)
            return Recipe(patches, replace(training, optimizer="muon", learning_rate=3e-3, weight_decay=0.0, epochs=20))
        case "diagonal-bilstm" | "row-lstm" as name:
            sizes: dict[str, Any] = {"hidden": 24, "first_kernel": 5, "head_features": 48}
            rnn = DiagonalBiLSTMConfig(**sizes) if name == "diagonal-bilstm" else RowLSTMConfig(**sizes)
            return Recipe(rnn, replace(training, optimizer="muon", learning_rate=6e-3, weight_decay=0.0, epochs=20))
        case "multi-scale-pixelrnn":
            scales = MultiScalePixelRNNConfig(hidden=24, small_hidden=24, context=24, first_kernel=5, head_features=48)
            return Recipe(scales, replace(training, learning_rate=3e-3, epochs=20))
        case "pixelcnn":
            network = PixelCNNConfig(features=64, blocks=5, first_kernel=5)
            return Recipe(network, replace(training, learning_rate=3e-3, epochs=20))
        case "gan":
            two = AdversarialConfig(batch_size=64, precision="float32", learning_rate=1e-3, epochs=60)
            return Recipe(GANConfig(network="dense", latent=16, hidden=128), two)
        case "autoencoder":
            codes = AutoencoderConfig(latent=16, network="dense", hidden=256)
            return Recipe(codes, replace(training, learning_rate=2e-3, epochs=30))
        case "ladder-vae":
            return Recipe(LadderVAEConfig(features=16, latent=4), replace(training, learning_rate=2e-3, epochs=20))
        case _:
            return Recipe(
                VAEConfig(latent=2, network="dense", hidden=256), replace(training, learning_rate=2e-3, epochs=50)
            )
