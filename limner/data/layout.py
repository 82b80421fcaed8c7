"""What the folders of a tree of images mean: splits, classes, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from limner.data.splitting import ALL, SPLITS
from limner.errors import counted

__all__ = ["Layout", "arrange"]


@dataclass(frozen=True)
class Layout:
    """The images among some files."""

    names: tuple[str, ...]  # those that are images by their extension, sorted
    parts: tuple[str, ...]  # the split of each, or ``all``
    labels: tuple[int, ...]  # the class of each as an index into label_names; empty without classes
    label_names: tuple[str, ...]  # sorted
    notes: tuple[str, ...]  # what was decided


def arrange(names: Sequence[str], extensions: Collection[str]) -> Layout:
    """Read the layout of a tree off its file names.

    A folder that contains everything is looked through. Top folders named train, test, val(id(ation)) are
    splits if ``train`` is there with another one or alone; otherwise, and below them, the first folder is the
    class, provided that every image lies in one and that there are at least two.
    """
    notes: list[str] = []
    kinds = {name: PurePosixPath(name).suffix.lower() for name in names}
    images = [name for name, kind in kinds.items() if kind in extensions]
    others = Counter(kind or "no extension" for kind in kinds.values() if kind not in extensions)
    photos = others.pop(".heic", 0) + others.pop(".heif", 0)
    if others:
        most = ", ".join(f"{n} {kind}" for kind, n in others.most_common(4))
        ignored = counted(others.total(), "file that is no image was", "files that are no images were")
        notes.append(f"{ignored} ignored ({most})")
    if photos:
        notes.append(f"{counted(photos, 'heic file')} cannot be read: convert photos of iPhones to jpg first")
    paths = [PurePosixPath(name).parts for name in images]
    while paths and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]

    parts = [ALL] * len(paths)
    tops = {path[0].lower() for path in paths if len(path) > 1}
    if "train" in tops and tops & (SPLITS.keys() - {"train"}):
        parts = [SPLITS.get(path[0].lower(), "") if len(path) > 1 else "" for path in paths]
        if outside := parts.count(""):
            ignored = counted(
                outside,
                "image outside of the folders train, validation and test was",
                "images outside of the folders train, validation and test were",
            )
            notes.append(f"{ignored} ignored")
        kept = [i for i, part in enumerate(parts) if part]
        images, parts = [images[i] for i in kept], [parts[i] for i in kept]
        paths = [paths[i][1:] for i in kept]

    classes = sorted({path[0] for path in paths if len(path) > 1})
    loose = sum(len(path) == 1 for path in paths)
    if len(classes) > 1 and loose:
        notes.append(
            f"no labels: {loose} of {len(paths)} images {'lies' if loose == 1 else 'lie'} outside of the class folders"
        )
    if len(classes) < 2 or loose:
        classes, paths = [], []
    index = {name: i for i, name in enumerate(classes)}
    labels = tuple(index[path[0]] for path in paths)
    return Layout(tuple(images), tuple(parts), labels, tuple(classes), tuple(notes))
