"""Drawing images from models."""

from limner.sampling.ancestral import class_rows, sample, sample_in
from limner.sampling.completion import Completions, complete, is_suffix
from limner.sampling.latent import (
    Analogy,
    LatentMap,
    analogy,
    decode_all,
    dimensions,
    encode_all,
    has_plane,
    interpolate,
    labelled_latents,
    latent_map,
    manifold,
    slerp,
    traversal,
    way,
)
from limner.sampling.rows import OnRow

__all__ = [
    "Analogy",
    "Completions",
    "LatentMap",
    "OnRow",
    "analogy",
    "class_rows",
    "complete",
    "decode_all",
    "dimensions",
    "encode_all",
    "has_plane",
    "interpolate",
    "is_suffix",
    "labelled_latents",
    "latent_map",
    "manifold",
    "sample",
    "sample_in",
    "slerp",
    "traversal",
    "way",
]
