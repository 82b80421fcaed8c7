"""Drawing pictures from models."""

from limner.sampling.ancestral import OnRow, sample
from limner.sampling.completion import Completions, complete, is_suffix
from limner.sampling.labels import class_rows
from limner.sampling.latent import Analogy, analogy, interpolate, labelled_latents, manifold, slerp

__all__ = [
    "Analogy",
    "Completions",
    "OnRow",
    "analogy",
    "class_rows",
    "complete",
    "interpolate",
    "is_suffix",
    "labelled_latents",
    "manifold",
    "sample",
    "slerp",
]
