"""The models: one file a family, each with its paper and its equation at the top."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from limner.errors import LimnerError
from limner.models.autoencoder import Autoencoder, AutoencoderConfig
from limner.models.contracts import Features, Latents, Model, Reconstructs, Samples, Scores
from limner.models.gan import GAN, GANConfig
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.ladder_vae import LadderVAE, LadderVAEConfig
from limner.models.multiscale import MultiScalePixelRNN, MultiScalePixelRNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.pixelcnnpp import PixelCNNPP, PixelCNNPPConfig
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig, RowLSTM, RowLSTMConfig
from limner.models.vae import VAE, VAEConfig

__all__ = [
    "GAN",
    "MODELS",
    "VAE",
    "Autoencoder",
    "Family",
    "Features",
    "Latents",
    "Model",
    "PixelCNN",
    "Reconstructs",
    "Samples",
    "Scores",
    "family",
    "with_article",
]


@dataclass(frozen=True)
class Family:
    """A model by name: its class, the dataclass of its sizes, and where it was published."""

    name: str
    model: type[Model]
    config: type[Any]
    paper: str


MODELS: dict[str, Family] = {
    f.name: f
    for f in (
        Family("pixelcnn", PixelCNN, PixelCNNConfig, "van den Oord et al. 2016, arXiv 1601.06759"),
        Family("gated-pixelcnn", GatedPixelCNN, GatedPixelCNNConfig, "van den Oord et al. 2016, arXiv 1606.05328"),
        Family("pixelcnn++", PixelCNNPP, PixelCNNPPConfig, "Salimans et al. 2017, arXiv 1701.05517"),
        Family("patch-pixelcnn", PatchPixelCNN, PatchPixelCNNConfig, "limner; masks of arXiv 1601.06759"),
        Family("diagonal-bilstm", DiagonalBiLSTM, DiagonalBiLSTMConfig, "van den Oord et al. 2016, arXiv 1601.06759"),
        Family("row-lstm", RowLSTM, RowLSTMConfig, "van den Oord et al. 2016, arXiv 1601.06759"),
        Family(
            "multi-scale-pixelrnn",
            MultiScalePixelRNN,
            MultiScalePixelRNNConfig,
            "van den Oord et al. 2016, arXiv 1601.06759",
        ),
        Family("autoencoder", Autoencoder, AutoencoderConfig, "Hinton and Salakhutdinov 2006, Science 313"),
        Family("vae", VAE, VAEConfig, "Kingma and Welling 2013, arXiv 1312.6114"),
        Family("ladder-vae", LadderVAE, LadderVAEConfig, "Sønderby et al. 2016, arXiv 1602.02282"),
        Family("gan", GAN, GANConfig, "Goodfellow et al. 2014, arXiv 1406.2661"),
    )
}


def family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        LimnerError: There is none; the nearest name is suggested.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(MODELS)}"
        raise LimnerError(f"unknown model {name!r}: {hint}")
    return MODELS[name]


def with_article(name: str) -> str:
    """A family's name in a sentence: "a vae", "an autoencoder"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
