"""Folders and zips of anybody's images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image

from limner.data.decoding import EXTENSIONS, Unreadable, array_of, decoded, header_size, quiet
from limner.data.files import Files
from limner.data.fitting import choose_size, fit_image
from limner.data.imageset import Broken, ImageSet, ImageStore, MemoryStore, Split
from limner.data.layout import Layout, arrange
from limner.data.levels import extremes
from limner.data.metadata import is_metadata, with_metadata
from limner.data.options import Options
from limner.data.packed import DAMAGE
from limner.data.splitting import ALL, HELD_OUT, content_hash, divide, doubles, hold_out
from limner.data.stores import FileStore, parallel
from limner.errors import LimnerError, counted, option, reason_of

__all__ = ["read_images"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Facts:
    """What is remembered of an image, whether or not its pixels are."""

    channels: int  # 1 if it is grey
    content: bytes  # hash of the pixels at their own size: --size does not move images between splits
    see_through: bool
    was_binary: bool  # before it was fitted
    values: frozenset[int] | None  # those of {0, 255} that occur, None if others do
    deep: tuple[int, int] | None  # the smallest and the largest of 16-bit values
    animated: bool


class _Reader:
    """Reads images of some files at one size; every pixel that limner sees comes through here."""

    def __init__(self, files: Files, names: tuple[str, ...], options: Options) -> None:
        self.files, self.names, self.options = files, names, options
        self.broken = list(files.broken)
        self.size, self.channels = (0, 0), 3  # decided when all headers, then all images have been seen

    def each(
        self, stage: str, read: Callable[[BinaryIO | Image.Image], Result], positions: Sequence[int]
    ) -> Iterator[tuple[int, Result]]:
        """What ``read`` makes of the files at ``positions``, by threads; those that it cannot read are broken."""
        found = parallel(lambda position: self._attempt(read, position), positions, 3 * self.size[0] * self.size[1])
        for done, (position, one) in enumerate(zip(positions, found, strict=True), start=1):
            if isinstance(one, Broken):
                self.broken.append(one)
            else:
                yield position, one
            if done % 500 == 0 or done == len(positions):
                self.options.progress(stage, done, len(positions))

    def see(self, stream: BinaryIO | Image.Image) -> tuple[np.ndarray, _Facts]:
        """Decode and fit one image: uint8 ``(1 or 3, H, W)``, and what was learnt of it."""
        with decoded(stream) as found:
            native = array_of(found.image)
            see_through, deep, animated = found.see_through, found.deep, found.animated
            was_binary, content = extremes(native) is not None, content_hash(native)
            fitted = native
            if native.shape[:2] != self.size:
                del native
                fitted = array_of(fit_image(found.image, self.size, self.options.fit))
        pixels = np.ascontiguousarray(fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1))
        return pixels, _Facts(len(pixels), content, see_through, was_binary, extremes(pixels), deep, animated)

    def finish(self, pixels: np.ndarray) -> np.ndarray:
        """Grey to RGB where the set has colour, and to the levels asked for: uint8 ``(C, H, W)``."""
        if len(pixels) < self.channels:
            pixels = np.repeat(pixels, self.channels, axis=0)
        return self.options.quantized(pixels)

    def read(self, position: int) -> np.ndarray:
        """The finished image at ``position``, for a store."""
        seen = self._attempt(self.see, position)
        if isinstance(seen, Broken):
            raise LimnerError(f"{seen.path} of {self.options.source} could be read before, not now: {seen.reason}")
        return self.finish(seen[0])

    def _attempt(self, read: Callable[[BinaryIO | Image.Image], Result], position: int) -> Result | Broken:
        name = self.names[position]
        try:
            with self.files.open(name) as stream:
                return read(stream)
        except (Unreadable, *DAMAGE) as error:
            return Broken(name, reason_of(error))


def read_images(files: Files, options: Options, layout: Layout | None = None) -> ImageSet:
    """The images among ``files`` as a set; the ``layout`` is read off their names where none is given.

    Two passes: the headers for the sizes, then the pixels; no more full-size images are held at a time than
    there are threads.

    Raises:
        LimnerError: There are no images, or none can be read.
    """
    given = layout
    layout = given or arrange([name for name in files.names if not is_metadata(name)], EXTENSIONS)
    if not layout.names:
        unread = next((f"; {note}" for note in layout.notes if "heic file" in note), "")
        raise LimnerError(
            f"{options.source} holds no images: limner reads png, jpg, gif, bmp, tif, webp and such{unread}"
        )
    layout = given or with_metadata(layout, files)
    reader = _Reader(files, layout.names, options)
    seen: dict[int, _Facts] = {}
    kept: dict[int, np.ndarray] = {}
    held = 0
    with quiet():
        sizes = dict(reader.each("looking", header_size, range(len(layout.names))))
        _insist(sizes, reader)
        reader.size, notes = choose_size(list(sizes.values()), options.size, options.fit, options.longest)
        for position, (pixels, facts) in reader.each("reading", reader.see, list(sizes)):
            seen[position], kept[position] = facts, pixels
            held += pixels.nbytes
            if held > options.memory_limit:  # and so will be all together, perhaps with more channels
                kept.clear()
    _insist(seen, reader)

    coloured = sum(one.channels == 3 for one in seen.values())
    reader.channels = 3 if coloured else 1
    if 0 < coloured < len(seen):
        notes.append(
            f"{coloured} of {len(seen)} images {'is' if coloured == 1 else 'are'} in colour: all are read as RGB"
        )
    if see_through := sum(one.see_through for one in seen.values()):
        have = "has" if see_through == 1 else "have"
        notes.append(f"{see_through} of {len(seen)} images {have} transparent parts: laid on white")
    notes += _frame_and_depth_notes(list(seen.values()))
    values = {one.values for one in seen.values()}
    found = 2 if None not in values and frozenset().union(*filter(None, values)) == {0, 255} else 256
    notes += options.level_notes(found)
    if options.levels is None and found == 256 and all(one.was_binary for one in seen.values()):
        black = f"the images are black and white, but fitting them makes greys: 256 levels ({option('levels', 2)})"
        notes.append(black)
    shape = (reader.channels, *reader.size)
    in_memory = len(seen) * int(np.prod(shape)) <= options.memory_limit
    if not in_memory:
        notes.append("the images do not fit in the memory limit: they are decoded anew whenever they are used")

    splits: dict[str, Split] = {}
    for name, where in _divide(layout, seen, notes).items():
        store: ImageStore = FileStore(reader.read, where, shape)
        if in_memory:
            images = np.empty((len(where), *shape), np.uint8)
            for slot, position in enumerate(where.tolist()):
                images[slot] = reader.finish(kept.pop(position))
            store = MemoryStore(torch.from_numpy(images))
        labels = torch.tensor(layout.labels)[torch.from_numpy(where)] if layout.labels else None
        splits[name] = Split(store, labels, tuple(layout.names[i] for i in where))
    broken = tuple(sorted(reader.broken, key=lambda one: one.path))
    levels = options.levels or found
    return ImageSet(options.source, shape, levels, splits, layout.label_names, broken, (*layout.notes, *notes))


def _frame_and_depth_notes(seen: Sequence[_Facts]) -> list[str]:
    """What became of animations and of 16-bit images."""
    notes = []
    if animated := sum(one.animated for one in seen):
        hold = "holds" if animated == 1 else "hold"
        notes.append(f"{animated} of {counted(len(seen), 'file')} {hold} several images: the first of each is read")
    if deep := [one.deep for one in seen if one.deep is not None]:
        low, high = min(lowest for lowest, _ in deep), max(highest for _, highest in deep)
        small, large = (round(value * 255 / 65535) for value in (low, high))
        range_ = f"their values, {low:,} to {high:,} of 0 to 65,535, became {small} to {large} of 0 to 255"
        dark = "; stretch them first if that is too dark" if large < 128 else ""
        notes.append(f"{len(deep)} of {counted(len(seen), 'image')} have 16 bits: {range_}{dark}")
    return notes


def _divide(layout: Layout, seen: dict[int, _Facts], notes: list[str]) -> dict[str, np.ndarray]:
    """Positions by split, ordered by content: the first of a split are a fair sample of it."""
    parts: dict[str, list[int]] = {}
    for position in seen:
        parts.setdefault(layout.parts[position], []).append(position)
    hashes = {name: [seen[i].content for i in members] for name, members in parts.items()}
    whole = ALL if ALL in parts else "train"
    divided, said = hold_out(hashes.get(whole, []), parts)
    notes += said
    splits: dict[str, np.ndarray] = {}
    for name in ("train", *HELD_OUT):
        of, where = (whole, divided[name]) if name in divided else (name, divide(hashes[name], {})["train"])
        splits[name] = np.array(parts.get(of, []), np.int64)[where]
    notes += doubles({name: [seen[i].content for i in where] for name, where in splits.items()})
    return splits


def _insist(readable: Collection[int], reader: _Reader) -> None:
    if not readable:
        first = f"{reader.broken[0].path}: {reader.broken[0].reason}"
        raise LimnerError(f"none of the {len(reader.broken)} images in {reader.options.source} can be read; {first}")
