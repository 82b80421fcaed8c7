"""What samples are looked at with: how an image answers to small filters, at several scales. Nothing is trained.

The filters are random patches of the training images, whitened; the answers are rectified in both signs and averaged
over the quarters of the image (Coates, Lee and Ng 2011, An Analysis of Single-Layer Networks in Unsupervised Feature
Learning, AISTATS). Whitening gives fine detail the weight of coarse shapes, so blur and noise are seen as well as
missing kinds of images, whatever the labels are.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.devices import wide

__all__ = ["PatchFeatures", "blurred"]

DIMENSIONS = 64  # few, so that a covariance of some hundred images means something
FILTERS = 12  # of each scale: many more fit the training images too well (docs/notes/evaluation.md)
PATCH = 5  # pixels; 3 in images below 16
FILTER_IMAGES, FIT_IMAGES = 500, 5000  # that the filters, and the projection, are made from
PATCHES = 20_000
POSITIONS = 1 << 22  # of patches that are chosen from: more images of large ones would take gigabytes
VALUES = 1 << 24  # of images at a time


class PatchFeatures(nn.Module):
    """Features float ``(B, D)`` of uint8 images ``(B, C, H, W)``, centred, of mean variance 1 over the training images.

    The answers' square roots, each in units of its deviation, are projected to their first ``DIMENSIONS`` principal
    components, which are divided by the fourth root of their variances: halfway between as they are, where few
    components decide a distance, and whitened, where the last counts as much as the first.

    Args:
        shape: ``(C, H, W)``.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        c, h, w = shape
        side = min(h, w)
        self.patch = PATCH if side >= 16 else min(3, side)
        self.scales = max(1, int(math.log2(side / self.patch)))
        for i in range(self.scales):
            self.register_buffer(f"weight_{i}", torch.zeros(FILTERS, c, self.patch, self.patch))
            self.register_buffer(f"bias_{i}", torch.zeros(FILTERS))
        answers = self.scales * 2 * FILTERS * 4
        self.register_buffer("mean", torch.zeros(answers))
        self.register_buffer("projection", torch.zeros(answers, DIMENSIONS))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return (self._all_answers(images) - self.mean) @ self.projection

    @torch.no_grad()
    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Choose filters and projection by training images uint8 ``(N, C, H, W)``, in place.

        ``FIT_IMAGES`` are enough; the generator chooses patches.
        """
        _, h, w = images.shape[1:]
        x = self._pixels(images[: min(FILTER_IMAGES, max(1, POSITIONS // (h * w)))])
        for i in range(self.scales):
            patches = self._patches(x, generator)
            mean = patches.mean(0)
            values, vectors = _principal(patches - mean)
            whiten = vectors * (values + 0.01 * values.mean()).clamp_min(1e-6).rsqrt() @ vectors.T
            filters = F.normalize((patches[:FILTERS] - mean) @ whiten) @ whiten
            filters = F.pad(filters, (0, 0, 0, FILTERS - len(filters)))  # of a single image of a single pixel
            getattr(self, f"weight_{i}").copy_(filters.view(FILTERS, -1, self.patch, self.patch))
            getattr(self, f"bias_{i}").copy_(-filters @ mean)
            x = F.avg_pool2d(x, 2) if i + 1 < self.scales else x
        answers = wide(self._all_answers(images))
        self.mean.copy_(answers.mean(0))
        deviation = answers.std(0, correction=0).clamp_min(1e-6)
        standard = (answers - answers.mean(0)) / deviation
        values, vectors = (part[..., -DIMENSIONS:] for part in _principal(standard))
        vectors = vectors * values.clamp_min(1e-4 * float(values.max()) + 1e-12) ** -0.25
        scale = (standard @ vectors).var(0, correction=0).mean().sqrt().clamp_min(1e-6)
        self.projection.copy_(vectors / scale / deviation[:, None])

    def _pixels(self, images: Tensor) -> Tensor:
        return images.to(self.mean.device, torch.float32) / 255

    def _patches(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """At most ``PATCHES`` patches of images ``(N, C, H, W)`` at random places, ``(M, C·P·P)``."""
        n, _, h, w = x.shape
        rows, columns, side = h - self.patch + 1, w - self.patch + 1, torch.arange(self.patch)
        place = torch.randperm(n * rows * columns, generator=generator)[:PATCHES, None, None]
        image, row, column = place // (rows * columns), place // columns % rows, place % columns
        return x[image, :, row + side[:, None], column + side].movedim(3, 1).flatten(1)

    def _all_answers(self, images: Tensor) -> Tensor:
        part = max(1, VALUES // math.prod(images.shape[1:]))
        return torch.cat([self._answers(some) for some in images.split(part)])

    def _answers(self, images: Tensor) -> Tensor:
        """``(B, scales · 2 · FILTERS · 4)``."""
        x, found = self._pixels(images), []
        for i in range(self.scales):
            weight, bias = cast(Tensor, getattr(self, f"weight_{i}")), cast(Tensor, getattr(self, f"bias_{i}"))
            y = F.conv2d(x, weight, bias, stride=2 if min(x.shape[2:]) >= 16 else 1)  # enough to average over
            found.append(F.adaptive_avg_pool2d(torch.cat([F.relu(y), F.relu(-y)], 1), 2).flatten(1))
            x = F.avg_pool2d(x, 2) if i + 1 < self.scales else x
        return torch.cat(found, 1).sqrt()


def _principal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variances, smallest first, and directions ``(D, D)`` in columns, of centred ``(N, D)``."""
    values, vectors = torch.linalg.eigh(wide(x).T @ wide(x) / len(x))
    return values.clamp_min(0).to(x), vectors.to(x)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images uint8 ``(B, C, H, W)`` under a Gaussian of ``sigma`` pixels, the border repeated."""
    part = max(1, VALUES // math.prod(images.shape[1:]))
    if len(images) > part:
        return torch.cat([blurred(some, sigma) for some in images.split(part)])
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma**2)).to(images.device)
    weights = weights / weights.sum()
    x = images.flatten(0, 1)[:, None].float()
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    x = F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
    return x.round().to(torch.uint8).view(images.shape)
