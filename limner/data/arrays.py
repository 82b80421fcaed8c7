"""Images that come as arrays: checking them, fitting them and making splits of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from limner.data.fitting import fit_array, fit_note, large_note
from limner.data.imageset import ImageSet, MemoryStore, PictureStore, Split
from limner.data.levels import nearest_level
from limner.data.options import Options
from limner.data.splitting import HELD_OUT, content_hash, divide
from limner.data.stores import FileStore
from limner.errors import LimnerError

__all__ = ["ALL", "Rows", "assemble"]

ALL = "all"  # the part of a source that knows no splits
BLOCK = 2048  # images converted at once


@dataclass(frozen=True, eq=False)
class Rows:
    """Images of one part of a source.

    Attributes:
        array: ``(N, ...)``, in memory or mapped from a file.
        shape: ``(C, H, W)`` of an image.
        labels: Class indices int64 ``(N,)``.
        convert: Makes uint8 ``(n, C, H, W)`` of rows of ``array``; None where ``array`` is that already.
    """

    array: np.ndarray
    shape: tuple[int, int, int]
    labels: np.ndarray | None = None
    convert: Callable[[np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.array)

    @property
    def ready(self) -> bool:
        """Whether ``array`` lies in memory as it is wanted."""
        return self.convert is None and not isinstance(self.array, np.memmap) and self.array.flags.writeable

    def take(self, positions: np.ndarray | slice) -> np.ndarray:
        """uint8 ``(n, C, H, W)``."""
        rows = self.array[positions]
        return rows if self.convert is None else self.convert(rows)


def assemble(
    parts: Mapping[str, Rows],
    options: Options,
    *,
    levels: int | None = None,
    label_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
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
    native = _common_shape(parts, options.source)
    size = options.size or native[1:]
    resized = size != native[1:]
    said = list(notes)
    if resized:
        said.append(fit_note(native[1:], size, options.fit))
    elif options.size is None:
        said += large_note(size)
    members = _divide(parts, options, said)
    shape = (native[0], *size)
    total = sum(map(len, parts.values())) * int(np.prod(shape))
    ready = not resized and all(rows.ready for rows in parts.values())  # lies in memory anyway
    in_memory = ready or total <= options.memory_limit
    if not in_memory:
        said.append("the images do not fit in the memory limit: they are read anew whenever they are used")

    known = levels if not resized else None
    look = _Look(active=known is None)
    splits: dict[str, Split] = {}
    for name, (rows, where) in members.items():
        reader = _Reader(rows, size, resized, options)
        store: PictureStore
        if in_memory:
            store = MemoryStore(reader.all(where, look, name))
        else:
            positions = np.arange(len(rows)) if where is None else where
            for start in range(0, len(positions) if look.active else 0, BLOCK):
                look.at(reader.fitted(positions[start : start + BLOCK]))
                options.progress(f"looking at {name}", start, len(positions))
            store = FileStore(reader.one, positions, shape)
        labels = rows.labels if rows.labels is None or where is None else rows.labels[where]
        splits[name] = Split(store, None if labels is None else torch.from_numpy(labels))
    found = known or (2 if look.binary() else 256)
    said += _level_notes(found, levels, known, options.levels)
    return ImageSet(options.source, shape, options.levels or found, splits, label_names, (), tuple(said))


def _common_shape(parts: Mapping[str, Rows], source: str) -> tuple[int, int, int]:
    if not (ALL in parts or "train" in parts):
        raise LimnerError(f"{source} has images for {', '.join(parts)} but none to train on")
    for rows in parts.values():
        if not len(rows) or not all(rows.shape):
            raise LimnerError(f"{source} holds no images: {len(rows)} of shape {rows.shape}")
    shapes = {rows.shape for rows in parts.values()}
    if len(shapes) > 1:
        raise LimnerError(f"{source} has images of different shapes {sorted(shapes)} in its splits")
    return shapes.pop()


def _divide(parts: Mapping[str, Rows], options: Options, notes: list[str]) -> dict[str, tuple[Rows, np.ndarray | None]]:
    """Rows and positions by split, in the order train, validation, test; None for all in their own order."""
    missing = {name: share for name, share in HELD_OUT.items() if name not in parts}
    whole = parts[ALL] if ALL in parts else parts["train"]
    divided: dict[str, np.ndarray] = {}
    if missing:
        hashes: list[bytes] = []
        for start in range(0, len(whole), BLOCK):
            hashes += map(content_hash, whole.take(slice(start, start + BLOCK)))
            options.progress("dividing", len(hashes), len(whole))
        divided = divide(hashes, missing)
        if not all(map(len, divided.values())):
            notes.append("too few different images for a validation and a test split: both are needed to measure")
        elif ALL not in parts:
            notes.append(f"{' and '.join(missing)} taken out of train: a tenth each, by the images' content")
    return {name: (whole, divided[name]) if name in divided else (parts[name], None) for name in ("train", *HELD_OUT)}


@dataclass(frozen=True)
class _Reader:
    """Rows, fitted; and quantized where levels were asked for."""

    rows: Rows
    size: tuple[int, int]
    resized: bool
    options: Options

    def fitted(self, positions: np.ndarray | slice) -> np.ndarray:
        images = self.rows.take(positions)
        return fit_array(images, self.size, self.options.fit) if self.resized else images

    def quantized(self, images: np.ndarray) -> np.ndarray:
        if self.options.levels in (None, 256):
            return images
        return nearest_level(torch.from_numpy(np.array(images)), self.options.levels).numpy()

    def one(self, position: int) -> np.ndarray:
        return self.quantized(self.fitted(slice(position, position + 1)))[0]

    def all(self, where: np.ndarray | None, look: _Look, name: str) -> torch.Tensor:
        """All images at ``where``, uint8 ``(N, C, H, W)``; the array itself where nothing is to be done."""
        n = len(self.rows) if where is None else len(where)
        as_is = where is None and self.rows.ready and not self.resized and self.options.levels in (None, 256)
        images = self.rows.array if as_is else np.empty((n, self.rows.shape[0], *self.size), np.uint8)
        for start in range(0, n, BLOCK):
            block = slice(start, min(start + BLOCK, n))
            if not as_is:
                fitted = self.fitted(block if where is None else where[block])
                images[block] = self.quantized(fitted)
                self.options.progress(f"reading {name}", block.stop, n)
            look.at(images[block] if as_is else fitted)
        return torch.from_numpy(images)


class _Look:
    """Whether all pixels shown to it are 0 or 255, and both occur."""

    def __init__(self, active: bool) -> None:
        self.active, self.extreme, self.dark, self.bright = active, active, False, False

    def at(self, images: np.ndarray) -> None:
        if self.active:
            dark, bright = int((images == 0).sum()), int((images == 255).sum())
            self.dark, self.bright = self.dark or dark > 0, self.bright or bright > 0
            self.active = self.extreme = dark + bright == images.size

    def binary(self) -> bool:
        return self.extreme and self.dark and self.bright


def _level_notes(found: int, native: int | None, known: int | None, asked: int | None) -> list[str]:
    if asked is not None:
        return [] if asked in (256, found) else [f"every pixel was moved to the nearest of {asked} levels"]
    if known is None and native not in (None, found):
        return [f"fitting makes values in between: {found} levels instead of {native}"]
    return ["every pixel is black or white: 2 levels"] if native is None and found == 2 else []
