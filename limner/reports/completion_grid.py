"""An image, what is given of it, and its completions, on one sheet."""

from __future__ import annotations

import torch
from PIL import Image

from limner.reports.grids import grid, strip

__all__ = ["completion_sheet", "hatched"]

HATCH = ((230, 120, 30), (250, 190, 110))  # no digit and few photographs have diagonal stripes of these


def hatched(image: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """``image`` uint8 ``(C, H, W)`` in RGB, its ``missing`` pixels (bool ``(H, W)``) under diagonal orange stripes."""
    h, w = missing.shape
    light = (torch.arange(h)[:, None] + torch.arange(w)) % 4 < 2
    dark, pale = (torch.tensor(colour, dtype=torch.uint8)[:, None, None] for colour in HATCH)
    stripes = torch.where(light, pale, dark)  # (3, H, W)
    return torch.where(missing, stripes, image.expand(3, h, w))


def completion_sheet(original: torch.Tensor, missing: torch.Tensor, completions: torch.Tensor) -> Image.Image:
    """The original, what is given of it (the missing part hatched), the completions and their mean.

    Args:
        original: uint8 ``(C, H, W)``, grey or RGB.
        missing: bool ``(H, W)``.
        completions: uint8 ``(n, C, H, W)``.
    """
    n, _, h, w = completions.shape
    scale = max(1, min(96 // max(h, w), 960 // (w * min(n, 8))))
    mean = completions.double().mean(0).round().to(torch.uint8)
    frames = [grid(original[None], scale=scale), grid(hatched(original, missing)[None], scale=scale)]
    frames += [grid(completions, columns=min(n, 8), scale=scale), grid(mean[None], scale=scale)]
    return strip(frames, ["original", "given", "completion" if n == 1 else f"{n} completions", "mean"])
