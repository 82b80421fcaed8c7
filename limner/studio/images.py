"""Images on their way from the page to a model and back, and PNG files that say how they were made."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.data.decoding import Unreadable, decode, quiet
from limner.errors import LimnerError
from limner.reports import draw
from limner.reports.grids import png_bytes
from limner.workbench import Run

__all__ = ["data_url", "given_image", "given_mask", "png_with", "read_settings", "rgba", "rows_of"]

KEYWORD = b"limner"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST_NOTE = 1 << 16  # bytes of settings in a PNG
DATA_URL = re.compile(r"data:image/[\w.+-]{1,20};base64,")
PLACE = re.compile(r"(train|validation|test):(\d{1,9})")
SIDE = 8192  # pixels of an image given as numbers


def rgba(images: Tensor) -> bytes:
    """Images uint8 ``(N, C, H, W)`` as RGBA, N × H × W × 4 bytes."""
    n, c, h, w = images.shape
    out = np.full((n, h, w, 4), 255, np.uint8)
    out[..., :3] = images.expand(n, 3, h, w).permute(0, 2, 3, 1).numpy() if c == 1 else _colour(images)
    return out.tobytes()


def _colour(images: Tensor) -> np.ndarray:
    return images[:, :3].permute(0, 2, 3, 1).numpy()


def rows_of(mask: Tensor) -> list[str]:
    """A bool ``(H, W)`` as H texts of 0 and 1."""
    return ["".join("1" if value else "0" for value in row) for row in mask.tolist()]


def data_url(image: Tensor, scale: int = 1) -> str:
    """An image uint8 ``(C, H, W)`` as a PNG in an address."""
    file = png_bytes(draw.grid(image[None], gap=0, scale=scale))
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def given_image(value: Any, run: Run) -> tuple[Image.Image | Tensor, int | None]:
    """An image as the page gives it, and its class where the run's data knows it.

    It is a data URL, ``test:7``, or ``{"pixels": rows}`` of grey values or of triples.

    Raises:
        LimnerError: It is none of these, damaged, or not there.
    """
    if isinstance(value, Mapping) and value.keys() == {"pixels"}:
        return _of_pixels(value["pixels"]), None
    if isinstance(value, str) and (found := PLACE.fullmatch(value)):
        split, number = run.data(quiet=True).split(found[1]), int(found[2])
        if number >= len(split):
            raise LimnerError(f"{value}: {found[1]} has {len(split):,} images, 0 to {len(split) - 1}")
        label = int(split.labels[number]) if split.labels is not None and run.model.classes else None
        return split.take(torch.tensor([number]))[0], label
    return _of_data_url(value), None


def _of_data_url(value: Any) -> Image.Image:
    if not isinstance(value, str) or not (found := DATA_URL.match(value)):
        raise LimnerError("an image is a data URL of a PNG or JPEG, test:7 (split and number), or pixels")
    try:
        with quiet():
            return decode(io.BytesIO(base64.b64decode(value[found.end() :], validate=True))).image
    except (binascii.Error, ValueError, Unreadable) as error:
        raise LimnerError(f"this image cannot be read: {str(error)[:200]}") from error


def _of_pixels(rows: Any) -> Image.Image:
    try:
        array = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LimnerError("pixels are rows of numbers 0 to 255, or of triples") from error
    good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not good or 0 in array.shape or max(array.shape) > SIDE or not ((array >= 0) & (array <= 255)).all():
        raise LimnerError("pixels are rows of numbers 0 to 255, or of triples, all rows of one length")
    return Image.fromarray(np.round(array).astype(np.uint8))


def given_mask(value: Any, run: Run) -> Any:
    """The missing part as the page gives it: words, H texts of 0 and 1, or a data URL (white = missing).

    Raises:
        LimnerError: It is none of these, or does not fit the run's images.
    """
    _, h, w = run.model.shape
    if isinstance(value, list):
        if len(value) != h or any(not isinstance(row, str) or not re.fullmatch(f"[01]{{{w}}}", row) for row in value):
            raise LimnerError(f"a mask is {h} texts of {w} characters, 1 where the image is missing, else 0")
        return torch.tensor([[c == "1" for c in row] for row in value])
    if isinstance(value, str) and re.fullmatch(r"(top|bottom|left|right)-half|box=[\d,]{7,40}", value):
        return value
    return _of_data_url(value)


def png_with(image: Image.Image, settings: Mapping[str, Any]) -> bytes:
    """A PNG file that says how it was made, in a text chunk ``limner``."""
    file = png_bytes(image)
    end = file.rindex(b"IEND") - 4
    text = KEYWORD + b"\0" + json.dumps(settings).encode("ascii")
    chunk = b"tEXt" + text
    return file[:end] + struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + file[end:]


def read_settings(file: bytes) -> dict[str, Any]:
    """What ``png_with`` wrote into a PNG file; its pixels are not decoded.

    Raises:
        LimnerError: It is no PNG, or carries nothing.
    """
    if not file.startswith(SIGNATURE):
        raise LimnerError("this is no PNG file: drop one that the studio drew")
    at = len(SIGNATURE)
    while at + 12 <= len(file):
        (length,), kind = struct.unpack_from(">I", file, at), file[at + 4 : at + 8]
        text = file[at + 8 : at + 8 + min(length, LONGEST_NOTE)]
        if kind == b"tEXt" and length <= LONGEST_NOTE and text.startswith(KEYWORD + b"\0"):
            try:
                settings = json.loads(text[len(KEYWORD) + 1 :])
            except (ValueError, RecursionError):
                break
            if isinstance(settings, dict) and isinstance(settings.get("run"), str):
                return settings
            break
        at += 12 + length
    raise LimnerError("this PNG does not say how it was made: only those that the studio drew do")
