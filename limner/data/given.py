"""Images that a program hands over: arrays, tensors, Pillow's images, paths, a ``Dataset`` of torch."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from limner.data.arrays import Rows, assemble, check_room, scale_of
from limner.data.axes import Channels, as_channels_first, as_image
from limner.data.files import Files
from limner.data.folder import read_images
from limner.data.imageset import ImageSet, Split
from limner.data.layout import Layout
from limner.data.numpy_files import whole_numbers
from limner.data.options import FitMode, Longest, Options, Progress, memory_budget, stream_limit, too_large
from limner.data.splitting import ALL
from limner.errors import LimnerError

__all__ = ["Images", "Items", "OneImage", "as_array", "from_arrays", "unpaired"]

OneImage: TypeAlias = np.ndarray | torch.Tensor | Image.Image | str | os.PathLike[str]
"""One image: an array or tensor, an image of Pillow's, or the path of an image file."""
Images: TypeAlias = np.ndarray | torch.Tensor | Sequence[Any] | Dataset[Any]
"""Images: an array or tensor of all; a sequence of ``OneImage`` or of pairs (image, label); a ``Dataset`` of either; or
one pair ``(images, labels)`` of two sequences. Values are whole numbers from 0 to 255, bool, or floats in 0..1."""


@runtime_checkable
class Items(Protocol):
    """What has a length and gives an item for each position: a list, a ``Dataset``."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Any: ...


@dataclass(frozen=True)
class _Part:
    """Images of one split as they came, and their labels."""

    name: str  # as the caller calls it, for messages
    array: np.ndarray | None  # (N, C, H, W)
    items: Sequence[OneImage]  # where they are not one array
    labels: np.ndarray | None


def from_arrays(
    images: Images,
    labels: Any = None,
    *,
    validation: Images | None = None,
    test: Images | None = None,
    label_names: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    channels: Channels | None = None,
    name: str = "arrays",
    memory_limit: int | None = None,
    on_progress: Progress | None = None,
    longest: Longest | None = None,
) -> ImageSet:
    """A data set of images that a program has.

    Args:
        images: An array or tensor ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with C 1 or 3, uint8 or floats in
            0..1; a list of arrays, of Pillow's images or of paths; a ``Dataset`` (with a length) of images or of pairs
            (image, label).
        labels: One an image, whole numbers or texts.
        validation: Images of that split; with labels as a pair ``(images, labels)``. Splits that are not given are
            taken out of ``images`` by the images' content, as of files: about a tenth each.
        test: Likewise.
        label_names: Names of the classes, of which the labels are the positions; by default the labels that occur.
        size: ``(H, W)`` for every image; by default as in ``load``.
        fit: How an image of another size is brought there.
        levels: Values of a pixel; by default 2 where every pixel is black or white, else 256.
        channels: ``first`` or ``last``, where an array's shape leaves it open.
        name: What the set is called in messages and runs.
        memory_limit: As of ``load``.
        on_progress: As of ``load``.
        longest: As of ``load``.

    Returns:
        The set; its ``content`` is a hash of all images.

    Raises:
        LimnerError: What was given are no images, their shape can be read in two ways, or there are none.
    """
    limit = memory_budget() if memory_limit is None else memory_limit
    options = Options(name, size, fit, levels, limit, on_progress, longest, stream_limit())
    given = {ALL: images, "validation": validation, "test": test}
    reader = _Reading(options, channels)
    parts = {
        part: reader.part(some, "images" if part == ALL else part, labels if part == ALL else None)
        for part, some in given.items()
        if some is not None
    }
    if len(parts) > 1:
        parts = {"train" if part == ALL else part: some for part, some in parts.items()}
    indices, names = _classes(
        {part: some for part, some in parts.items() if some.labels is not None}, label_names, name
    )
    if missing := [some.name for part, some in parts.items() if names and part not in indices]:
        raise LimnerError(f"{missing[0]} have no labels where others have: give a pair, as in test=(images, labels)")
    arrays = {part: some.array for part, some in parts.items() if some.array is not None}
    if len(arrays) == len(parts):
        shapes = {some.name: some.array.shape for some in parts.values() if some.array is not None}
        check_room(name, shapes, limit)
        rows: dict[str, Rows] = {}
        notes: list[str] = []
        for fractions in (False, True):  # a split may be of the one, another of the other
            some_of = {part: array for part, array in arrays.items() if (array.dtype.kind == "f") == fractions}
            scale, said = scale_of(some_of, name) if some_of else (1, [])
            rows |= {part: Rows(_read_only(array), indices.get(part), scale) for part, array in some_of.items()}
            notes += said
        found = assemble(rows, options, label_names=names, notes=notes)
    else:
        found = _read_items(parts, indices, names, options)
    return replace(found, content=_content(found, options))


def unpaired(images: Any) -> tuple[Any, Any]:
    """Images and labels of a pair ``(images, labels)``; what is no such pair, and None."""
    if isinstance(images, tuple) and len(images) == 2:
        first, second = images
        several = isinstance(first, np.ndarray | torch.Tensor) or _is_items(first)
        flat = second.ndim == 1 if isinstance(second, np.ndarray | torch.Tensor) else isinstance(second, list | tuple)
        if several and flat:
            return first, second
    return images, None


def as_array(values: Any) -> np.ndarray:
    """An array or tensor as an array, in memory of the CPU."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def _is_items(value: Any) -> bool:
    return isinstance(value, Items) and not isinstance(value, str | bytes | Mapping | np.ndarray | torch.Tensor)


