"""Folders, zips and shards of anybody's images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from limner.data.decoding import EXTENSIONS, quiet
from limner.data.files import Files
from limner.data.fitting import choose_size
from limner.data.imageset import ImageSet, ImageStore, MemoryStore, Split
from limner.data.index import Index
from limner.data.layout import Layout, arrange
from limner.data.levels import extremes
from limner.data.metadata import is_metadata, with_metadata
from limner.data.options import Options
from limner.data.reading import Reader
from limner.data.stores import FileStore
from limner.data.survey import Survey
from limner.errors import LimnerError, option

__all__ = ["read_images"]

Values = set[frozenset[int] | None]  # of images: those of {0, 255} that occur in each, None where others do


@dataclass(frozen=True)
class _Seen:
    """What is known of the images of a source before they are used."""

    survey: Survey
    size: tuple[int, int]  # of all images, chosen
    notes: list[str]  # of this choice
    kept: dict[int, np.ndarray] = field(default_factory=dict)  # pixels by position, where they fit
    values: Values | None = None  # where all images have been fitted


def read_images(files: Files, options: Options, layout: Callable[[], Layout] | None = None) -> ImageSet:
    """The images among ``files`` as a set; the ``layout`` is read off their names where none is given.

    Two passes: the headers for the sizes, then the pixels; no more full-size images are held at a time than
    there are threads. What was learnt of a set that is not kept in memory goes into an index, which the next start
    reads instead.

    Raises:
        LimnerError: There are no images, or none can be read.
    """
    index = Index(files.path, files.stamp) if files.path is not None else None
    with quiet():
        if index and (survey := index.read()):
            reader = Reader(files, survey.names, options)
            seen = _Seen(survey, *_choose(survey, options))
        else:
            found = layout() if layout else _arranged(files, options)
            reader = Reader(files, found.names, options)
            seen = _look(reader, found, index)
        survey, notes = seen.survey, seen.notes
        reader.size, reader.channels = seen.size, 3 if survey.colour.any() else 1
        values = _values(reader, survey) if seen.values is None else seen.values

    notes += survey.content_notes()
    levels = 2 if None not in values and frozenset().union(*filter(None, values)) == {0, 255} else 256
    notes += options.level_notes(levels)
    if options.levels is None and levels == 256 and survey.binary[survey.readable].all():
        black = f"the images are black and white, but fitting them makes greys: 256 levels ({option('levels', 2)})"
        notes.append(black)
    shape = (reader.channels, *reader.size)
    window, in_memory = options.window_of(survey.n, shape), _fits(survey.n, shape, options)
    if window:
        notes.append(f"a large set: training shuffles windows of {window} images that lie together")
    if not in_memory and not window:
        notes.append("the images do not fit in the memory limit: they are decoded anew whenever they are used")

    splits: dict[str, Split] = {}
    for name, where in survey.splits.items():
        store: ImageStore = FileStore(reader.read, where, shape)
        if in_memory:
            with quiet():
                store = MemoryStore(torch.from_numpy(_pixels(reader, name, where, seen.kept)))
        labels = torch.from_numpy(survey.labels[where]) if survey.label_names else None
        names = tuple(survey.names[i] for i in where.tolist())
        splits[name] = Split(store, labels, names, torch.from_numpy(where), window)
    broken = tuple(sorted(survey.broken, key=lambda one: one.path))
    notes = [*survey.notes, *notes, *survey.division]
    return ImageSet(options.source, shape, options.levels or levels, splits, survey.label_names, broken, tuple(notes))


def _arranged(files: Files, options: Options) -> Layout:
    """The images among ``files`` by their names and metadata."""
    layout = arrange([name for name in files.names if not is_metadata(name)], EXTENSIONS)
    if not layout.names:
        unread = next((f"; {note}" for note in layout.notes if "heic file" in note), "")
        raise LimnerError(
            f"{options.source} holds no images: limner reads png, jpg, gif, bmp, tif, webp and such{unread}"
        )
    return with_metadata(layout, files)


def _look(reader: Reader, layout: Layout, index: Index | None) -> _Seen:
    """Look at images that no index knows: at their headers, then at their pixels; what is not kept is indexed."""
    survey, options = Survey.of(layout), reader.options
    for position, size in reader.headers(range(len(layout.names))):
        survey.size[position] = size
    _insist(bool(survey.size.any()), reader)
    reader.size, notes = _choose(survey, options)
    looked_at = np.flatnonzero(survey.size[:, 0]).tolist()
    large = not _fits(len(looked_at), (1, *reader.size), options)
    kept: dict[int, np.ndarray] = {}
    values: Values | None = None if large else set()
    with index.alone() if index and large else nullcontext():
        if index and large and (found := index.read()):  # another process has made it by now
            return _Seen(found, reader.size, notes)
        if values is None:
            for position, facts in reader.facts(looked_at):
                survey.keep(position, facts)
        else:
            held = 0
            for position, (pixels, facts) in reader.both(looked_at):
                survey.keep(position, facts)
                values.add(extremes(pixels))
                kept[position] = pixels
                held += pixels.nbytes
                if not _fits(1, (held,), options):  # and so will be all together, perhaps with more channels
                    kept.clear()
        _insist(survey.n > 0, reader)
        survey.broken = [*reader.files.broken, *reader.broken]
        survey.divide(layout.parts)
        if index and not _fits(survey.n, (3 if survey.colour.any() else 1, *reader.size), options):
            index.write(survey)
    return _Seen(survey, reader.size, notes, kept, values)


def _choose(survey: Survey, options: Options) -> tuple[tuple[int, int], list[str]]:
    """The size of all images, and notes."""
    sizes = [(h, w) for h, w in survey.size.tolist() if h]
    return choose_size(sizes, options.size, options.fit, options.longest)


def _fits(n: int, shape: tuple[int, ...], options: Options) -> bool:
    """Whether the pixels of ``n`` images are kept in memory."""
    return n * int(np.prod(shape)) <= min(options.memory_limit, options.stream_above)


def _values(reader: Reader, survey: Survey) -> Values:
    """Values of all images at the reader's size; one that has others than 0 and 255 is enough."""
    same = survey.readable & (survey.size == reader.size).all(1)
    if (same & ~survey.binary).any():
        return {None}
    values: Values = {frozenset({0} if (same & survey.black).any() else ())}
    values.add(frozenset({255} if (same & survey.white).any() else ()))
    for _, pixels in reader.pixels("looking", np.flatnonzero(survey.readable & ~same).tolist()):
        values.add(found := extremes(pixels))
        if found is None:
            break
    return values


def _pixels(reader: Reader, name: str, where: np.ndarray, kept: dict[int, np.ndarray]) -> np.ndarray:
    """The finished images at the positions ``where``, uint8 ``(n, C, H, W)``; ``kept`` is emptied on the way."""
    images = np.empty((len(where), reader.channels, *reader.size), np.uint8)
    if kept:
        for slot, position in enumerate(where.tolist()):
            images[slot] = reader.finish(kept.pop(position))
        return images
    slots = {position: slot for slot, position in enumerate(where.tolist())}
    for position, pixels in reader.pixels(f"reading {name}", sorted(slots)):
        images[slots.pop(position)] = reader.finish(pixels)
    if slots:
        reader.read(min(slots))  # which says why not
    return images


def _insist(readable: bool, reader: Reader) -> None:
    if not readable:
        broken = [*reader.files.broken, *reader.broken]
        first = f"{broken[0].path}: {broken[0].reason}"
        raise LimnerError(f"none of the {len(broken)} images in {reader.options.source} can be read; {first}")
