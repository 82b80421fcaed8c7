"""Image files of the format that their name says."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

from limner import files
from limner.errors import LimnerError
from limner.reports.grids import png_bytes

__all__ = ["check_image_name", "save_image"]

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {  # by suffix
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}


def check_image_name(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a file in whose format no image is written.

    Raises:
        LimnerError: It ends neither in .png, .jpg, .jpeg or .webp nor without a suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (*FORMATS, ".png", "") and not Path(path).exists():
        raise LimnerError(f"{path}: limner writes .png, .jpg and .webp images, no {suffix}")


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write ``image`` to ``path``, as JPEG or WebP where the name says so and else as PNG; whole or not at all.

    Raises:
        LimnerError: The file cannot be written.
    """
    kind, options = FORMATS.get(Path(path).suffix.lower(), ("PNG", {}))
    if kind == "PNG":
        files.write_bytes(path, png_bytes(image))
        return
    buffer = io.BytesIO()
    image.convert("L" if image.mode in ("1", "L") else "RGB").save(buffer, kind, **options)
    files.write_bytes(path, buffer.getvalue())
