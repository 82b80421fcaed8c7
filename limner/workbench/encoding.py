"""Anybody's images, and held-out ones, as the run's encoder sees them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from limner import sampling
from limner.errors import LimnerError
from limner.evaluation import Codes, encode_split, psnr, squared_error
from limner.models import Reconstructs, with_article
from limner.models.bounded import Bounded
from limner.workbench.classes import ClassLabel
from limner.workbench.inputs import image_of, place_of
from limner.workbench.run import Run

__all__ = ["Mapped", "OneImage", "Reconstructions", "encode_images", "held_out_codes", "latent_map", "reconstruct"]

OneImage = str | os.PathLike[str] | torch.Tensor


def held_out_codes(run: Run, n: int = 2000, *, quiet: bool = True) -> tuple[str, Codes]:
    """``validation`` (``train`` where that is empty), and the codes of its first ``n`` images.

    Raises:
        LimnerError: The model has no encoder.
    """
    model, data = _encoder(run), run.data(quiet=quiet)
    name = "validation" if len(data.splits["validation"]) else "train"
    return name, encode_split(model, data.split(name), n)


def encode_images(
    run: Run, chosen: Sequence[OneImage], label: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The images uint8 ``(n, C, H, W)``, their codes ``(n, D)``, and the classes that a conditional model was given.

    Those are ``label``, or what the run's data says of ``test:7``, or the most probable.

    Raises:
        LimnerError: The model has no encoder; a file cannot be read.
    """
    model = _encoder(run)
    fit = run.config.data.fit
    images = torch.stack([x if isinstance(x, torch.Tensor) else image_of(x, run.model, run.data, fit) for x in chosen])
    labels = None
    if isinstance(model, Bounded) and (labels := model.likeliest(images)) is not None:
        told = [label if label is not None else _class_of(run, x) for x in chosen]
        labels = torch.tensor([likely if y is None else y for y, likely in zip(told, labels.tolist(), strict=True)])
    return images, sampling.encode_all(model, images, labels), labels


def _class_of(run: Run, image: OneImage) -> int | None:
    """What the run's data says of ``test:7``."""
    place = None if isinstance(image, torch.Tensor) else place_of(image, run.data)
    return None if place is None or place[0].labels is None else int(place[0].labels[place[1]])


@dataclass(frozen=True)
class Reconstructions:
    """Images and what comes out when they are encoded and decoded, uint8 ``(n, C, H, W)`` as the model takes them."""

    originals: torch.Tensor
    images: torch.Tensor
    errors: tuple[tuple[float, float], ...]
    """Of each, mean squared error of intensities in [0, 1], and the same as PSNR in dB."""


def reconstruct(run: Run, chosen: Sequence[OneImage], *, label: ClassLabel | None = None) -> Reconstructions:
    """Anybody's images encoded and decoded, with the error.

    They are image files, which are brought to the model's size as its data was; ``test:7``; or uint8 ``(C, H, W)``.
    ``label`` is their class, of a conditional model; by default as the run's data says, or the most probable.

    Raises:
        LimnerError: The model has no encoder, no such class, or a file cannot be read.
    """
    originals, codes, labels = encode_images(run, chosen, run.class_of(label))
    images = _encoder(run).decode(codes, labels).cpu()
    errors = tuple((mse, psnr(mse)) for mse in squared_error(originals, images).tolist())
    return Reconstructions(originals, images, errors)


@dataclass(frozen=True)
class Mapped:
    """Images of a held-out split in the latent space: their codes and classes, and where these lie in a plane."""

    split: str
    codes: Codes
    map: sampling.LatentMap


def latent_map(run: Run, n: int = 5000, *, quiet: bool = True) -> Mapped:
    """Codes of at most ``n`` held-out images in a plane; see ``limner.sampling.latent_map``.

    Raises:
        LimnerError: The model has no encoder, or a latent space of one dimension.
    """
    split, found = held_out_codes(run, n, quiet=quiet)
    return Mapped(split, found, sampling.latent_map(found.codes))


def _encoder(run: Run) -> Reconstructs:
    model = run.model
    if not isinstance(model, Reconstructs):
        raise LimnerError(f"{with_article(run.config.model)} has no encoder: a vae or an autoencoder has")
    return model
