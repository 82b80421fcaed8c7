"""Bitmaps: grids of samples, rows to compare, contact sheets by class.

Everything is composed at one image pixel per pixel and only then enlarged, by a whole number and without
smoothing: what is seen is what the model drew, also at 8 x 8.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from limner import files
from limner.data.axes import as_channels_first
from limner.errors import LimnerError

__all__ = ["class_sheet", "contact_sheet", "first_columns", "grid", "pairs", "png_bytes", "save_png", "strip"]

GAP, PAPER = 128, "#808080"  # the same neutral grey: tells black and white images apart from their surroundings
WIDEST = 1200  # px, the longest side up to which small images are enlarged
CELL = (48, 128)  # px, the longer side of one enlarged image: at least, at most
MARGIN = "limner-margin"  # in a sheet's info: the pixels left of its images, where names are
COMFORTABLE = 640  # px, the longer side of a sheet towards which images grow within CELL


def grid(
    images: torch.Tensor | np.ndarray, *, columns: int | None = None, gap: int = 1, scale: int | None = None
) -> Image.Image:
    """Images in reading order on one sheet.

    Args:
        images: uint8 ``(N, C, H, W)``, grey (C = 1) or RGB (C = 3); of an array ``(N, H, W)`` or ``(N, H, W, C)``, too.
        columns: Images in a row; by default the sheet is about square, rather wider than tall, with as few empty places
            as can be.
        gap: Neutral pixels between images and around them, counted in image pixels (before scaling); 0
            joins them, as the plane of a two-dimensional latent wants it.
        scale: Enlargement; by default small images grow until they are comfortable to look at.

    Returns:
        Mode ``L`` or ``RGB``; with r rows of c images ``scale * (c (W + gap) + gap)`` wide and
        ``scale * (r (H + gap) + gap)`` high. The image in row i, column j starts
        ``scale * (gap + i (H + gap))`` below the top and ``scale * (gap + j (W + gap))`` from the left.

    Raises:
        LimnerError: ``images`` has another type or shape, or a number is out of range.
    """
    pixels = _pixels(images)
    n, h, w, _ = pixels.shape
    if columns is None:
        square = math.ceil(math.sqrt(n * h / w))
        columns = _without_holes(n, square, math.ceil(1.6 * square))
    if columns < 1 or gap < 0 or (scale is not None and scale < 1):
        raise LimnerError(f"a grid needs columns >= 1, gap >= 0, scale >= 1: got {columns}, {gap}, {scale}")
    sheet = _sheet(pixels, columns, gap)
    return _enlarged(sheet, scale or _comfortable(sheet, max(h, w)))


def first_columns(sheet: Image.Image, size: tuple[int, int], columns: int, *, scale: int) -> Image.Image:
    """The left part of a sheet of images: its first ``columns`` columns (all, if it has not more), without names.

    Args:
        sheet: From ``grid`` with a gap of 1 or ``class_sheet``, at any scale; also read from its PNG.
        size: ``(H, W)`` of its images.
        columns: How many to keep.
        scale: Enlargement of the result.
    """
    h, w = size[0] + 1, size[1] + 1
    names = int(sheet.info.get(MARGIN, 0))  # beside rows
    sheet = sheet.crop((names, 0, sheet.width, sheet.height))
    for found in range(min(sheet.size) // min(h, w), 0, -1):
        width, rest = divmod(sheet.width, found)
        height, beyond = divmod(sheet.height, found)
        if rest == beyond == 0 and width % w == height % h == 1:
            kept = min(width, columns * w + 1)
            part = sheet.crop((0, 0, kept * found, sheet.height))
            return part.resize((kept * scale, height * scale), Image.Resampling.NEAREST)
    return sheet.copy()  # of images of another size


def pairs(originals: torch.Tensor, *others: torch.Tensor, scale: int | None = None) -> Image.Image:
    """Originals with what was made of them right below: reconstructions, completions, nearest neighbours.

    Rows of up to 10 images, of one length where that can be, alternate between the sets; where the images need more
    than one band of rows, a wider gap stands between the bands.

    Args:
        originals: uint8 ``(N, C, H, W)``.
        *others: One set or several, each with the shape of ``originals``.
        scale: As in ``grid``.

    Raises:
        LimnerError: The sets differ in shape, or as in ``grid``.
    """
    sets = [_pixels(images) for images in (originals, *others)]
    for other in sets[1:]:
        if other.shape != sets[0].shape:
            raise LimnerError(f"images to compare must agree in N, H, W, C: {sets[0].shape} beside {other.shape}")
    n, h, w, _ = sets[0].shape
    columns = n if n <= 10 else _without_holes(n, 10, 6)
    bands: list[np.ndarray] = []
    for start in range(0, n, columns):
        rows = [_sheet(pixels[start : start + columns], columns) for pixels in sets]
        # Each row brings its own gap above and below: neighbours share one, bands keep three.
        bands += [rows[0], *(row[1:] for row in rows[1:]), np.full_like(rows[0][:1], GAP)]
    sheet = np.concatenate(bands[:-1])
    return _enlarged(sheet, scale or _comfortable(sheet, max(h, w)))


def contact_sheet(
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    label_names: Sequence[str] = (),
    *,
    columns: int = 12,
    rows: int = 20,
) -> Image.Image:
    """A first look at a data set: one row a class with its name beside, or a plain grid without labels.

    Classes without an image are left out. Of a class at most ``columns`` images are shown, of the classes
    at most ``rows``; how many classes are missing is said at the bottom.

    Args:
        images: uint8 ``(N, C, H, W)``.
        labels: Class indices int64 ``(N,)``.
        label_names: Names of the classes; the index is written where there is none.
        columns: Images in a row.
        rows: Classes at most.
    """
    if labels is None:
        return grid(images)
    pixels = _pixels(images)
    classes = labels.cpu().numpy()
    present = np.unique(classes)
    shown = [pixels[classes == k][:columns] for k in present[:rows]]
    columns = max(len(row) for row in shown)
    h, w = pixels.shape[1:3]
    # (r (H + 1) + 1, c (W + 1) + 1, C): neighbours share a gap
    sheet = np.concatenate([_sheet(row, columns)[1 if i else 0 :] for i, row in enumerate(shown)])
    scale = max(_comfortable(sheet, max(h, w)), math.ceil(14 / h))  # a name needs its 14 px
    body = _enlarged(sheet, scale)

    font = _font(min(16, max(11, scale * h // 3)))
    names = [_shortened(label_names[k] if 0 <= k < len(label_names) else str(k), font) for k in present[:rows]]
    margin = 16 + math.ceil(max(font.getlength(name) for name in names))
    hidden = len(present) - len(names)
    page = Image.new(body.mode, (margin + body.width, body.height + (26 if hidden else 0)), PAPER)
    page.paste(body, (margin, 0))
    page.info[MARGIN] = str(margin)
    draw = ImageDraw.Draw(page)
    for i, name in enumerate(names):
        middle = scale * (1 + i * (h + 1) + h / 2)
        draw.text((margin - 8, middle), name, fill="black", font=font, anchor="rm")
    if hidden:
        draw.text((margin, body.height + 6), f"and {hidden} more classes", fill="black", font=_font(12))
    return page


def class_sheet(
    images: torch.Tensor, labels: torch.Tensor | None, label_names: Sequence[str] = (), *, columns: int = 16
) -> Image.Image:
    """Images class by class, as samples of a conditional model: each class in rows of its own, its name beside them.

    Args:
        images: uint8 ``(N, C, H, W)``.
        labels: Class indices int64 ``(N,)``, as many of each class; None makes a plain ``grid``.
        label_names: As in ``contact_sheet``.
        columns: Images in a row at most.
    """
    if labels is None:
        return grid(images)
    order, labels = labels.argsort(stable=True), labels.sort().values
    present, counts = labels.unique(return_counts=True)
    most = int(counts.max())
    wide = most if most <= columns else _without_holes(most, columns, max(1, columns // 3))
    rows = -(-most // wide)
    place = torch.cat([torch.arange(int(n)) for n in counts])  # within the class
    row = torch.repeat_interleave(torch.arange(len(present)), counts) * rows + place // wide
    names = []
    for k in present.tolist():
        names += [label_names[k] if k < len(label_names) else str(k), *[""] * (rows - 1)]
    return contact_sheet(images.cpu()[order], row, names, columns=wide, rows=len(names))


def strip(frames: Sequence[Image.Image], captions: Sequence[str] = (), *, space: int = 12) -> Image.Image:
    """Sheets side by side, as the samples after 1, 2, 5... epochs, each with its caption below.

    Args:
        frames: At least one image of any size and mode.
        captions: None, or one a frame.
        space: Neutral pixels between frames.
    """
    mode = "L" if all(frame.mode in ("1", "L") for frame in frames) else "RGB"
    width = sum(frame.width for frame in frames) + space * (len(frames) - 1)
    height = max(frame.height for frame in frames)
    font = _font(max(13, width // 80))  # still readable where a page shrinks a wide strip
    page = Image.new(mode, (width, height + (round(1.8 * font.size) if captions else 0)), PAPER)
    draw, left = ImageDraw.Draw(page), 0
    for i, frame in enumerate(frames):
        page.paste(frame.convert(mode), (left, 0))
        if captions:
            text = _shortened(captions[i], font, frame.width)
            draw.text((left + frame.width / 2, height + 5), text, fill="black", font=font, anchor="ma")
        left += frame.width + space
    return page


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write ``image`` to ``path`` as PNG, whole or not at all.

    Raises:
        LimnerError: The file cannot be written.
    """
    files.write_bytes(path, png_bytes(image))


