"""``.amat`` files: one image a line, its pixels as numbers in text, as binarized MNIST comes."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np

from limner.data.arrays import Rows, assemble, check_room
from limner.data.imageset import ImageSet
from limner.data.numpy_files import whole_numbers
from limner.data.options import SLACK, Options, too_large
from limner.data.packed import read_bytes, sibling
from limner.data.splitting import ALL
from limner.errors import LimnerError, reason_of

__all__ = ["is_amat", "parse_amat", "read_amat"]

ZERO, ONE, SPACE, NEWLINE = b"01 \n"


def is_amat(path: Path) -> bool:
    """Whether ``path`` is named like an .amat file."""
    return re.search(r"\.amat(\.gz)?$", path.name, re.IGNORECASE) is not None


def parse_amat(path: Path, limit: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images uint8 ``(N, 1, H, H)`` and labels int64 ``(N,)``, if there is a column of them.

    Raises:
        LimnerError: The file is damaged, more than ``limit`` bytes, or its lines are no square images.
    """
    most = min(limit, (limit + SLACK) // 2)  # what is made of zeros and ones takes as much again while it is made
    text = read_bytes(path, most + 1)
    if len(text) > most:
        raise too_large(path, f"more than {most:,} bytes of text", limit)
    end = text.find(b"\n")
    columns = len(text[: end if end >= 0 else len(text)].split())
    side = math.isqrt(columns)
    if not side or columns - side * side not in (0, 1):
        raise LimnerError(f"{path}: its first line has {columns} numbers: no square image, with or without label")
    pixels = _digits(text, columns) if columns == side * side else None
    if pixels is not None:
        return pixels.reshape(-1, 1, side, side), None
    if 6 * len(text) > limit + SLACK:
        raise too_large(path, f"{len(text):,} bytes of text that take {6 * len(text):,} while they are read", limit)
    return _numbers(text, path, side, columns)


def read_amat(path: Path, options: Options) -> ImageSet:
    """The images of an ``.amat`` file; with its siblings ``_train``, ``_valid`` and ``_test`` as splits.

    Raises:
        LimnerError: A file is damaged.
    """
    files = {ALL: path}
    if "_train" in path.name:
        others = {"validation": sibling(path, "_train", "_valid"), "test": sibling(path, "_train", "_test")}
        found = {part: file for part, file in others.items() if file is not None}
        files = {"train": path, **found} if found else files
    parsed: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    limit = options.memory_limit
    for part, file in files.items():
        parsed[part] = parse_amat(file, limit)
        limit -= parsed[part][0].nbytes
        check_room(str(file), {part: parsed[part][0].shape}, options.memory_limit)
    given = {part: labels for part, (_, labels) in parsed.items() if labels is not None}
    indices, label_names = whole_numbers(given, path)
    parts = {part: Rows(images, indices.get(part)) for part, (images, _) in parsed.items()}
    notes = [f"{part} is {file.name}" for part, file in files.items() if part not in (ALL, "train")]
    return assemble(parts, options, label_names=label_names, notes=notes)


def _digits(text: bytearray, columns: int) -> np.ndarray | None:
    """0/255 ``(N, columns)`` of text that is zeros and ones, singly spaced; None if it is anything else."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    text = text.rstrip()
    text = text.replace(b" \n", b"\n") if len(text) % (2 * columns) != 2 * columns - 1 else text
    text += b"\n"
    if len(text) % (2 * columns):
        return None
    grid = np.frombuffer(text, np.uint8).reshape(-1, columns, 2)
    digits, gaps = grid[..., 0], grid[..., 1]
    if (gaps[:, :-1] != SPACE).any() or (gaps[:, -1] != NEWLINE).any():
        return None
    pixels = digits - ZERO  # wraps around for what lies below
    if int(pixels.max()) > 1:
        return None
    pixels *= 255
    return pixels


def _numbers(text: bytearray, path: Path, side: int, columns: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Any numbers: fractions 0..1 or whole numbers 0..255, and perhaps a label at the end of each line."""
    try:
        table = np.loadtxt(io.BytesIO(text), dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise LimnerError(f"{path}: not a table of numbers: {reason_of(error)}") from error
    pixels, labels = table[:, : side * side], None
    if columns > side * side:
        last = table[:, -1]
        if not np.isfinite(last).all() or (last != np.round(last)).any():
            raise LimnerError(f"{path}: its last column should be labels, but they are no whole numbers")
        labels = last.astype(np.int64)
    lowest, highest = float(pixels.min()), float(pixels.max())
    fractions = highest <= 1
    if not (lowest >= 0 and highest <= 255) or (not fractions and (pixels != np.round(pixels)).any()):
        raise LimnerError(f"{path}: pixels must be fractions 0..1 or whole numbers 0..255 ({lowest:g}..{highest:g})")
    images = np.round(pixels * (255 if fractions else 1)).astype(np.uint8)
    return images.reshape(-1, 1, side, side), labels
