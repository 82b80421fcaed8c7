"""Bringing images to one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from limner.data.options import FitMode

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["choose_size", "fit_array", "fit_image", "fit_note", "large_note"]

LONGEST_SIDE = 64  # of the size that limner chooses for images of different sizes


def fit_image(image: Image.Image, size: tuple[int, int], how: FitMode) -> Image.Image:
    """``image`` (mode L or RGB) at ``size`` ``(H, W)``, antialiased; unchanged if it has that size."""
    from PIL import Image

    height, width = size
    if image.size == (width, height):
        return image
    across, down = image.width / width, image.height / height
    if how == "pad":
        scale = max(across, down)
        inner = max(1, round(image.width / scale)), max(1, round(image.height / scale))
        canvas = Image.new(image.mode, (width, height))  # black
        scaled = image.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
        canvas.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    box = (0.0, 0.0, float(image.width), float(image.height))
    if how == "crop":
        scale = min(across, down)
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        box = (max(0.0, left), max(0.0, top), image.width - max(0.0, left), image.height - max(0.0, top))
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def fit_array(images: np.ndarray, size: tuple[int, int], how: FitMode) -> np.ndarray:
    """uint8 ``(n, C, h, w)`` at ``size`` ``(H, W)``: uint8 ``(n, C, H, W)``."""
    from PIL import Image

    fitted = np.empty((*images.shape[:2], *size), np.uint8)
    for image, out in zip(images, fitted, strict=True):
        for plane, target in zip(image, out, strict=True):  # Pillow resizes each channel by itself anyway
            target[:] = np.asarray(fit_image(Image.fromarray(np.ascontiguousarray(plane)), size, how))
    return fitted


def choose_size(
    sizes: Sequence[tuple[int, int]], asked: tuple[int, int] | None, how: FitMode
) -> tuple[tuple[int, int], list[str]]:
    """One size ``(H, W)`` for images of ``sizes``, and notes that state the choice.

    Without ``asked`` it is the size they share, or else the most common one (the smaller of equally common
    ones) scaled down until its longer side is at most 64.
    """
    counts = Counter(sizes)
    smallest, largest = (choice(counts, key=lambda hw: (hw[0] * hw[1], hw)) for choice in (min, max))
    if len(counts) == 1:
        native = sizes[0]
        if asked is None or asked == native:
            return native, large_note(native)
        return asked, [fit_note(native, asked, how)]
    found = f"sizes differ ({len(counts)} sizes, {text_of(smallest)} … {text_of(largest)})"
    size = asked
    if size is None:
        height, width = min(counts, key=lambda hw: (-counts[hw], hw[0] * hw[1], hw))
        shrink = max(1.0, max(height, width) / LONGEST_SIDE)
        size = max(1, round(height / shrink)), max(1, round(width / shrink))
    return size, [f"{found}: fitted to {text_of(size)} {_manner(how)}; choose with --size and --fit"]


def large_note(size: tuple[int, int]) -> list[str]:
    """A warning, where images are so large that training takes long."""
    if max(size) <= LONGEST_SIDE:
        return []
    return [f"images of {text_of(size)} pixels train slowly: --size {LONGEST_SIDE} is a start"]


def fit_note(old: tuple[int, int], new: tuple[int, int], how: FitMode) -> str:
    """What happens to images of size ``old``."""
    if old[0] * new[1] == old[1] * new[0]:
        return f"every image scaled from {text_of(old)} to {text_of(new)}"
    return f"every image fitted from {text_of(old)} to {text_of(new)} {_manner(how)}"


def text_of(size: tuple[int, int]) -> str:
    """``(H, W)`` as people say it, width first."""
    return f"{size[1]}×{size[0]}"


def _manner(how: FitMode) -> str:
    return {"crop": "by centre crop", "pad": "with black borders", "stretch": "by stretching"}[how]