def png_bytes(image: Image.Image) -> bytes:
    """The image as a PNG file; the width of the names beside its rows is written into it."""
    buffer, notes = io.BytesIO(), PngInfo()
    if MARGIN in image.info:
        notes.add_text(MARGIN, image.info[MARGIN])
    image.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def _pixels(images: torch.Tensor | np.ndarray) -> np.ndarray:
    """Checked images as uint8 (N, H, W, C)."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        first = images.ndim == 4 and images.shape[1] in (1, 3)  # as tensors are
        images = torch.from_numpy((images if first else as_channels_first(images, "images to show")).copy())
    wanted, shape = "images to show must be uint8 (N, 1 or 3, H, W)", tuple(images.shape)
    if isinstance(images, np.ndarray) or images.dtype != torch.uint8:
        raise LimnerError(f"{wanted}, not {images.dtype} {shape}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise LimnerError(f"{wanted}, not of shape {shape}")
    return images.detach().cpu().permute(0, 2, 3, 1).numpy()


def _without_holes(n: int, first: int, last: int) -> int:
    """Columns for ``n`` images, from ``first`` towards ``last``: with the fewest empty places, the first of those."""
    step = 1 if last >= first else -1
    return min(range(min(n, first), min(n, last) + step, step), key=lambda columns: -n % columns)


def _sheet(pixels: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images (N, H, W, C) on a sheet (r (H + gap) + gap, c (W + gap) + gap, C); empty places are gap."""
    n, h, w, c = pixels.shape
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), GAP, dtype=np.uint8)
    for k, image in enumerate(pixels):
        i, j = divmod(k, columns)
        top, left = gap + i * (h + gap), gap + j * (w + gap)
        sheet[top : top + h, left : left + w] = image
    return sheet


def _comfortable(sheet: np.ndarray, cell: int) -> int:
    """A scale: towards COMFORTABLE for the sheet, within CELL for the cell, never past WIDEST."""
    longest = max(sheet.shape[:2])
    wished = min(max(COMFORTABLE // longest, math.ceil(CELL[0] / cell)), max(1, CELL[1] // cell))
    return max(1, min(wished, WIDEST // longest))


def _enlarged(sheet: np.ndarray, scale: int) -> Image.Image:
    """Nearest neighbour."""
    large = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(large[..., 0] if large.shape[-1] == 1 else large)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: Pillow's own knows neither Greek nor Cyrillic class names."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float = 180) -> str:
    """``text`` cut with an ellipsis to at most ``width`` px; it stays in one line."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
