"""One image file to pixels: grey or RGB, 8 bits, upright, the same on every call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from limner.data.packed import DAMAGE, Turnstile
from limner.errors import reason_of

__all__ = ["EXTENSIONS", "Decoded", "Unreadable", "array_of", "decode", "decoded", "header_size", "quiet"]

# Formats whose files may meet us under any of EXTENSIONS. Not among them: EPS and WMF, which Pillow hands to
# other programs, and containers of documents.
FORMATS = (
    "AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "MPO", "MSP", "PCX", "PNG",
    "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)  # fmt: skip
EXTENSIONS = frozenset((
    ".apng", ".avif", ".bmp", ".bw", ".dds", ".dib", ".gif", ".icns", ".ico", ".im", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".msp", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".rgb",
    ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".webp", ".xbm", ".xpm",
))  # fmt: skip

ANIMATED = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # formats whose files may hold images one after the other

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
FAILURES = (*DAMAGE, *BOMBS, AssertionError, AttributeError, ImportError)
STRIP = 1 << 22  # pixels converted at once
WORKING = 12  # bytes a pixel that decoding takes
_turnstile = Turnstile(3 << 28)
if "PILLOW_BLOCK_SIZE" not in os.environ:
    # Blocks so large go back to the system at once; Pillow's own, of 16 MB, glibc keeps for the thread that had them.
    Image.core.set_block_size(1 << 26)

IMAGE_WIDTH, IMAGE_LENGTH, ORIENTATION = 0x0100, 0x0101, 0x0112  # tags of TIFF and EXIF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(Exception):
    """A file is no image, or a damaged one; the text is the reason, in one line."""


@dataclass(frozen=True)
class Decoded:
    """An image at its own size."""

    image: Image.Image  # mode L, or RGB if any pixel has a colour
    see_through: bool  # it had transparent pixels, now laid on white
    deep: tuple[int, int] | None = None  # the smallest and the largest of 16-bit values, now of 8 bits
    animated: bool = False  # it is the first of several images in the file


def decode(stream: BinaryIO | Image.Image) -> Decoded:
    """Read the (first) image in ``stream``, a file in any format of Pillow's or an image that Pillow has opened.

    It is upright (EXIF), transparent parts on white, 16 bits scaled to 8; grey exactly if R = G = B everywhere.

    Raises:
        Unreadable: The file is damaged, empty, too large or no image.
    """
    with decoded(stream) as found:
        return found


@contextmanager
def decoded(stream: BinaryIO | Image.Image) -> Iterator[Decoded]:
    """As ``decode``, for threads: other large images wait until this one has been used."""
    with _opened(stream) as image:
        animated = _is_animated(image)
        image.load()
        deep = _extent(image) if image.mode.startswith("I") else None
        turn = UPRIGHT.get(_orientation(image))  # Pillow has turned TIFF itself by now, and dropped the tag
        upright = image if turn is None else image.transpose(turn)
        flat, see_through = _to_8_bits(upright)
        for whole in (image, upright):
            if whole is not flat and whole is not stream:  # which is the caller's
                whole.close()  # as large again
        yield Decoded(_without_false_colour(flat), see_through, deep, animated)


def header_size(stream: BinaryIO | Image.Image) -> tuple[int, int]:
    """``(H, W)`` of the upright image in ``stream``, from its header alone.

    Raises:
        Unreadable: The header cannot be read.
    """
    with _opened(stream) as image:
        width, height = image.size
        orientation = _orientation(image)
        if isinstance(image, TiffImageFile):  # some versions of Pillow turn its size already, some do not
            width, height = image.tag_v2[IMAGE_WIDTH], image.tag_v2[IMAGE_LENGTH]
            orientation = image.tag_v2.get(ORIENTATION, 1)
        height, width = int(height), int(width)  # a damaged tag may be anything
        if min(height, width) < 1:
            raise ValueError(f"its header says {width}×{height} pixels")
        return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def array_of(image: Image.Image) -> np.ndarray:
    """The pixels ``(H, W)`` or ``(H, W, C)``; made strip by strip, as Pillow would take twice their memory."""
    strips = _strips(image)
    _, first = next(strips)
    if first is image:
        return np.asarray(image)
    part = np.asarray(first)
    pixels = np.empty((image.height, *part.shape[1:]), part.dtype)
    pixels[: len(part)] = part
    for top, strip in strips:
        pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings, but treat its warning of a decompression bomb as an error.

    Filters are global to the process: hold this around the threads that decode, not inside them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(stream: BinaryIO | Image.Image) -> Iterator[Image.Image]:
    try:
        with _image_in(stream) as image:
            if not all(isinstance(side, int) and side > 0 for side in image.size):  # some formats write it as text
                raise ValueError(f"its header says {image.width}×{image.height} pixels")
            with _turnstile.room(WORKING * image.width * image.height):
                yield image
    except FAILURES as error:
        raise Unreadable(_reason(error, stream)) from error


def _image_in(stream: BinaryIO | Image.Image) -> AbstractContextManager[Image.Image]:
    if isinstance(stream, Image.Image):
        return nullcontext(stream)  # it is the caller's, and stays open
    return Image.open(stream, formats=_formats())


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # a build of Pillow may lack some


def _extent(image: Image.Image) -> tuple[int, int]:
    """The smallest and the largest of its values."""
    found = [(int(part.min()), int(part.max())) for part in (np.asarray(strip) for _, strip in _strips(image))]
    return min(low for low, _ in found), max(high for _, high in found)


def _is_animated(image: Image.Image) -> bool:
    """Whether the file holds several images; previews (MPO), layers (PSD) and sizes (ICO) are none."""
    try:
        return image.format in ANIMATED and bool(getattr(image, "is_animated", False))
    except FAILURES:
        return False


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except FAILURES:  # damaged EXIF data says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, bool]:
    """``image`` in mode L or RGB, and whether parts of it were transparent."""
    if image.mode.startswith("I"):
        return Image.fromarray(_from_integers(array_of(image))), False
    if image.mode == "F":
        return Image.fromarray(_from_floats(array_of(image))), False
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        flat, lowest = Image.new("RGB", image.size), 255
        for top, strip in _strips(image):
            with_alpha = strip.convert("LA").convert("RGBA") if strip.mode == "La" else strip.convert("RGBA")
            white = Image.new("RGBA", strip.size, "white")
            lowest = min(lowest, int(np.asarray(with_alpha.getchannel("A")).min()))
            flat.paste(Image.alpha_composite(white, with_alpha).convert("RGB"), (0, top))
        return flat, lowest < 255
    if image.mode in ("L", "RGB"):
        return image, False
    return image.convert("L" if image.mode == "1" else "RGB"), False


def _from_integers(values: np.ndarray) -> np.ndarray:
    """16-bit grey to 8 bits, rounded; Pillow's own conversion would clip all above 255 to white."""
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65535:
        raise ValueError(f"values from {lowest} to {highest}: more than 16 bits cannot be read")
    return _in_parts(values, lambda part: (part.astype(np.uint32) * 255 + 32767) // 65535)


def _from_floats(values: np.ndarray) -> np.ndarray:
    lowest, highest = float(values.min()), float(values.max())
    if not (lowest >= 0 and highest <= 255):  # also when they are NaN
        raise ValueError(f"floating-point values from {lowest:g} to {highest:g}: only 0..1 and 0..255 can be read")
    return _in_parts(values, lambda part: np.round(part * (255 if highest <= 1 else 1)))


def _in_parts(values: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """uint8 of what ``change`` makes of ``values`` ``(H, W)``, a few rows at a time."""
    made, step = np.empty(values.shape, np.uint8), max(1, STRIP // values.shape[1])
    for top in range(0, len(values), step):
        made[top : top + step] = change(values[top : top + step])
    return made


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Strips of whole rows, each with its uppermost row; the image itself where it is one."""
    width, height = image.size
    step = max(1, STRIP // width)
    if height <= step:
        yield 0, image
        return
    for top in range(0, height, step):
        yield top, image.crop((0, top, width, min(top + step, height)))


def _without_false_colour(image: Image.Image) -> Image.Image:
    if image.mode == "L":
        return image
    if len(set(cast("tuple[int, ...]", image.getpixel((0, 0))))) > 1:  # of most images in colour
        return image
    strips = (np.asarray(strip) for _, strip in _strips(image))
    grey = all((part[..., :1] == part[..., 1:]).all() for part in strips)
    return image.getchannel(0) if grey else image


def _reason(error: BaseException, stream: BinaryIO | Image.Image) -> str:
    if isinstance(error, UnidentifiedImageError):
        if not isinstance(stream, Image.Image) and stream.seekable() and stream.seek(0, 2) == 0:
            return "the file is empty"
        return "not an image that Pillow can read"
    if isinstance(error, BOMBS):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels: taken for a decompression bomb"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    return reason_of(error)
