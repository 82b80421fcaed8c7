"""Anybody's images, and held-out ones, as the run's encoder sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from limner import sampling
from limner.data import OneImage
from limner.evaluation import Codes, encode_split, psnr, squared_error
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["Mapped", "Reconstructions", "held_out_codes", "latent_map", "reconstruct"]


def held_out_codes(run: Run, n: int = 2000, *, quiet: bool | None = None) -> tuple[str, Codes]:
    """``validation`` (``train`` where that is empty), and the codes of its first ``n`` images.

    Raises:
        LimnerError: The model has no encoder.
    """
    model, data = run.encoder(), run.data(quiet=quiet)
    name = "validation" if len(data.splits["validation"]) else "train"
    return name, encode_split(model, data.split(name), n)


@dataclass(frozen=True)
class Reconstructions:
    """Images and what comes out when they are encoded and decoded, uint8 ``(n, C, H, W)`` as the model takes them."""

    originals: torch.Tensor
    images: torch.Tensor
    errors: tuple[tuple[float, float], ...]
    """Of each, mean squared error of intensities in [0, 1], and the same as PSNR in dB."""


def reconstruct(run: Run, chosen: Sequence[OneImage], *, label: ClassLabel | None = None) -> Reconstructions:
    """Anybody's images encoded and decoded, with the error.

    They are image files, which are brought to the model's size as its data was; ``test:7``; or an array.
    ``label`` is their class, of a conditional model; by default as the run's data says, or the most probable.

    Raises:
        LimnerError: The model has no encoder, no such class, or a file cannot be read.
    """
    originals, codes, labels = run.encoded(chosen, label)
    images = sampling.decode_all(run.encoder(), codes, labels)
    errors = tuple((mse, psnr(mse)) for mse in squared_error(originals, images).tolist())
    return Reconstructions(originals, images, errors)


@dataclass(frozen=True)
class Mapped:
    """Images of a held-out split in the latent space: their codes and classes, and where these lie in a plane."""

    split: str
    codes: Codes
    map: sampling.LatentMap


def latent_map(run: Run, n: int = 5000, *, quiet: bool | None = None) -> Mapped:
    """Codes of at most ``n`` held-out images in a plane; see ``limner.sampling.latent_map``.

    Raises:
        LimnerError: The model has no encoder, or a latent space of one dimension.
    """
    split, found = held_out_codes(run, n, quiet=quiet)
    return Mapped(split, found, sampling.latent_map(found.codes))
