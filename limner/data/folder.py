"""Folders and zips of anybody's images."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from limner.data.decoding import EXTENSIONS, Unreadable, decode, header_size, quiet
from limner.data.files import Files
from limner.data.fitting import choose_size, fit_image
from limner.data.imageset import Broken, ImageSet, MemoryStore, PictureStore, Split
from limner.data.layout import ALL, Layout, arrange
from limner.data.levels import nearest_level
from limner.data.options import Options
from limner.data.splitting import HELD_OUT, content_hash, divide
from limner.data.stores import FileStore, parallel
from limner.errors import LimnerError

__all__ = ["read_images"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class _Facts:
    """What is remembered of an image, whether or not its pixels are."""

    channels: int  # 1 if it is grey
    content: bytes  # hash of the pixels at their own size: --size does not move images between splits
    see_through: bool
    was_binary: bool  # before it was fitted
    values: frozenset[int] | None  # those of {0, 255} that occur, None if others do


class _Reader:
    """Reads images of some files at one size; every pixel that limner sees comes through here."""

    def __init__(self, files: Files, names: tuple[str, ...], options: Options, size: tuple[int, int]) -> None:
        self.files, self.names, self.options, self.size = files, names, options, size
        self.channels = 3

    def see(self, position: int) -> tuple[np.ndarray, _Facts] | Broken:
        """Decode and fit one image: uint8 ``(1 or 3, H, W)``, and what was learnt of it."""
        try:
            with self.files.open(self.names[position]) as stream:
                decoded = decode(stream)
            native = np.asarray(decoded.image)
            fitted = np.asarray(fit_image(decoded.image, self.size, self.options.fit))
        except (Unreadable, OSError, RuntimeError, zipfile.BadZipFile, MemoryError) as error:
            return _broken(self.names[position], error)
        pixels = np.ascontiguousarray(fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1))
        was_binary = _extremes(native) is not None
        content = content_hash(native)
        return pixels, _Facts(len(pixels), content, decoded.see_through, was_binary, _extremes(pixels))

    def finish(self, pixels: np.ndarray) -> np.ndarray:
        """Grey to RGB where the set has colour, and to the levels asked for: uint8 ``(C, H, W)``."""
        if len(pixels) < self.channels:
            pixels = np.repeat(pixels, self.channels, axis=0)
        if self.options.levels in (None, 256):
            return pixels
        return nearest_level(torch.from_numpy(np.array(pixels)), self.options.levels).numpy()

    def read(self, position: int) -> np.ndarray:
        """The finished image at ``position``, for a store."""
        seen = self.see(position)
        if isinstance(seen, Broken):
            raise LimnerError(f"{seen.path} of {self.options.source} could be read before, not now: {seen.reason}")
        return self.finish(seen[0])


def read_images(files: Files, options: Options) -> ImageSet:
    """The images among ``files`` as a set.

    Two passes: the headers for the sizes, then the pixels; no more full-size images are held at a time than
    there are threads.

    Raises:
        LimnerError: There are no images, or none can be read.
    """
    layout = arrange(files.names, EXTENSIONS)
    if not layout.names:
        raise LimnerError(f"{options.source} holds no images: limner reads png, jpg, gif, bmp, tif, webp and such")
    with quiet():
        broken, sizes = _look(files, layout, options)
        good = [i for i in range(len(layout.names)) if i in sizes]
        _insist(good, broken, options)
        size, notes = choose_size([sizes[i] for i in good], options.size, options.fit)
        reader = _Reader(files, layout.names, options, size)
        seen, kept = _read(reader, good, broken)
    _insist(list(seen), broken, options)

    coloured = sum(one.channels == 3 for one in seen.values())
    reader.channels = 3 if coloured else 1
    if 0 < coloured < len(seen):
        notes.append(f"{coloured} of {len(seen)} images are in colour: all are read as RGB")
    if see_through := sum(one.see_through for one in seen.values()):
        notes.append(f"{see_through} of {len(seen)} images have transparent parts: laid on white")
    levels = _levels(list(seen.values()), options, notes)
    shape = (reader.channels, *size)
    in_memory = kept is not None and len(seen) * int(np.prod(shape)) <= options.memory_limit
    if not in_memory:
        notes.append("the images do not fit in the memory limit: they are decoded anew whenever they are used")

    splits: dict[str, Split] = {}
    for name, where in _divide(layout, seen, notes).items():
        store: PictureStore = FileStore(reader.read, where, shape)
        if in_memory and kept is not None:
            images = np.empty((len(where), *shape), np.uint8)
            for slot, position in enumerate(where.tolist()):
                images[slot] = reader.finish(kept.pop(position))
            store = MemoryStore(torch.from_numpy(images))
        labels = torch.tensor(layout.labels)[torch.from_numpy(where)] if layout.labels else None
        splits[name] = Split(store, labels, tuple(layout.names[i] for i in where))
    broken.sort(key=lambda one: one.path)
    return ImageSet(options.source, shape, levels, splits, layout.label_names, tuple(broken), (*layout.notes, *notes))


def _look(files: Files, layout: Layout, options: Options) -> tuple[list[Broken], dict[int, tuple[int, int]]]:
    """First pass: ``(H, W)`` by position, from the headers."""

    def look(name: str) -> tuple[int, int] | Broken:
        try:
            with files.open(name) as stream:
                return header_size(stream)
        except (Unreadable, OSError, RuntimeError, zipfile.BadZipFile, MemoryError) as error:
            return _broken(name, error)

    broken = list(files.broken)
    sizes: dict[int, tuple[int, int]] = {}
    for position, found in enumerate(parallel(look, layout.names)):
        if isinstance(found, Broken):
            broken.append(found)
        else:
            sizes[position] = found
        if position % 500 == 0 or position == len(layout.names) - 1:
            options.progress("looking", position + 1, len(layout.names))
    return broken, sizes


def _read(
    reader: _Reader, positions: list[int], broken: list[Broken]
) -> tuple[dict[int, _Facts], dict[int, np.ndarray] | None]:
    """Second pass: what is known of each image, and the fitted pixels unless they pass the memory limit."""
    seen: dict[int, _Facts] = {}
    kept: dict[int, np.ndarray] | None = {}
    held = 0
    images: Iterator[tuple[np.ndarray, _Facts] | Broken] = parallel(reader.see, positions)
    for done, (position, one) in enumerate(zip(positions, images, strict=True), start=1):
        if isinstance(one, Broken):
            broken.append(one)
        else:
            pixels, seen[position] = one
            held += pixels.nbytes
            if held > reader.options.memory_limit:
                kept = None
            if kept is not None:
                kept[position] = pixels
        if done % 500 == 0 or done == len(positions):
            reader.options.progress("reading", done, len(positions))
    return seen, kept


def _divide(layout: Layout, seen: dict[int, _Facts], notes: list[str]) -> dict[str, np.ndarray]:
    """Positions by split, ordered by content: the first of a split are a fair sample of it."""
    members: dict[str, np.ndarray] = {}
    for part in (ALL, *SPLITS):
        members[part] = np.array([i for i in seen if layout.parts[i] == part], np.int64)
    missing = {name: share for name, share in HELD_OUT.items() if not len(members[name])}
    whole = members[ALL] if len(members[ALL]) else members["train"]
    divided = divide([seen[i].content for i in whole], missing)
    splits = {name: whole[where] for name, where in divided.items()}
    for name in set(HELD_OUT) - set(missing):
        splits[name] = members[name][divide([seen[i].content for i in members[name]], {})["train"]]
    if missing and not all(len(splits[name]) for name in missing):
        notes.append("too few different images for a validation and a test split: both are needed to measure")
    elif not len(members[ALL]) and missing:
        notes.append(f"{' and '.join(missing)} taken out of train: a tenth each, by the images' content")
    training = {seen[i].content for i in splits["train"]}
    doubles = {name: sum(seen[i].content in training for i in splits[name]) for name in HELD_OUT}
    notes += [f"{n} images of {name} are also in train, pixel for pixel" for name, n in doubles.items() if n]
    return {name: splits[name] for name in SPLITS}


def _levels(seen: list[_Facts], options: Options, notes: list[str]) -> int:
    values = [one.values for one in seen]
    binary = None not in values and frozenset().union(*(v for v in values if v)) == {0, 255}
    if options.levels is not None:
        if options.levels < 256 and not (binary and options.levels == 2):
            notes.append(f"every pixel was moved to the nearest of {options.levels} levels")
        return options.levels
    if binary:
        notes.append("every pixel is black or white: 2 levels")
        return 2
    if all(one.was_binary for one in seen):
        notes.append("the images are black and white, but fitting them makes greys: 256 levels (--levels 2)")
    return 256


def _extremes(pixels: np.ndarray) -> frozenset[int] | None:
    dark, bright = int((pixels == 0).sum()), int((pixels == 255).sum())
    if dark + bright != pixels.size:
        return None
    return frozenset([0] * (dark > 0) + [255] * (bright > 0))


def _insist(good: list[int], broken: list[Broken], options: Options) -> None:
    if not good:
        first = f"{broken[0].path}: {broken[0].reason}"
        raise LimnerError(f"none of the {len(broken)} images in {options.source} can be read; {first}")


def _broken(name: str, error: BaseException) -> Broken:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Broken(name, reason.splitlines()[0])
