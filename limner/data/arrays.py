"""Images that come as arrays: checking them, fitting them and making splits of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from limner.data.fitting import choose_size, fit_array
from limner.data.imageset import ImageSet, ImageStore, MemoryStore, Split
from limner.data.levels import extremes
from limner.data.options import Options
from limner.data.splitting import ALL, HELD_OUT, content_hash, hold_out
from limner.data.stores import FileStore
from limner.errors import LimnerError

__all__ = ["Rows", "assemble", "channels_first"]

BLOCK = 2048  # images converted at once


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
        flags, mapped = self.array.flags, isinstance(self.array, np.memmap)
        return self._are_bytes and flags.c_contiguous and flags.writeable and not mapped

    def take(self, positions: np.ndarray | slice) -> np.ndarray:
        """uint8 ``(n, C, H, W)``."""
        rows = self.array[positions]
        return rows if self._are_bytes else np.round(rows.astype(np.float64) * self.scale).astype(np.uint8)

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
    size, fitting_notes = choose_size([(native[0], native[1])], options.size, options.fit)
    said = [*notes, *fitting_notes]
    members = _divide(parts, options, said)
    shape, resized = (channels, *size), list(size) != native
    ready = not resized and all(rows.ready for rows in parts.values())  # lies in memory anyway
    in_memory = ready or sum(map(len, parts.values())) * int(np.prod(shape)) <= options.memory_limit
    if not in_memory:
        said.append("the images do not fit in the memory limit: they are read anew whenever they are used")

    known = levels if not resized else None
    found = known or (2 if _is_binary([_Reader(rows, size, options) for rows in parts.values()]) else 256)
    splits: dict[str, Split] = {}
    for name, (rows, where) in members.items():
        reader = _Reader(rows, size, options)
        store: ImageStore
        if in_memory:
            store = MemoryStore(reader.all(where, name))
        else:
            store = FileStore(reader.one, np.arange(len(rows)) if where is None else where, shape)
        labels = rows.labels if rows.labels is None or where is None else rows.labels[where]
        splits[name] = Split(store, None if labels is None else torch.from_numpy(labels))
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


def _divide(parts: Mapping[str, Rows], options: Options, notes: list[str]) -> dict[str, tuple[Rows, np.ndarray | None]]:
    """Rows and positions by split, in the order train, validation, test; None for all in their own order."""
    divided: dict[str, np.ndarray] = {}
    whole = parts[ALL] if ALL in parts else parts["train"]
    if not HELD_OUT.keys() <= parts.keys():
        hashes: list[bytes] = []
        for start in range(0, len(whole), BLOCK):
            hashes += map(content_hash, whole.take(slice(start, start + BLOCK)))
            options.progress("dividing", len(hashes), len(whole))
        divided, said = hold_out(hashes, parts)
        notes += said
    return {name: (whole, divided[name]) if name in divided else (parts[name], None) for name in ("train", *HELD_OUT)}


@dataclass(frozen=True)
class _Reader:
    """Rows, fitted; and quantized where levels were asked for."""

    rows: Rows
    size: tuple[int, int]
    options: Options

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
        for start in range(0, n, BLOCK):
            block = slice(start, min(start + BLOCK, n))
            images[block] = self.options.quantized(self.fitted(block if where is None else where[block]))
            self.options.progress(f"reading {name}", block.stop, n)
        return torch.from_numpy(images)


def _is_binary(parts: Collection[_Reader]) -> bool:
    """Whether all pixels are 0 or 255, and both occur."""
    values: set[int] = set()
    for reader in parts:
        for start in range(0, len(reader.rows), BLOCK):
            found = extremes(reader.fitted(slice(start, start + BLOCK)))
            if found is None:
                return False
            values |= found
            reader.options.progress("looking", start, len(reader.rows))
    return values == {0, 255}
