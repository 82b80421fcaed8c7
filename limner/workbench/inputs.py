"""What a model is asked about: images as words, files or arrays, and which part of one is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from limner.data import Images, ImageSet, OneImage, Split, nearest_level
from limner.data.arrays import Rows, scale_of
from limner.data.decoding import Unreadable, decode, quiet
from limner.data.fitting import fit_image
from limner.data.given import Items, as_array, unpaired
from limner.data.options import FitMode
from limner.errors import LimnerError
from limner.models import Model
from limner.models.contracts import describe_shape

__all__ = ["MASKS", "Mask", "classes_of", "image_of", "images_of", "missing_part", "pixels_of", "place_of"]

MASKS = "top-half, bottom-half, left-half, right-half, box=y0,x0,y1,x1 or an image file (white = missing)"
Mask = str | os.PathLike[str] | np.ndarray | torch.Tensor | Image.Image
SPLITS = ("train", "validation", "test")


def images_of(images: Images | OneImage, model: Model, data: Callable[[], ImageSet], fit: FitMode) -> torch.Tensor:
    """Images of the size, channels and levels of a model, uint8 ``(B, C, H, W)``: one as ``image_of``, or several.

    Raises:
        LimnerError: As of ``image_of``; or they are no images.
    """
    if isinstance(images, np.ndarray | torch.Tensor):
        return pixels_of(images, model)
    if isinstance(images, str | os.PathLike | Image.Image):
        return image_of(images, model, data, fit)[None]
    images, _ = unpaired(images)
    if isinstance(images, np.ndarray | torch.Tensor):
        return pixels_of(images, model)
    if not isinstance(images, Items) or isinstance(images, Mapping) or not len(images):
        raise LimnerError(f"give images as an array, a tensor or a list with one at least, not {type(images).__name__}")
    found = []
    for i in range(len(images)):
        one: Any = images[i]
        alone = one[0] if isinstance(one, tuple) and len(one) == 2 else one  # without its label
        found.append(image_of(alone, model, data, fit))
    return torch.stack(found)


def image_of(image: OneImage, model: Model, data: Callable[[], ImageSet], fit: FitMode) -> torch.Tensor:
    """An image of the size, channels and levels of a model, uint8 ``(C, H, W)``.

    ``image`` is a file, an image of Pillow's, an array; or ``test:7``: a split of the run's ``data``, which is then
    loaded, and a number from 0. ``fit`` says how a file of another size is brought to the model's.

    Raises:
        LimnerError: The file cannot be read; there is no such image.
    """
    if isinstance(image, np.ndarray | torch.Tensor):
        pixels = pixels_of(image, model)
        if len(pixels) != 1:
            raise LimnerError(f"an array of shape {tuple(image.shape)} holds {len(pixels)} images where one is wanted")
        return pixels[0]
    if not isinstance(image, Image.Image) and (place := place_of(image, data)) is not None:
        split, number = place
        return split.take(torch.tensor([number]))[0]
    c, h, w = model.shape
    bitmap = _read(image, (h, w), fit).convert("L" if c == 1 else "RGB")
    pixels = torch.from_numpy(np.array(bitmap)).reshape(h, w, c).permute(2, 0, 1)
    return nearest_level(pixels, model.levels)


def pixels_of(values: np.ndarray | torch.Tensor, model: Model) -> torch.Tensor:
    """An array or tensor of images as the model takes them, uint8 ``(B, C, H, W)``.

    It is ``(B, C, H, W)`` or ``(B, H, W, C)``, or one image without B, or without C of grey ones; uint8, bool, or
    floats in 0..1. Of a model of two levels whole numbers 0 and 1 are black and white.

    Raises:
        LimnerError: It has another shape, or other values.
    """
    array, (c, h, w) = as_array(values), model.shape
    if array.ndim in (3, 4) and array.shape[-3:] == (c, h, w):
        array = array.reshape(-1, c, h, w)
    elif array.ndim in (3, 4) and array.shape[-3:] == (h, w, c):
        array = np.moveaxis(array, -1, -3).reshape(-1, c, h, w)
    elif array.ndim in (2, 3) and c == 1 and array.shape[-2:] == (h, w):
        array = array.reshape(-1, 1, h, w)
    else:
        raise LimnerError(
            f"images of shape {array.shape}: this model was made for images of {describe_shape(model.shape)}, so give "
            f"(B, {c}, {h}, {w}) or (B, {h}, {w}, {c}); limner.from_arrays(images, size=({h}, {w})) changes sizes"
        )
    scale, _ = scale_of({"images": array}, "images")
    whole = 1 if array.dtype.kind in "iu" and model.levels != 2 else scale
    pixels = Rows(array, None, whole).take(slice(None))
    return torch.from_numpy(np.ascontiguousarray(pixels) if pixels.flags.writeable else pixels.copy())


def classes_of(images: Images | OneImage, data: Callable[[], ImageSet]) -> list[int | None]:
    """What the run's data says of each of the images, where they are words like ``test:7``."""
    listed = images if isinstance(images, list | tuple) else [images]
    places = [place_of(one, data) if isinstance(one, str | os.PathLike) else None for one in listed]
    known = [(place[0].labels, place[1]) if place else (None, 0) for place in places]
    return [None if labels is None else int(labels[number]) for labels, number in known]


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


def missing_part(mask: Mask, size: tuple[int, int], fit: FitMode = "crop") -> torch.Tensor:
    """Where an image of ``size`` ``(H, W)`` is to be completed, bool ``(H, W)``.

    ``mask`` is one of ``MASKS``, an image of Pillow's, or bool ``(H, W)``, which is taken as it is.

    An image of another size is brought to this one as ``fit`` says, like an image.

    Raises:
        LimnerError: It is none of these, does not fit, or nothing is missing.
    """
    if isinstance(mask, np.ndarray | torch.Tensor):
        return torch.as_tensor(mask)
    h, w = size
    missing = torch.zeros(h, w, dtype=torch.bool)
    text = "this image" if isinstance(mask, Image.Image) else str(mask)
    halves = {"top-half": missing[: h // 2], "bottom-half": missing[h // 2 :]}
    halves |= {"left-half": missing[:, : w // 2], "right-half": missing[:, w // 2 :]}
    if text in halves:
        halves[text].fill_(True)
    elif text.startswith("box="):
        y0, x0, y1, x1 = _box(text, size)
        missing[y0:y1, x0:x1] = True
    elif isinstance(mask, Image.Image) or Path(text).suffix or Path(text).is_file():
        file = mask if isinstance(mask, Image.Image) else text
        missing = torch.from_numpy(np.array(_read(file, size, fit).convert("L"))) >= 128
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


def _read(path: str | os.PathLike[str] | Image.Image, size: tuple[int, int], fit: FitMode) -> Image.Image:
    """The image in a file at ``size`` ``(H, W)``, mode L or RGB."""
    try:
        with nullcontext(path) if isinstance(path, Image.Image) else open(path, "rb") as stream, quiet():
            image = decode(stream).image
    except (OSError, Unreadable) as error:
        name = "this image" if isinstance(path, Image.Image) else path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise LimnerError(f"cannot read {name}: {reason}") from error
    return fit_image(image, size, fit)
