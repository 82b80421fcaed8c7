"""Codes of a split, and which latents say something of the image: the others have collapsed to the prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.batches import sequential
from limner.data.imageset import Split
from limner.devices import wide
from limner.errors import LimnerError
from limner.models.bounded import Bounded
from limner.models.contracts import Reconstructs
from limner.models.cost import images_at_once

__all__ = ["Codes", "active_units", "encode_split"]

THRESHOLD = 0.01  # as published


def active_units(codes: Tensor) -> Tensor:
    """Which dimensions of the codes are active, bool ``(D,)``: Cov_x(E_q[z]) > 0.01 (1509.00519, section 5.2).

    Args:
        codes: The means of q(z|x) of many images, ``(N, D)``, as ``encode`` gives them.

    Raises:
        LimnerError: There are fewer than two codes.
    """
    if len(codes) < 2:
        raise LimnerError(f"active units: a variance over images needs two of them, not {len(codes)}")
    return wide(codes).var(0) > THRESHOLD


@dataclass(frozen=True)
class Codes:
    """Encoded images.

    Attributes:
        codes: ``(N, D)``.
        labels: Classes of the images, int64 ``(N,)``; None where the data has none.
        active: How many latents are active; None of an autoencoder, whose codes have no prior to give them a scale.
    """

    codes: Tensor
    labels: Tensor | None
    active: int | None

    @property
    def collapse(self) -> str | None:
        """How many latents say something, in words."""
        if self.active is None:
            return None
        return f"{self.active} of {self.codes.shape[1]} latents are active (variance of their means above {THRESHOLD})"


def encode_split(model: Reconstructs, split: Split, limit: int) -> Codes:
    """The codes of the first ``limit`` images of a split; a conditional model is told their classes.

    Raises:
        LimnerError: There are fewer than two images.
    """
    bounded = isinstance(model, Bounded)
    told = isinstance(model, Bounded) and model.classes > 0
    batches = sequential(split, images_at_once(model, 500), limit)
    codes = torch.cat([model.encode(b.images, b.labels if told else None).cpu() for b in batches])
    labels = None if split.labels is None else split.labels[: len(codes)]
    return Codes(codes, labels, int(active_units(codes).sum()) if bounded else None)
