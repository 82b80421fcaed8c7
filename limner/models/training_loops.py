"""A step of training a dense VAE of binary pictures by ``limner.nn.compiled_elbo``: the numbers of ``VAE``'s own.

For the published sizes torch's step is mostly the way to its 160 small operations (LOG.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from limner import kernels
from limner.models.contracts import standard_normal
from limner.nn.coders import DenseDecoder, DenseEncoder
from limner.threads import shared_with_torch

if TYPE_CHECKING:
    from limner.models.vae import VAE

__all__ = ["terms_by_loops"]


def terms_by_loops(vae: VAE, images: Tensor, generator: torch.Generator | None) -> dict[str, Tensor] | None:
    """``VAE.loss_terms`` in training, with their gradient; None where they are computed otherwise.

    Under autocast the matrices are multiplied in bfloat16, all else is float32.

    Args:
        vae: In training.
        images: uint8 ``(B, C, H, W)``.
        generator: Of the noise.

    Raises:
        LimnerError: Pictures of another shape or other levels than the model's.
    """
    config, encoder, decoder = vae.config, vae.encoder, vae.decoder
    plain = vae.samples == 1 and not (vae.classes or config.free_bits) and config.prior == "normal"
    if not (plain and vae.head.kind == "sigmoid" and vae.training and torch.is_grad_enabled()):
        return None
    if not (isinstance(encoder, DenseEncoder) and isinstance(decoder, DenseDecoder)):
        return None
    weight = decoder.linears[-1].weight
    if not (weight.device.type == "cpu" and weight.dtype == torch.float32):
        return None
    if not (kernels.available() and shared_with_torch()):
        return None
    from limner.nn.compiled_elbo import BF16, elbo_terms

    bf16 = torch.is_autocast_enabled("cpu")
    if bf16 and not BF16:
        return None
    if images.dtype != torch.uint8 or images.shape[1:] != vae.shape:
        vae.checked_levels(images)  # says what is wrong
    drop = config.input_dropout
    reconstruction, kl, binary = elbo_terms(
        encoder,
        decoder,
        images.cpu(),
        standard_normal((len(images), config.latent), generator, weight.device),
        keep=F.dropout(torch.ones(images.shape), drop) if drop else None,
        scale=None if vae.log_scale is None else vae.log_scale.exp(),
        doubly=config.gradient == "doubly-reparameterized",
        bf16=bf16,
    )
    if not binary:
        vae.checked_levels(images)  # says which pixel
    terms = {"reconstruction": reconstruction, "kl": kl}
    return terms if config.beta == 1 else terms | {"beta": (config.beta - 1) * kl}