@dataclass(frozen=True)
class _Reading:
    """How what a program gives is read."""

    options: Options
    channels: Channels | None

    def part(self, images: Any, name: str, labels: Any) -> _Part:
        """``images`` as they came: an array, or items."""
        images, own = unpaired(images)
        labels = own if labels is None else labels
        if isinstance(images, np.ndarray | torch.Tensor):
            array: np.ndarray | None = as_channels_first(as_array(images), name, self.channels)
            items: Sequence[OneImage] = ()
        elif _is_items(images):
            array, items, own = self.listed(images, name)
            labels = own if labels is None else labels
        elif isinstance(images, Image.Image | str | os.PathLike):
            raise LimnerError(f"{name}: one image, or its path, is no set: give a list of them")
        else:
            raise LimnerError(
                f"{name} must be an array or a tensor, a list of images or paths, or a Dataset with a length, "
                f"not {type(images).__name__}"
            )
        column = None if labels is None else as_array(labels)
        if column is not None and column.dtype == object:  # as pandas keeps texts
            column = np.asarray(column.tolist())
        n = len(items) if array is None else len(array)
        if column is not None and column.ndim and len(column) != n:
            raise LimnerError(f"{len(column)} labels for {n} {name}: give one an image")
        return _Part(name, array, items, column)

    def listed(self, images: Items, name: str) -> tuple[np.ndarray | None, Sequence[OneImage], list[Any] | None]:
        """The items of a list or ``Dataset``, as one array where they are arrays of one shape; and their labels."""
        items: list[OneImage] = []
        labels: list[Any] = []
        held, n = 0, len(images)
        for i in range(n):
            one = images[i]
            if isinstance(one, tuple | list) and len(one) == 2:
                one, label = one
                labels.append(label.item() if isinstance(label, torch.Tensor) and label.numel() == 1 else label)
            if not isinstance(one, np.ndarray | torch.Tensor | Image.Image | str | os.PathLike):
                raise LimnerError(
                    f"{name}[{i}] must be an array, a tensor, an image of Pillow's or a path, not {type(one).__name__}"
                )
            if isinstance(one, np.ndarray | torch.Tensor):
                held += one.nbytes
                if held > self.options.memory_limit:
                    raise too_large(name, f"arrays of {held:,} bytes or more", self.options.memory_limit)
            items.append(one)
            self.options.progress(f"taking {name}", i + 1, n)
        if not items:
            raise LimnerError(f"{name} are none: give at least one")
        if labels and len(labels) < len(items):
            raise LimnerError(f"{len(labels)} of {len(items)} {name} have a label: give all or none one")
        arrays = [as_array(one) for one in items if isinstance(one, np.ndarray | torch.Tensor)]
        if len(arrays) == len(items) and len({(array.shape, array.dtype) for array in arrays}) == 1:
            if arrays[0].ndim not in (2, 3):
                raise LimnerError(f"{name}[0] must be (H, W), (H, W, C) or (C, H, W), not {arrays[0].shape}")
            stacked = np.stack(arrays)
            return (
                (stacked[:, None] if stacked.ndim == 3 else as_channels_first(stacked, name, self.channels)),
                (),
                labels or None,
            )
        return None, items, labels or None


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that says the array is the caller's, who may change it: what is kept is copied."""
    view = array.view()
    view.flags.writeable = False
    return view


