"""Drawing pictures from models."""

from limner.sampling.ancestral import OnRow, sample
from limner.sampling.completion import Completions, complete, is_suffix
from limner.sampling.labels import class_rows
from limner.sampling.latent import manifold

__all__ = ["Completions", "OnRow", "class_rows", "complete", "is_suffix", "manifold", "sample"]
