"""Walks in the latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.models.vae import VAE

__all__ = ["manifold"]


def manifold(model: VAE, side: int = 20) -> Tensor:
    """The lecture's picture of a 2-D latent plane, uint8 ``(side², C, H, W)`` in reading order.

    A regular grid of the unit square goes through the inverse Gaussian CDF, so that every cell stands for equal prior
    mass, and each code is shown as the mean of p(x|z) (arXiv 1312.6114, appendix A).

    Raises:
        LimnerError: The latent space has not two dimensions.
    """
    if model.config.latent != 2:
        raise LimnerError(
            f"the latent plane needs 2 dimensions, this VAE has {model.config.latent}: train one with --set latent=2"
        )
    u = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    axis = torch.special.ndtri(u).to(model.dtype)
    z = torch.stack(torch.meshgrid(axis.flip(0), axis, indexing="ij")[::-1], -1).view(-1, 2)  # (side², 2): x, y
    return model.decode(z)
