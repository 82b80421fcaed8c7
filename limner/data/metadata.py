"""Labels from ``metadata.csv`` or ``metadata.jsonl`` beside the images, as Hugging Face's ``imagefolder`` has them."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, cast

from limner.data.files import Files
from limner.data.layout import Layout
from limner.data.packed import DAMAGE
from limner.errors import counted, reason_of

__all__ = ["LABELS", "in_order", "is_metadata", "with_metadata"]

FILES = ("metadata.csv", "metadata.jsonl")
NAME, LABELS = "file_name", ("label", "labels", "class", "class_name", "category")  # the first that is there
LARGEST = 1 << 28  # bytes


def is_metadata(name: str) -> bool:
    """Whether a file of that name may hold the labels of images."""
    return posixpath.basename(name) in FILES


def with_metadata(layout: Layout, files: Files) -> Layout:
    """``layout`` with the labels that a column of the metadata files gives; they come before those of folders.

    A file names images relative to its own folder in the column ``file_name``. What keeps a file from being used, or an
    image without a label, is said in a note, and the layout's own labels stand.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    for file in filter(is_metadata, files.names):
        try:
            labels, column = _read(file, files)
        except (*DAMAGE, csv.Error) as error:
            notes.append(f"{file} was not used: {reason_of(error)}")
            continue
        found |= labels
        notes.append(f"labels are from column {column!r} of {file}")
        if strangers := len(labels.keys() - set(layout.names)):
            notes.append(f"{counted(strangers, 'row')} of {file} {'names' if strangers == 1 else 'name'} no image here")
    if not found:
        return replace(layout, notes=(*layout.notes, *notes))
    without = [name for name in layout.names if name not in found]
    if without:
        notes.append(f"no labels from there: {len(without)} of {counted(len(layout.names), 'image')} have none")
        return replace(layout, notes=(*layout.notes, *notes))
    names = in_order({found[name] for name in layout.names})
    if len(names) < 2:
        notes.append(f"no labels: all images have the label {names[0]!r}")
        return replace(layout, labels=(), label_names=(), notes=(*layout.notes, *notes))
    index = {name: k for k, name in enumerate(names)}
    labels_of = tuple(index[found[name]] for name in layout.names)
    return replace(layout, labels=labels_of, label_names=names, notes=(*layout.notes, *notes))


def _read(file: str, files: Files) -> tuple[dict[str, str], str]:
    """The label of each image by its name, and the column that it stands in; raises one of ``DAMAGE``."""
    with files.open(file) as stream:
        text = cast("BinaryIO", stream).read(LARGEST).decode("utf-8-sig")
    rows: list[Mapping[str, Any]]
    if file.endswith(".csv"):
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not rows or not all(isinstance(row, dict) and isinstance(row.get(NAME), str) for row in rows):
        raise ValueError(f"its rows have no {NAME!r}")
    column = next((name for name in LABELS if name in rows[0]), None)
    if column is None:
        raise ValueError(f"it has no column {LABELS[0]!r}, but {', '.join(map(repr, list(rows[0])[:8]))}")
    folder, labels = posixpath.dirname(file), {}
    for row in rows:
        value = row.get(column)
        if isinstance(value, str | int) and str(value).strip():
            labels[posixpath.normpath(posixpath.join(folder, row[NAME]))] = str(value).strip()
        elif value not in (None, ""):
            raise ValueError(f"its column {column!r} holds more than one value an image")
    return labels, column


def in_order(names: set[str]) -> tuple[str, ...]:
    """As numbers where all are whole ones, else as texts."""
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))
