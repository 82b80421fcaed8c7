"""Which axis of an array is which; what has two readings is refused."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from PIL import Image

from limner.data.arrays import AXES, Rows
from limner.errors import LimnerError

__all__ = ["Channels", "as_channels_first", "as_image"]

Channels = Literal["first", "last"]
COLOURS = (1, 3)  # channels that an image may have


def as_channels_first(array: np.ndarray, name: str, channels: Channels | None = None) -> np.ndarray:
    """A view ``(N, C, H, W)`` of an array of images in one of ``AXES``; ``channels`` says where they are.

    Raises:
        LimnerError: Its shape is none of these, or more than one.
    """
    shape = array.shape
    if channels not in (None, "first", "last"):
        raise LimnerError(f"channels must be 'first' or 'last', not {channels!r}")
    if array.ndim == 3:
        if shape[2] in COLOURS or shape[0] == 3:
            raise LimnerError(
                f"{name} of shape {shape} may be one image or {shape[0]} grey ones: give images[None] for the one, "
                "images[:, None] and channels='first' for the others"
            )
        return array[:, None]
    if array.ndim == 4:
        first, last = shape[1] in COLOURS, shape[3] in COLOURS
        if first and last and channels is None:
            raise LimnerError(f"{name} of shape {shape}: say where the channels are, channels='first' or 'last'")
        if first and channels != "last":
            return array
        if last and channels != "first":
            return array.transpose(0, 3, 1, 2)
    raise LimnerError(f"{name} must be {AXES}, not {shape}{_advice(shape)}")


def _advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        size = f"{side}, {side}" if side * side == shape[1] else "H, W"
        return f": images[None] makes a set of one image, images.reshape(-1, {size}) images of rows of pixels"
    if len(shape) == 4 and {shape[1], shape[3]} & {2, 4}:
        return ": leave the transparency out, as in images[..., :3]"
    return ""


def as_image(array: np.ndarray, scale: int) -> Image.Image:
    """One array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, its values times ``scale``, as an image.

    Raises:
        ValueError: It has another shape.
    """
    if array.ndim == 3 and array.shape[2] not in COLOURS and array.shape[0] in COLOURS:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise ValueError(f"must be (H, W), (H, W, C) or (C, H, W) with C 1 or 3, not {array.shape}")
    pixels = Rows(array[None], None, scale).take(slice(0, 1))[0]
    return Image.fromarray(np.ascontiguousarray(pixels))
