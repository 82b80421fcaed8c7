"""Drawing pictures from models."""

from limner.sampling.ancestral import OnRow, sample
from limner.sampling.latent import manifold

__all__ = ["OnRow", "manifold", "sample"]
