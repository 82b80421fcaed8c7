"""Training images mirrored, moved and bent: more of them, for models that learn a small set by heart.

A model of p(x) must not learn the moves, so they become rarer as the learning rate falls, and the last steps see the
images as they are (distribution augmentation, Jun et al., ICML 2020, keeps them and tells the model which). Mirroring
is kept to the end: who asks for it says that a mirrored image is as probable. A pixel takes the value of another, so
that no image gets a value that the data do not have. What is measured is never changed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.batches import Batch
from limner.models.recipes import TrainingConfig
from limner.noise import named_generator

__all__ = ["augmented", "bent_places", "moved"]

KNOTS = 5  # points along each side of an image between which a field of displacements is smooth


def augmented(batch: Batch, config: TrainingConfig, factor: float, step: int) -> Batch:
    """The batch of ``step`` as ``config.augment`` wants it.

    It is a function of its arguments, which a resumed run repeats. An image is moved with the chance
    (6 factor - 1) / 5, where ``factor`` is what the learning rate is multiplied by, and mirrored with the chance 1/2.
    """
    strengths = config.augmentations
    shift, elastic = int(strengths.get("shift", 0)), strengths.get("elastic", 0.0)
    chance = (6 * factor - 1) / 5
    moving = (shift > 0 or elastic > 0) and chance > 0
    if not (moving or "flip" in strengths):
        return batch
    images = batch.images.clone()
    if moving:
        _move(images, shift, elastic, chance, named_generator(f"{config.seed}/shift/{step}"))
    if "flip" in strengths:
        mirrored = torch.rand(len(images), generator=named_generator(f"{config.seed}/flip/{step}")) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
    return replace(batch, images=images)


def _move(images: Tensor, shift: int, elastic: float, chance: float, generator: torch.Generator) -> None:
    """Move and bend each of ``images`` ``(B, C, H, W)`` with that chance, in place."""
    n, _, h, w = images.shape
    chosen = (torch.rand(n, generator=generator) < chance).nonzero().flatten()
    offsets = torch.randint(-shift, shift + 1, (len(chosen), 2, 1, 1), generator=generator)
    if elastic:
        knots = elastic * torch.randn((len(chosen), 2, KNOTS, KNOTS), generator=generator)
        offsets = offsets + bent_places(knots, h, w, torch.rand((len(chosen), 2, 1, 1), generator=generator))
    images[chosen] = moved(images[chosen], offsets)


def moved(images: Tensor, offsets: Tensor) -> Tensor:
    """``(B, C, H, W)``, each pixel (i, j) taken from (i - a, j - b), or else from the edge.

    The ``offsets`` are a and b of each pixel, whole numbers ``(B, 2, H, W)``, or of all of them ``(B, 2, 1, 1)``.
    """
    n, c, h, w = images.shape
    rows = (torch.arange(h).unsqueeze(1) - offsets[:, 0]).clamp(0, h - 1).int()
    columns = (torch.arange(w) - offsets[:, 1]).clamp(0, w - 1).int()
    places = (rows * w + columns).long().view(n, 1, h * w).expand(-1, c, -1)
    return images.flatten(2).gather(2, places).view_as(images)


def bent_places(knots: Tensor, height: int, width: int, uniforms: Tensor) -> Tensor:
    """A smooth field through displacements in pixels, rounded up with the chance of its fraction.

    Elastic deformation (Simard, Steinkraus and Platt, ICDAR 2003), the field being bicubic and not a blurred noise. The
    ``knots`` are displacements at points that cover the image from edge to edge, ``(B, 2, K, K)``. The ``uniforms``
    decide the rounding, one for each field, ``(B, 2, 1, 1)``: a field is cut at the same height. Gives whole numbers
    ``(B, 2, height, width)``.
    """
    field = knots.flatten(2) @ _bicubic(height, width, *knots.shape[2:])
    return (field.view(len(knots), 2, height, width) + uniforms).floor()


@cache
def _bicubic(height: int, width: int, rows: int, columns: int) -> Tensor:
    """What each place of an image takes of each knot, ``(rows * columns, height * width)``."""
    unit = torch.eye(rows * columns).view(1, -1, rows, columns)
    return F.interpolate(unit, size=(height, width), mode="bicubic", align_corners=True)[0].flatten(1)