def _classes(
    parts: Mapping[str, _Part], names: Sequence[str], source: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Class indices int64 by part, and the names of the classes."""
    columns = {part: some.labels for part, some in parts.items() if some.labels is not None}
    indices, found = whole_numbers(columns, source)
    if not names or not columns:
        return indices, found
    known = [str(name) for name in names]
    places = {value: int(value) if value.isdecimal() and value not in known else -1 for value in found}
    places |= {value: known.index(value) for value in found if value in known}
    for value, place in places.items():
        if not 0 <= place < len(known):
            raise LimnerError(
                f"{source}: label {value}: label_names has {len(known)} names, so labels 0 to {len(known) - 1}"
            )
    table = np.array([places[value] for value in found], np.int64)
    return {part: table[column] for part, column in indices.items()}, tuple(known)


def _read_items(
    parts: Mapping[str, _Part], indices: Mapping[str, np.ndarray], names: tuple[str, ...], options: Options
) -> ImageSet:
    """The set of images that are no arrays of one shape: read as image files are."""
    found: dict[str, tuple[OneImage, int]] = {}  # by name: the image, and what an array's values are multiplied by
    where: list[str] = []
    labels: list[int] = []
    notes: list[str] = []
    for part, some in parts.items():
        if some.array is not None:
            raise LimnerError(f"{some.name}: one split is an array and another a list: give all in the same way")
        pairs = enumerate(some.items)
        arrays = {str(i): as_array(one)[None] for i, one in pairs if isinstance(one, np.ndarray | torch.Tensor)}
        scale, said = scale_of(arrays, some.name) if arrays else (1, [])
        notes += said
        for i, one in enumerate(some.items):
            name = os.fspath(one) if isinstance(one, str | os.PathLike) else f"{some.name}[{i}]"
            if name in found:
                raise LimnerError(f"{options.source}: {name} is given twice: give each image once")
            found[name] = one, scale
        where += [part] * len(some.items)
        labels += indices[part].tolist() if part in indices else []
    layout = Layout(tuple(found), tuple(where), tuple(labels), names, tuple(dict.fromkeys(notes)))
    return read_images(Files(list(found), [], lambda name: _opened(*found[name])), options, lambda: layout)


def _opened(one: OneImage, scale: int) -> AbstractContextManager[BinaryIO | Image.Image]:
    """An image, for a reader of image files."""
    if isinstance(one, Image.Image):
        return nullcontext(one)
    if isinstance(one, np.ndarray | torch.Tensor):
        return nullcontext(as_image(as_array(one), scale))
    return Path(one).expanduser().open("rb")


def _content(images: ImageSet, options: Options) -> str:
    """A hash of all images, split by split."""
    digest, step = hashlib.blake2b(digest_size=16), max(1, (1 << 24) // math.prod(images.shape))
    for name, split in images.splits.items():
        digest.update(f"{name} {len(split)} {images.shape}".encode())
        _update(digest, split, step, options)
    return digest.hexdigest()


def _update(digest: hashlib.blake2b, split: Split, step: int, options: Options) -> None:
    for positions in torch.arange(len(split)).split(step) if len(split) else ():
        digest.update(split.take(positions).numpy().tobytes())
        options.progress("naming", int(positions[-1]) + 1, len(split))
