"""Images that come as arrays: checking them, fitting them and making splits of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limner.data.fitting import choose_size, fit_array
from limner.data.imageset import ImageSet, ImageStore, MemoryStore, Split
from limner.data.levels import extremes
from limner.data.options import SLACK, Options, too_large
from limner.data.splitting import ALL, HELD_OUT, content_hash, doubles, hold_out
from limner.data.stores import FileStore
from limner.errors import LimnerError

__all__ = ["AXES", "Rows", "assemble", "channels_first", "check_room", "scale_of"]

AXES = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3"
BLOCK, VALUES = 2048, 1 << 23  # images converted at once, and their values
LOOKED_AT = 4096  # rows looked at once: a mapped file may be larger than the memory
LARGEST = 1 << 25  # values of an image
BOOKKEEPING = 400  # bytes that are kept of an image besides its pixels


@dataclass(frozen=True, eq=False)
class Rows:
    """Images of one part of a source."""

    array: np.ndarray  # (N, C, H, W), in memory or mapped from a file
    labels: np.ndarray | None = None  # class indices int64 (N,)
    scale: int = 1  # what values are multiplied by to lie in 0..255

    def __len__(self) -> int:
        return len(self.array)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an image."""
        _, c, h, w = self.array.shape
        return c, h, w

    @property
    def ready(self) -> bool:
        """Whether ``array`` lies in memory as it is wanted."""
        return self._are_bytes and self.array.flags.c_contiguous and self.array.flags.writeable and bool(self.held)

    @property
    def held(self) -> int:
        """Bytes of ``array`` in memory: none where it is mapped from a file."""
        return 0 if isinstance(self.array, np.memmap) else self.array.nbytes

    def blocks(self, n: int | None = None, size: int = 0) -> Iterator[slice]:
        """All (or ``n``) images in parts that memory has room for, also where ``size`` values are made of each."""
        n, each = len(self) if n is None else n, max(size, *self.shape, int(np.prod(self.shape)))
        step = max(1, min(BLOCK, VALUES // each))
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def take(self, positions: np.ndarray | slice) -> np.ndarray:
        """uint8 ``(n, C, H, W)``."""
        rows = self.array[positions]
        if self._are_bytes:
            return rows
        values = rows.astype(np.float64)
        values *= self.scale
        return np.round(values, out=values).astype(np.uint8)

    @property
    def _are_bytes(self) -> bool:
        return self.array.dtype == np.uint8 and self.scale == 1


def channels_first(array: np.ndarray) -> np.ndarray | None:
    """A view ``(N, C, H, W)`` of ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with C 1 or 3; None of others."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):  # also where both could be: channels last is commoner in files
        return array.transpose(0, 3, 1, 2)
    return array if array.ndim == 4 and array.shape[1] in (1, 3) else None


def scale_of(images: Mapping[str, np.ndarray], source: str | Path) -> tuple[int, list[str]]:
    """What to multiply values by to have 0..255, the same for all parts; and what to say of it.

    Raises:
        LimnerError: They are no numbers, or lie outside of 0..1 (fractions) or 0..255.
    """
    lowest, highest, kinds = np.inf, -np.inf, set()
    for array in images.values():
        if array.dtype.kind not in "biuf":
            raise LimnerError(f"{source}: pixels must be numbers, not {array.dtype}")
        kinds.add(array.dtype.kind)
        for start in range(0, len(array) if array.size else 0, LOOKED_AT):
            rows = array[start : start + LOOKED_AT]
            low, high = float(rows.min()), float(rows.max())
            if not np.isfinite(low + high):
                raise LimnerError(f"{source}: pixels are NaN or infinite (images {start} to {start + len(rows) - 1})")
            lowest, highest = min(lowest, low), max(highest, high)
    if "f" in kinds:
        if len(kinds) > 1:
            raise LimnerError(f"{source}: one part has whole numbers and another fractions: give all as uint8")
        if lowest < 0 or highest > 1:
            found = f"{lowest:g}..{highest:g}"
            raise LimnerError(f"{source}: fractions must lie in 0..1, not {found}: scale them, or give uint8")
        return 255, ["values from 0 to 1 were multiplied by 255 and rounded"]
    if lowest < 0 or highest > 255:
        raise LimnerError(f"{source}: whole numbers must lie in 0..255, not {lowest:g}..{highest:g}")
    return (255, ["values 0 and 1 were read as black and white"]) if highest == 1 else (1, [])


def check_room(source: str, shapes: Mapping[str, tuple[int, ...]], limit: int) -> None:
    """Refuse more images than can be kept book of, or larger ones than are computed with; ``shapes`` of all parts.

    Raises:
        LimnerError: There are.
    """
    n = sum(shape[0] for shape in shapes.values())
    if n * BOOKKEEPING > limit + SLACK:
        raise too_large(source, f"{n:,} images, which need {BOOKKEEPING} bytes each besides their pixels", limit)
    for shape in shapes.values():
        if math.prod(shape[1:]) > LARGEST:
            sizes = "×".join(map(str, shape[1:]))
            raise LimnerError(f"{source}: images of {sizes} values are too large for an array: give them as files")


def assemble(
    parts: Mapping[str, Rows],
    options: Options,
    *,
    levels: int | None = None,
    label_names: tuple[str, ...] = (),
    notes: Collection[str] = (),
) -> ImageSet:
    """A set of ``parts``.

    Args:
        parts: By split name; or one part ``all``, which is divided. Splits that are missing come from train.
        options: How to read.
        levels: Levels of the pixels, None to look.
        label_names: Names of the classes.
        notes: What was decided before.

    Raises:
        LimnerError: The parts are empty or of different shapes, or there is nothing to train on.
    """
    channels, *native = _common_shape(parts, options.source)
    check_room(options.source, {name: rows.array.shape for name, rows in parts.items()}, options.memory_limit)
    size, fitting_notes = choose_size([(native[0], native[1])], options.size, options.fit, options.longest)
    said = [*notes, *fitting_notes]
    members = _divide(parts, options, said, given=levels is None)
    shape, resized = (channels, *size), list(size) != native
    unchanged = not resized and options.levels in (None, 256)
    ready = unchanged and all(rows.ready for rows in parts.values())  # lies in memory anyway
    counts = {name: len(rows if where is None else where) for name, (rows, where) in members.items()}
    copied = sum(n for name, n in counts.items() if not ready or members[name][1] is not None) * int(np.prod(shape))
    held, limit = sum(rows.held for rows in parts.values()), options.memory_limit
    in_memory = held + copied <= limit + SLACK and (ready or sum(counts.values()) * int(np.prod(shape)) <= limit)
    if not in_memory:
        said.append("the images do not fit in the memory limit: they are read anew whenever they are used")

    known = levels if not resized else None
    found = known or (2 if _is_binary([_Reader(rows, size, options) for rows in parts.values()]) else 256)
    window = options.window_of(sum(counts.values()), shape)
    splits: dict[str, Split] = {}
    for name, (rows, where) in members.items():
        reader = _Reader(rows, size, options)
        store: ImageStore
        if in_memory:
            store = MemoryStore(reader.all(where, name))
        else:
            store = FileStore(reader.one, np.arange(len(rows)) if where is None else where, shape)
        labels = rows.labels if rows.labels is None or where is None else rows.labels[where]
        positions = None if where is None else torch.from_numpy(where)
        splits[name] = Split(store, None if labels is None else torch.from_numpy(labels), (), positions, window)
    if levels is None or options.levels is not None:
        said += options.level_notes(found)
    elif levels != found:
        said.append(f"fitting makes values in between: {found} levels instead of {levels}")
    return ImageSet(options.source, shape, options.levels or found, splits, label_names, (), tuple(said))


def _common_shape(parts: Mapping[str, Rows], source: str) -> tuple[int, int, int]:
    if not (ALL in parts or "train" in parts):
        raise LimnerError(f"{source} has images for {', '.join(parts)} but none to train on")
    for rows in parts.values():
        if not rows.array.size:
            raise LimnerError(f"{source} holds no images: {len(rows)} of shape {rows.shape}")
    shapes = {rows.shape for rows in parts.values()}
    if len(shapes) > 1:
        raise LimnerError(f"{source} has images of different shapes {sorted(shapes)} in its splits")
    return shapes.pop()


def _divide(
    parts: Mapping[str, Rows], options: Options, notes: list[str], *, given: bool
) -> dict[str, tuple[Rows, np.ndarray | None]]:
    """Rows and positions by split, in the order train, validation, test; None for all in their own order.

    Images that splits ``given`` by the user share are noted; what was published is what it is.
    """
    divided: dict[str, np.ndarray] = {}
    whole = ALL if ALL in parts else "train"
    complete = HELD_OUT.keys() <= parts.keys()
    hashes: dict[str, list[bytes]] = {name: [] for name in parts if not complete or given}
    for name, of in hashes.items():
        for block in parts[name].blocks():
            of += map(content_hash, parts[name].take(block))
            options.progress("dividing", len(of), len(parts[name]))
    if not complete:
        divided, said = hold_out(hashes[whole], parts)
        notes += said
    names = ("train", *HELD_OUT)
    if hashes and len(parts) > 1:
        notes += doubles(
            {name: [hashes[whole][i] for i in divided[name]] if name in divided else hashes[name] for name in names}
        )
    return {name: (parts[whole], divided[name]) if name in divided else (parts[name], None) for name in names}


@dataclass(frozen=True)
class _Reader:
    """Rows, fitted; and quantized where levels were asked for."""

    rows: Rows
    size: tuple[int, int]
    options: Options

    def blocks(self, n: int | None = None) -> Iterator[slice]:
        return self.rows.blocks(n, self.rows.shape[0] * int(np.prod(self.size)))

    def fitted(self, positions: np.ndarray | slice) -> np.ndarray:
        return fit_array(self.rows.take(positions), self.size, self.options.fit)

    def one(self, position: int) -> np.ndarray:
        return self.options.quantized(self.fitted(slice(position, position + 1)))[0]

    def all(self, where: np.ndarray | None, name: str) -> torch.Tensor:
        """All images at ``where``, uint8 ``(N, C, H, W)``; the array itself where nothing is to be done."""
        as_is = self.rows.ready and self.rows.shape[1:] == self.size and self.options.levels in (None, 256)
        if where is None and as_is:
            return torch.from_numpy(self.rows.array)
        n = len(self.rows) if where is None else len(where)
        images = np.empty((n, self.rows.shape[0], *self.size), np.uint8)
        for block in self.blocks(n):
            images[block] = self.options.quantized(self.fitted(block if where is None else where[block]))
            self.options.progress(f"reading {name}", block.stop, n)
        return torch.from_numpy(images)


def _is_binary(parts: Collection[_Reader]) -> bool:
    """Whether all pixels are 0 or 255, and both occur."""
    values: set[int] = set()
    for reader in parts:
        for block in reader.blocks():
            found = extremes(reader.fitted(block))
            if found is None:
                return False
            values |= found
            reader.options.progress("looking", block.start, len(reader.rows))
    return values == {0, 255}
