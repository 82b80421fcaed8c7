"""What a source becomes: uint8 images ``(N, C, H, W)`` in disjoint splits, with their shape and levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from limner.data.stores import FileStore
from limner.errors import LimnerError

__all__ = ["Broken", "ImageSet", "ImageStore", "MemoryStore", "Split"]


HELD_AT_ONCE = 10_000


@dataclass(frozen=True)
class MemoryStore:
    """All images as one uint8 tensor ``(N, C, H, W)``."""

    images: torch.Tensor
    in_memory = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, c, h, w = self.images.shape
        return c, h, w

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at ``indices`` as uint8 ``(B, C, H, W)``."""
        return self.images.index_select(0, indices)


ImageStore = MemoryStore | FileStore  # images by position; taking them from memory costs no more than copying


@dataclass(frozen=True)
class Broken:
    """A file that could not be read, and why (one line)."""

    path: str
    reason: str


@dataclass(frozen=True)
class Split:
    """One of ``train``, ``validation``, ``test``.

    Attributes:
        store: The images.
        labels: Class indices int64 ``(N,)`` into ``ImageSet.label_names``, or None.
        names: File names, one an image, where the source has them (else empty).
        positions: Where each image lies in the source, int64 ``(N,)``; None: in the order of this split.
        window: Training shuffles windows of so many images that lie together in the source; 0: image by image.
    """

    store: ImageStore
    labels: torch.Tensor | None = None
    names: tuple[str, ...] = ()
    positions: torch.Tensor | None = None
    window: int = 0

    def __len__(self) -> int:
        return len(self.store)

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at ``indices`` as uint8 ``(B, C, H, W)``."""
        return self.store.take(indices)

    def first(self, n: int) -> torch.Tensor:
        """The first ``n`` images (fewer if there are not so many), uint8 ``(n, C, H, W)``."""
        return self.take(torch.arange(min(n, len(self))))

    def held_at_once(self, limit: int | None = None) -> int:
        """How many images to take where all have to lie in memory: ``limit`` or all; of a set that does not, 10,000."""
        n = len(self) if limit is None else min(limit, len(self))
        return n if self.store.in_memory or limit is not None else min(n, HELD_AT_ONCE)

    def spread(self, most: int) -> torch.Tensor:
        """At most ``most`` positions, int64, evenly spread over the split."""
        n = len(self)
        return torch.arange(n) if n <= most else torch.linspace(0, n - 1, most).round().long()


@dataclass(frozen=True)
class ImageSet:
    """A data set: what every command and model is given.

    Attributes:
        source: The SOURCE that it was loaded from, as the user wrote it.
        shape: ``(C, H, W)`` of every image.
        levels: How many values a pixel can take; level k is stored as ``round(255 k / (levels - 1))``.
        splits: ``train``, ``validation`` and ``test``; disjoint, and the same at each load.
        label_names: Names of the classes, empty without labels.
        broken: Files that were skipped.
        notes: What was decided on the way, one sentence each, for the user to read.
        content: A hash of all images, where a program handed them over: they cannot be read again from ``source``.
    """

    source: str
    shape: tuple[int, int, int]
    levels: int
    splits: Mapping[str, Split]
    label_names: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()
    notes: tuple[str, ...] = ()
    content: str = ""

    def split(self, name: str) -> Split:
        """The split called ``name``.

        Raises:
            LimnerError: There is no such split, or it is empty.
        """
        if name not in self.splits:
            raise LimnerError(f"{self.source} has no split {name!r}: choose one of {', '.join(self.splits)}")
        if len(self.splits[name]) == 0:
            raise LimnerError(f"split {name!r} of {self.source} is empty: the source has too few images for it")
        return self.splits[name]

    @property
    def window(self) -> int:
        """Images of a window that training shuffles; 0: image by image."""
        return self.splits["train"].window

    def shuffled_by(self, window: int) -> ImageSet:
        """The same set, of which training shuffles windows of so many images; 0: image by image."""
        return replace(self, splits={name: replace(split, window=window) for name, split in self.splits.items()})
