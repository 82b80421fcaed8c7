"""Levels and pixel values: level k of L is the uint8 value ``round(255 k / (L - 1))``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from limner.errors import LimnerError

__all__ = ["dequantize", "extremes", "nearest_level", "quantize"]

PART = 1024  # rows, or images, looked at once


@lru_cache(maxsize=256)
def _values(levels: int) -> torch.Tensor:
    """The uint8 value of each level, ``(levels,)``."""
    if not 2 <= levels <= 256:
        raise LimnerError(f"levels must lie between 2 and 256, not {levels}")
    return torch.round(torch.arange(levels, dtype=torch.float64) * 255 / (levels - 1)).to(torch.uint8)


@lru_cache(maxsize=256)
def _lookup(levels: int) -> torch.Tensor:
    """The level of each uint8 value, int64 ``(256,)``; -1 where the value is no level."""
    table = torch.full((256,), -1, dtype=torch.int64)
    table[_values(levels).long()] = torch.arange(levels)
    return table


def quantize(images: torch.Tensor, levels: int) -> torch.Tensor:
    """Levels int64 of uint8 images, same shape.

    Raises:
        LimnerError: A pixel's value is none of the levels (a likelihood of it would mean nothing).
    """
    if levels == 256:
        return images.long()
    table = _lookup(levels).to(images.device)
    k = table.index_select(0, images.reshape(-1).int()).view(images.shape)  # a third of table[images.long()]'s time
    if k.numel() and int(k.min()) < 0:
        value = int(images[k < 0][0])
        raise LimnerError(f"pixel value {value} is none of the {levels} levels {_span(levels)} of this model")
    return k


def dequantize(k: torch.Tensor, levels: int) -> torch.Tensor:
    """uint8 images of levels int64, same shape."""
    return _values(levels).to(k.device)[k.long()]


def nearest_level(images: torch.Tensor, levels: int) -> torch.Tensor:
    """uint8 images with each pixel moved to the value of the nearest level."""
    table = _nearest(levels).to(images.device)
    moved = torch.empty_like(images, memory_format=torch.contiguous_format)
    for pixels, out in zip(images.reshape(-1).split(1 << 20), moved.view(-1).split(1 << 20), strict=True):
        out.copy_(table[pixels.long()])  # piece by piece: indices take eight times the images' memory
    return moved


def extremes(pixels: np.ndarray) -> frozenset[int] | None:
    """Which of the values 0 and 255 occur in ``pixels``; None if others do."""
    found: set[int] = set()
    for part in np.split(pixels, range(PART, len(pixels), PART)):
        dark, bright = int((part == 0).sum()), int((part == 255).sum())
        if dark + bright < part.size:
            return None
        found |= {0} if dark else set()
        found |= {255} if bright else set()
    return frozenset(found)


@lru_cache(maxsize=256)
def _nearest(levels: int) -> torch.Tensor:
    """The nearest level's value for each uint8 value, uint8 ``(256,)``; the darker of two equally near."""
    values = _values(levels).short()
    return _values(levels)[(torch.arange(256)[:, None] - values).abs().argmin(dim=1)]


def _span(levels: int) -> str:
    values = _values(levels).tolist()
    return "(" + ", ".join(map(str, values if levels <= 4 else [*values[:2], "...", values[-1]])) + ")"
