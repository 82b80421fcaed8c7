"""The words of `limner complete`: which picture, and which part of it is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from limner.data import nearest_level
from limner.data.decoding import Unreadable, decode, quiet
from limner.errors import LimnerError

if TYPE_CHECKING:
    from PIL import Image

    from limner.workbench.run import Run

__all__ = ["MASKS", "missing_part", "picture_of"]

MASKS = "top-half, bottom-half, left-half, right-half, box=y0,x0,y1,x1 or a picture file (white = missing)"
SPLITS = ("train", "validation", "test")


def picture_of(run: Run, image: str | os.PathLike[str]) -> torch.Tensor:
    """A picture of the size, channels and levels of the run's model, uint8 ``(C, H, W)``.

    Args:
        run: Whose model completes it.
        image: A picture file, or ``test:7``: a split of the run's data and a number from 0.

    Raises:
        LimnerError: The file cannot be read or has another size; there is no such picture.
    """
    split, _, number = str(image).partition(":")
    if split in SPLITS and number.isdecimal() and not Path(image).exists():
        pictures = run.data().split(split)
        if int(number) >= len(pictures):
            raise LimnerError(f"{image}: {split} has {len(pictures):,} pictures, 0 to {len(pictures) - 1}")
        return pictures.take(torch.tensor([int(number)]))[0]
    c, h, w = run.model.shape
    picture = _read(image, (h, w)).convert("L" if c == 1 else "RGB")
    pixels = torch.from_numpy(np.array(picture)).reshape(h, w, c).permute(2, 0, 1)
    return nearest_level(pixels, run.model.levels)


def missing_part(mask: str | os.PathLike[str], size: tuple[int, int]) -> torch.Tensor:
    """Where a picture of ``size`` ``(H, W)`` is to be completed, bool ``(H, W)``.

    Args:
        mask: The *missing* part: ``top-half``, ``bottom-half``, ``left-half``, ``right-half``, ``box=y0,x0,y1,x1``
            (rows y0 to y1 - 1, columns x0 to x1 - 1), or a picture file of that size, white where pixels are missing.
        size: Of the picture.

    Raises:
        LimnerError: It is none of these, does not fit, or nothing is missing.
    """
    h, w = size
    missing = torch.zeros(h, w, dtype=torch.bool)
    text = str(mask)
    if text == "top-half":
        missing[: h // 2] = True
    elif text == "bottom-half":
        missing[h // 2 :] = True
    elif text == "left-half":
        missing[:, : w // 2] = True
    elif text == "right-half":
        missing[:, w // 2 :] = True
    elif text.startswith("box="):
        y0, x0, y1, x1 = _box(text, size)
        missing[y0:y1, x0:x1] = True
    elif Path(text).suffix or Path(text).is_file():
        missing = torch.from_numpy(np.array(_read(text, size).convert("L"))) >= 128
    else:
        raise LimnerError(f"mask {text!r}: say what is missing, {MASKS}")
    if not missing.any():
        raise LimnerError(f"mask {text!r}: nothing is missing; a mask is the part to complete, white in a picture file")
    return missing


def _box(text: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    numbers = text.removeprefix("box=").split(",")
    if len(numbers) == 4 and all(number.strip().isdecimal() for number in numbers):
        y0, x0, y1, x1 = map(int, numbers)
        if y0 < y1 <= size[0] and x0 < x1 <= size[1]:
            return y0, x0, y1, x1
    raise LimnerError(
        f"mask {text!r}: write box=y0,x0,y1,x1, the rows y0 to y1 - 1 and columns x0 to x1 - 1, "
        f"with 0 ≤ y0 < y1 ≤ {size[0]} and 0 ≤ x0 < x1 ≤ {size[1]}"
    )


def _read(path: str | os.PathLike[str], size: tuple[int, int]) -> Image.Image:
    """The picture in a file, mode L or RGB."""
    try:
        with open(path, "rb") as stream, quiet():
            picture = decode(stream).picture
    except (OSError, Unreadable) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise LimnerError(f"cannot read {path}: {reason}") from error
    if picture.size != size[::-1]:
        raise LimnerError(
            f"{path} is {picture.width}×{picture.height}, the model's pictures are {size[1]}×{size[0]} "
            "(width × height): scale or crop it first"
        )
    return picture
