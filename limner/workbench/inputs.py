"""The words of `limner complete`: which image, and which part of it is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limner.data import ImageSet, Split, nearest_level
from limner.data.decoding import Unreadable, decode, quiet
from limner.data.fitting import fit_image
from limner.data.options import FitMode
from limner.errors import LimnerError
from limner.models import Model

__all__ = ["MASKS", "image_of", "missing_part", "place_of"]

MASKS = "top-half, bottom-half, left-half, right-half, box=y0,x0,y1,x1 or an image file (white = missing)"
SPLITS = ("train", "validation", "test")


def image_of(image: str | os.PathLike[str], model: Model, data: Callable[[], ImageSet], fit: FitMode) -> torch.Tensor:
    """An image of the size, channels and levels of a model, uint8 ``(C, H, W)``.

    ``image`` is a file, or ``test:7``: a split of the run's ``data``, which is then loaded, and a number from 0.
    ``fit`` says how a file of another size is brought to the model's.

    Raises:
        LimnerError: The file cannot be read; there is no such image.
    """
    if (place := place_of(image, data)) is not None:
        split, number = place
        return split.take(torch.tensor([number]))[0]
    c, h, w = model.shape
    bitmap = _read(image, (h, w), fit).convert("L" if c == 1 else "RGB")
    pixels = torch.from_numpy(np.array(bitmap)).reshape(h, w, c).permute(2, 0, 1)
    return nearest_level(pixels, model.levels)


def place_of(image: str | os.PathLike[str], data: Callable[[], ImageSet]) -> tuple[Split, int] | None:
    """The split and the number that ``test:7`` means; None where ``image`` is a file.

    Raises:
        LimnerError: There is no such image.
    """
    name, _, number = str(image).partition(":")
    if name not in SPLITS or not number.isdecimal() or Path(image).exists():
        return None
    split = data().split(name)
    if int(number) >= len(split):
        raise LimnerError(f"{image}: {name} has {len(split):,} images, 0 to {len(split) - 1}")
    return split, int(number)


def missing_part(mask: str | os.PathLike[str], size: tuple[int, int], fit: FitMode = "crop") -> torch.Tensor:
    """Where an image of ``size`` ``(H, W)`` is to be completed, bool ``(H, W)``; ``mask`` is one of ``MASKS``.

    A file of another size is brought to this one as ``fit`` says, like an image.

    Raises:
        LimnerError: It is none of these, does not fit, or nothing is missing.
    """
    h, w = size
    missing = torch.zeros(h, w, dtype=torch.bool)
    text = str(mask)
    halves = {"top-half": missing[: h // 2], "bottom-half": missing[h // 2 :]}
    halves |= {"left-half": missing[:, : w // 2], "right-half": missing[:, w // 2 :]}
    if text in halves:
        halves[text].fill_(True)
    elif text.startswith("box="):
        y0, x0, y1, x1 = _box(text, size)
        missing[y0:y1, x0:x1] = True
    elif Path(text).suffix or Path(text).is_file():
        missing = torch.from_numpy(np.array(_read(text, size, fit).convert("L"))) >= 128
    else:
        raise LimnerError(f"mask {text!r}: say what is missing, {MASKS}")
    if not missing.any():
        raise LimnerError(f"mask {text!r}: nothing is missing; a mask is the part to complete, white in an image file")
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


def _read(path: str | os.PathLike[str], size: tuple[int, int], fit: FitMode) -> Image.Image:
    """The image in a file at ``size`` ``(H, W)``, mode L or RGB."""
    try:
        with open(path, "rb") as stream, quiet():
            image = decode(stream).image
    except (OSError, Unreadable) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise LimnerError(f"cannot read {path}: {reason}") from error
    return fit_image(image, size, fit)
