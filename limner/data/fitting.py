"""Bringing images to one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from limner.data.options import FitMode, Longest
from limner.errors import option

__all__ = ["choose_size", "fit_array", "fit_image", "scaled_to"]

LONGEST_SIDE = 64  # of the size that limner chooses for images of different sizes
MANNER = {"crop": "by centre crop", "pad": "with black borders", "stretch": "by stretching"}


def fit_image(image: Image.Image, size: tuple[int, int], how: FitMode) -> Image.Image:
    """``image`` (mode L or RGB) at ``size`` ``(H, W)``, antialiased; unchanged if it has that size."""
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
    """uint8 ``(n, C, h, w)`` at ``size`` ``(H, W)``: uint8 ``(n, C, H, W)``; the same array if it has that size."""
    if images.shape[2:] == size:
        return images
    fitted = np.empty((*images.shape[:2], *size), np.uint8)
    for image, out in zip(images, fitted, strict=True):
        for plane, target in zip(image, out, strict=True):  # Pillow resizes each channel by itself anyway
            target[:] = np.asarray(fit_image(Image.fromarray(np.ascontiguousarray(plane)), size, how))
    return fitted


def choose_size(
    sizes: Sequence[tuple[int, int]], asked: tuple[int, int] | None, how: FitMode, longest: Longest | None = None
) -> tuple[tuple[int, int], list[str]]:
    """One size ``(H, W)`` for images of ``sizes``, and notes that state the choice.

    Without ``asked`` it is the size they share, or else the most common one (the smaller of equally common
    ones) scaled down until its longer side is at most 64. Where that size is longer than 64, ``longest()`` gives the
    longest side that suits, and why, in words.
    """
    counts = Counter(sizes)
    native = min(counts, key=lambda hw: (-counts[hw], hw[0] * hw[1], hw))
    if asked is None and longest is not None and max(native) > LONGEST_SIDE:
        side, why = longest(max(native))
        size = scaled_to(native, side)
        found = f"images of {_text(native)} pixels" if len(counts) == 1 else f"images of {len(counts)} sizes"
        return size, [
            f"{found}: fitted to {_text(size)} {MANNER[how]}, {why}; choose with {option('size')} and {option('fit')}"
        ]
    if len(counts) > 1:
        smallest, largest = (choice(counts, key=lambda hw: (hw[0] * hw[1], hw)) for choice in (min, max))
        size = asked or scaled_to(native, LONGEST_SIDE)
        found = f"sizes differ ({len(counts)} sizes, {_text(smallest)} … {_text(largest)})"
        choose = f"choose with {option('size')} and {option('fit')}"
        return size, [f"{found}: fitted to {_text(size)} {MANNER[how]}; {choose}"]
    if asked is None:
        smaller = (LONGEST_SIDE, LONGEST_SIDE)
        note = f"images of {_text(native)} pixels train slowly: {option('size', smaller)} is a start"
        return native, [note] if max(native) > LONGEST_SIDE else []
    if asked == native:
        return native, []
    change = f"from {_text(native)} to {_text(asked)}"
    scaled = native[0] * asked[1] == native[1] * asked[0]
    return asked, [f"every image scaled {change}" if scaled else f"every image fitted {change} {MANNER[how]}"]


def scaled_to(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """``size`` ``(H, W)`` scaled down until its longer side is at most ``longest``."""
    shrink = max(1.0, max(size) / longest)
    return max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))


def _text(size: tuple[int, int]) -> str:
    """``(H, W)`` as people say it, width first."""
    return f"{size[1]}×{size[0]}"
