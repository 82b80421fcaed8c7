"""DiffAugment: what the discriminator sees, of images and samples alike, is changed at random; for GANs of few images.

Differentiable augmentation for data-efficient GAN training (Zhao et al. 2020, arXiv 2006.10738). A discriminator that
sees D(T(x)) of the data and D(T(G(z))) of the samples cannot learn the few images by heart, and the generator does not
learn T, as its gradient passes through it. The numbers are the paper's; intensities are in [-1, 1], 0 is grey.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FEW_IMAGES", "PASSES", "changed"]

# `auto` changes fewer training images than these, if a run sees each as often or has a budget of minutes: where the
# discriminator has not learnt them by heart the changes only cost steps (docs/notes/gan.md).
FEW_IMAGES, PASSES = 500, 1_000
TRANSLATED, CUT = 1 / 8, 1 / 2  # largest move, and side of the grey square, as parts of the image's sides


def changed(x: Tensor, names: Collection[str], generator: torch.Generator) -> Tensor:
    """T(x), differentiable, of images ``(B, C, H, W)`` in [-1, 1]; ``names`` of color, translation and cutout.

    Each image draws its own change from ``generator``, which is on the images' device.
    """
    if "color" in names:
        x = _colored(x, generator)
    if "translation" in names:
        x = _translated(x, generator)
    if "cutout" in names:
        x = _cut_out(x, generator)
    return x


def _colored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness by ±1/2, then saturation by a factor of 0 to 2, then contrast by 1/2 to 3/2."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, generator=generator, device=x.device)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def _translated(x: Tensor, generator: torch.Generator) -> Tensor:
    """Moved by up to an eighth of the sides each way; what comes in at the edge is grey."""
    n, c, h, w = x.shape
    down, right = (round(side * TRANSLATED) for side in (h, w))
    padded = F.pad(x, (right, right, down, down))
    rows = _places(n, h, 2 * down, generator, x)[:, None, :, None].expand(n, c, h, w + 2 * right)
    columns = _places(n, w, 2 * right, generator, x)[:, None, None, :].expand(n, c, h, w)
    return padded.gather(2, rows).gather(3, columns)


def _places(n: int, side: int, most: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """``(n, side)``: neighbouring places that begin anywhere from 0 to ``most``."""
    starts = torch.randint(most + 1, (n, 1), generator=generator, device=like.device)
    return starts + torch.arange(side, device=like.device)


def _cut_out(x: Tensor, generator: torch.Generator) -> Tensor:
    """A rectangle of half the sides, whose centre is anywhere in the image, becomes grey."""
    _, _, h, w = x.shape
    rows, columns = (_cut(len(x), side, generator, x) for side in (h, w))
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


def _cut(n: int, side: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """bool ``(n, side)``: the rows or columns of each image's rectangle."""
    size = round(side * CUT)
    first = torch.randint(side + (1 - size % 2), (n, 1), generator=generator, device=like.device) - size // 2
    place = torch.arange(side, device=like.device)
    return (place >= first) & (place < first + size)
