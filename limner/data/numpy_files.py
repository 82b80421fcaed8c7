"""Images in ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from limner.data.arrays import AXES, Rows, assemble, channels_first, check_room, scale_of
from limner.data.imageset import ImageSet
from limner.data.options import Options, too_large
from limner.data.packed import DAMAGE, open_member
from limner.data.splitting import ALL, SPLITS
from limner.errors import LimnerError, reason_of

__all__ = ["read_npy", "read_npz", "whole_numbers"]

IMAGES = {"x", "image", "images", "img", "imgs", "data"}
LABELS = {"y", "label", "labels", "target", "targets"}


def read_npy(path: Path, options: Options) -> ImageSet:
    """The images of a ``.npy`` file, which stays on disk if it is larger than the memory limit.

    Raises:
        LimnerError: The file is damaged, or no array of images.
    """
    try:
        with path.open("rb") as stream, _quiet():
            _check_header(stream)
            array = np.lib.format.open_memmap(path, mode="r")
    except DAMAGE as error:
        raise LimnerError(f"{path}: cannot read this array: {_why(error)}") from error
    return _assemble(path, {ALL: array}, {}, options)


def read_npz(path: Path, options: Options) -> ImageSet:
    """The images of a ``.npz`` file: ``images``, ``x_train`` and so on, or its only array.

    Raises:
        LimnerError: The file is damaged, too large for the memory, or its arrays cannot be told apart or are no images.
    """
    found: dict[str, dict[str, np.ndarray]] = {"images": {}, "labels": {}}
    name, size = "", 0
    try:
        with zipfile.ZipFile(path) as archive, _quiet():
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            roles = {name: _role(name) for name in members}
            if len(roles) == 1:
                roles = dict.fromkeys(roles, ("images", ALL))
            for name, (role, part) in roles.items():
                if part in found.get(role, ()):
                    raise LimnerError(f"{path}: more than one array of {role} for {part}: keep one ({name})")
                if role in found:  # the directory says what it unpacks to, and zipfile gives no more
                    size += members[name].file_size * (4 if role == "labels" else 1)  # labels are sorted, too
                    if size > options.memory_limit:
                        raise too_large(path, f"arrays of {size:,} bytes or more", options.memory_limit)
                    with open_member(archive, members[name]) as stream:
                        _check_header(stream)
                    with open_member(archive, members[name]) as stream:
                        found[role][part] = np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGE as error:
        where = f"array {name!r}: " if name else ""
        raise LimnerError(f"{path}: cannot read this file: {where}{_why(error)}") from error
    images, labels = found["images"], found["labels"]
    if not images:
        raise LimnerError(f"{path}: none of its arrays ({', '.join(roles)}) is called images, x, x_train or such")
    if ALL in images and len(images) > 1:
        if "train" in images:
            raise LimnerError(f"{path}: has an array for train and one that names no split: keep one of the two")
        images["train"] = images.pop(ALL)
        labels = {("train" if part == ALL else part): column for part, column in labels.items()}
    return _assemble(path, images, labels, options)


def whole_numbers(labels: Mapping[str, np.ndarray], path: str | Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Class indices int64 by part, and the names of the classes: the values that occur, in order.

    Raises:
        LimnerError: The values are neither whole numbers nor texts, or not one an image.
    """
    flat: dict[str, np.ndarray] = {}
    for part, values in labels.items():
        column = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if column.ndim != 1 or column.dtype.kind not in "biuUS":
            found = f"{values.dtype} {values.shape}"
            raise LimnerError(f"{path}: labels must be a whole number or text an image, not {found}")
        flat[part] = column
    if not flat:
        return {}, ()
    try:
        values, indices = np.unique(np.concatenate(list(flat.values())), return_inverse=True)
        texts = [value if isinstance(value, bytes) else str(value).encode("utf8", "replace") for value in values]
    except DAMAGE as error:  # texts may be of letters that there are not
        raise LimnerError(f"{path}: cannot read its labels: {reason_of(error)}") from error
    names = tuple(text.decode("utf8", "replace") for text in texts)
    ends = np.cumsum([len(column) for column in flat.values()])[:-1]
    return dict(zip(flat, np.split(indices.astype(np.int64), ends), strict=True)), names


def _role(name: str) -> tuple[str, str]:
    """What an array called ``name`` holds (``images``, ``labels`` or nothing known), and of which part."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    part = next((SPLITS[word] for word in SPLITS if word in words), ALL)
    if words & LABELS:
        return "labels", part
    return ("images" if words & IMAGES or (part != ALL and len(words) == 1) else "", part)


def _assemble(path: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], options: Options) -> ImageSet:
    arrays: dict[str, np.ndarray] = {}
    for part, array in images.items():
        rows = channels_first(array)
        if rows is None:
            raise LimnerError(f"{path}: images must be {AXES}, not {array.shape}")
        arrays[part] = rows
    check_room(str(path), {part: array.shape for part, array in arrays.items()}, options.memory_limit)
    scale, notes = scale_of(arrays, path)
    labels = {part: y for part, y in labels.items() if part in images}
    for part, column in labels.items():
        if column.ndim and len(column) != len(arrays[part]):
            raise LimnerError(f"{path}: {len(column)} labels for {len(arrays[part])} images")
    indices, label_names = whole_numbers(labels, path)
    parts = {part: Rows(array, indices.get(part), scale) for part, array in arrays.items()}
    return assemble(parts, options, label_names=label_names, notes=notes)


def _check_header(stream: IO[bytes]) -> None:
    """Refuse a header that is longer than any of numpy's, which would read it whole."""
    start = stream.read(12)
    if start[6:7] > b"\1" and int.from_bytes(start[8:12], "little") > 1 << 16:
        raise ValueError("its header is damaged")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of Python and numpy about odd headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _why(error: BaseException) -> str:
    if any(word in str(error) for word in ("allow_pickle", "pickled", "Python objects")):
        return "it holds Python objects, which limner does not unpickle: save numbers"
    return reason_of(error)
