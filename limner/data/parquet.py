"""Parquet files of images, as Hugging Face has them: ``image.bytes`` of a row is an image file, ``label`` its class.

One file, or a folder of shards whose names say the split: ``train-00000-of-00004.parquet``, ``test/0000.parquet``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.arrays import check_room
from limner.data.files import Files
from limner.data.layout import Layout
from limner.data.metadata import LABELS, in_order
from limner.data.options import Options
from limner.data.packed import DAMAGE
from limner.data.rows import Shard, ShardRows, opened
from limner.data.splitting import ALL, SPLITS
from limner.errors import LimnerError, counted, reason_of

__all__ = ["files_in_parquet", "is_parquet"]

IMAGES = ("image", "img", "images", "image_bytes", "jpg", "jpeg", "png", "webp")  # columns; the first that is there


def is_parquet(name: str) -> bool:
    """Whether a file is named like a parquet file."""
    return name.lower().endswith(".parquet")


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what."""

    image: str  # as in image.bytes
    label: str | None
    classes: tuple[str, ...]  # their names, where the file says them


def files_in_parquet(
    root: Path, names: Sequence[str], options: Options, path: Path, stamp: str
) -> tuple[Files, Callable[[], Layout]]:
    """The images in the parquet files ``names`` below ``root`` as files, each called after its shard and row.

    Args:
        root: A folder.
        names: Of the shards, relative to it.
        options: How to read.
        path: The source: the folder, or the one file.
        stamp: Of the files, see ``Files``.

    Returns:
        The files, and what reads their splits and labels.

    Raises:
        LimnerError: pyarrow is not installed, or a file is damaged or holds no images.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise LimnerError(
            f"{options.source}: parquet files need pyarrow: install it with `pip install 'limner[parquet]'`"
        ) from error
    parts = _parts(names)
    columns = None
    shards: list[Shard] = []
    for done, name in enumerate(parts, 1):
        with _whole(root / name), opened(root / name) as file:
            columns = columns or _columns(file, root / name)
            if columns.image not in _leaves(file.schema_arrow).values():
                raise LimnerError(f"{root / name} has no column {columns.image!r}, as other shards have")
            # Of whole groups, not of their columns: on damaged ones pyarrow 26 ends the process
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            rows, sizes = [max(0, one.num_rows) for one in groups], [one.total_byte_size for one in groups]
            shards.append(Shard(name, np.cumsum([0, *rows]), max(sizes, default=0), sum(sizes)))
        options.progress("opening", done, len(parts))
    assert columns is not None  # of one shard at least
    found = columns
    check_room(options.source, {shard.name: (shard.rows,) for shard in shards}, options.memory_limit)
    rows_of = ShardRows(root, shards, columns.image, options, path, stamp)
    return Files([], [], rows_of.open, path, stamp), lambda: _layout(root, shards, parts, found, len(names))


def _parts(names: Sequence[str]) -> dict[str, str]:
    """The split of each shard by its name, or ``all``; shards of no split among others are left out."""
    words = {name: re.split(r"[^a-z]+", name.lower().removesuffix(".parquet")) for name in names}
    found = {name: next((SPLITS[word] for word in of if word in SPLITS), "") for name, of in words.items()}
    if "train" not in found.values() or set(found.values()) == {"train"}:
        return dict.fromkeys(names, ALL)
    return {name: part for name, part in found.items() if part}


def _columns(file: Any, path: Path) -> _Columns:
    """The columns of images and labels, by what Hugging Face says of them, else by their names and types."""
    schema = file.schema_arrow
    features = _features(schema.metadata or {})
    kinds = {name: features.get(name, {}).get("_type") for name in schema.names}
    leaves = _leaves(schema)
    order = [name for name in schema.names if kinds[name] == "Image"] + [n for n in IMAGES if n in leaves] + [*leaves]
    image = next((name for name in order if name in leaves), None)
    if image is None:
        has = ", ".join(map(repr, schema.names[:8]))
        raise LimnerError(f"{path} has no column of images, as 'image' with a field 'bytes', but {has}")
    classes = [name for name in schema.names if kinds[name] == "ClassLabel"]
    label = next((name for name in (*LABELS, *classes) if name in schema.names), None)
    known = features.get(label or "", {}).get("names")
    texts = tuple(known) if isinstance(known, list) and all(isinstance(one, str) for one in known) else ()
    return _Columns(leaves[image], label, texts)


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What Hugging Face's ``datasets`` wrote of the columns; nothing where it did not."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def _leaves(schema: Any) -> dict[str, str]:
    """What may hold images: the path of the bytes by column."""
    import pyarrow.types as is_

    found: dict[str, str] = {}
    for field in schema:
        if is_.is_struct(field.type) and any(child.name == "bytes" for child in field.type):
            found[field.name] = f"{field.name}.bytes"
        elif (is_.is_binary(field.type) or is_.is_large_binary(field.type)) and field.name in IMAGES:
            found[field.name] = field.name
    return found


def _layout(root: Path, shards: Sequence[Shard], parts: dict[str, str], columns: _Columns, given: int) -> Layout:
    """Names, splits and labels of all rows."""
    names = tuple(f"{shard.name}/{row}" for shard in shards for row in range(shard.rows))
    if not names:
        raise LimnerError(f"{root} holds no images: its parquet files have no rows")
    of = tuple(parts[shard.name] for shard in shards for _ in range(shard.rows))
    notes: list[str] = []
    if outside := given - len(shards):
        others = counted(outside, "parquet file that names no split was", "parquet files that name no split were")
        notes.append(f"{others} ignored")
    if columns.label is None:
        return Layout(names, of, (), (), tuple(notes))
    values: list[Any] = []
    for shard in shards:
        with _whole(root / shard.name), opened(root / shard.name) as file:
            if columns.label not in file.schema_arrow.names:
                raise LimnerError(f"{root / shard.name} has no column {columns.label!r}, as other shards have")
            values += file.read(columns=[columns.label]).column(0).to_pylist()
    if len(values) != len(names):
        raise LimnerError(f"{root}: {len(values)} labels for {len(names)} rows: its parquet files are damaged")
    labels, label_names, said = _classes(values, columns)
    return Layout(names, of, labels, label_names, (*notes, *said))


def _classes(values: list[Any], columns: _Columns) -> tuple[tuple[int, ...], tuple[str, ...], list[str]]:
    """Class indices, names of the classes and notes; no classes where not every row has one."""
    where = f"labels are from column {columns.label!r}"
    if not all(value is None or isinstance(value, int | str) for value in values):
        return (), (), [f"no labels: column {columns.label!r} holds more than one value an image, or fractions"]
    known = columns.classes
    if missing := sum(value is None or value == "" or (bool(known) and value == -1) for value in values):
        return (), (), [f"no labels: {missing} of {counted(len(values), 'image')} have none"]
    if known and all(isinstance(value, int) and 0 <= value < len(known) for value in values):
        return tuple(map(int, values)), known, [where]
    names = in_order({str(value) for value in values})
    if len(names) < 2:
        return (), (), [f"no labels: all images have the label {names[0]!r}"]
    index = {name: k for k, name in enumerate(names)}
    return tuple(index[str(value)] for value in values), names, [where]


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Damage of the parquet file at ``path`` as one line."""
    try:
        yield
    except DAMAGE as error:
        raise LimnerError(f"{path}: cannot read this parquet file ({reason_of(error)}): fetch it again") from error
