"""IDX files, as MNIST comes in them: 0, 0, type, axes; the size of each axis, big-endian; the bytes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from limner.data.arrays import Rows, assemble, channels_first, check_room
from limner.data.imageset import ImageSet
from limner.data.numpy_files import whole_numbers
from limner.data.options import Options, too_large
from limner.data.packed import read_bytes, sibling
from limner.data.splitting import ALL
from limner.errors import LimnerError

__all__ = ["is_idx", "parse_idx", "read_idx"]

UNSIGNED_BYTE = 0x08
NAME = re.compile(r"(idx\d?-ubyte|\.idx\d?)(\.gz)?$", re.IGNORECASE)


def is_idx(path: Path) -> bool:
    """Whether ``path`` is named like an IDX file."""
    return NAME.search(path.name) is not None


def parse_idx(path: Path, axes: tuple[int, ...], limit: int) -> np.ndarray:
    """The uint8 array of an IDX file, in memory and writable; it must have one of these numbers of ``axes``.

    Raises:
        LimnerError: It is no IDX file of unsigned bytes, its length is not what its header says, or it holds more than
            ``limit`` bytes.
    """
    start = read_bytes(path, 4 + 4 * 8)
    if len(start) < 4 or start[:2] != b"\0\0" or not 1 <= start[3] <= 8:
        raise LimnerError(f"{path}: not an IDX file (its first bytes are {start[:4].hex(' ') or 'missing'})")
    if start[2] != UNSIGNED_BYTE:
        raise LimnerError(f"{path}: holds type 0x{start[2]:02x}, limner reads unsigned bytes (0x08)")
    if start[3] not in axes:
        raise LimnerError(f"{path}: has {start[3]} axes where {' or '.join(map(str, axes))} were expected")
    offset = 4 + 4 * start[3]
    if len(start) < offset:
        raise LimnerError(f"{path}: its header is cut off")
    shape = np.frombuffer(start, ">u4", start[3], offset=4).tolist()
    promised = math.prod(shape)
    content = read_bytes(path, offset + min(promised, limit) + 1)
    if promised > limit and len(content) > offset + limit:
        raise too_large(path, f"{promised:,} bytes of images or labels", limit)
    if len(content) != offset + promised:
        there = "more" if len(content) > offset + promised else f"only {len(content) - offset:,}"
        sizes = "×".join(map(str, shape))
        raise LimnerError(f"{path}: its header promises {sizes} = {promised:,} bytes, there are {there}")
    return np.frombuffer(content, np.uint8, offset=offset).reshape(shape)


def read_idx(path: Path, options: Options) -> ImageSet:
    """The images of an IDX file; with its labels, and its test set, where files so named lie beside it.

    Raises:
        LimnerError: A file is damaged or holds no images.
    """
    files = {ALL: path}
    if path.name.startswith("train-") and (test := sibling(path, "train-", "t10k-")):
        files = {"train": path, "test": test}
    images, labels = {}, {}
    limit = options.memory_limit
    for part, file in files.items():
        array = parse_idx(file, (3, 4), limit)
        limit -= array.nbytes
        check_room(str(file), {part: array.shape}, options.memory_limit)
        rows = channels_first(array)
        if rows is None:
            raise LimnerError(f"{file}: its axes {array.shape} are not those of grey or RGB images")
        images[part] = rows
        of_labels = sibling(Path(str(file).replace("idx3", "idx1")), "images", "labels")
        if of_labels and "images" in file.name:
            labels[part] = parse_idx(of_labels, (1,), options.memory_limit)
            if len(labels[part]) != len(array):
                raise LimnerError(f"{of_labels}: {len(labels[part])} labels for {len(array)} images")
    indices, label_names = whole_numbers(labels, path)
    parts = {part: Rows(array, indices.get(part)) for part, array in images.items()}
    notes = [f"test is {files['test'].name}"] if "test" in files else []
    return assemble(parts, options, label_names=label_names, notes=notes)
