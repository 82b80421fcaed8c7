"""What is remembered of the images of a source besides their pixels: all that splits and notes are decided by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from limner.data.imageset import Broken
from limner.data.layout import Layout
from limner.data.splitting import ALL, HELD_OUT, divide, doubles, hold_out
from limner.errors import counted

__all__ = ["Facts", "Survey"]

HASH = 16  # bytes


@dataclass(frozen=True)
class Facts:
    """What is remembered of one image, at its own size."""

    channels: int  # 1 if it is grey
    content: bytes  # hash of the pixels: --size does not move images between splits
    see_through: bool
    values: frozenset[int] | None  # those of {0, 255} that occur, None if others do
    deep: tuple[int, int] | None  # the smallest and the largest of 16-bit values
    animated: bool


@dataclass(eq=False)
class Survey:
    """The images of a source, a column each fact; rows are positions in ``names``.

    Attributes:
        names: Of the files that are images, sorted.
        labels: Class indices int64 ``(N,)``; empty without classes.
        label_names: Names of the classes.
        notes: What the files' names decided.
        size: ``(H, W)`` of each, int32 ``(N, 2)``; 0 where even the header cannot be read.
        colour, see_through, binary, black, white, animated, deep, readable: bool ``(N,)``.
        extent: The smallest and the largest of 16-bit values, uint16 ``(N, 2)``.
        content: Hashes, uint8 ``(N, 16)``.
        broken: Files that cannot be read.
        splits: Positions int64 by split, ordered by content: the first of a split are a fair sample of it.
        division: Notes of how they were divided.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    notes: tuple[str, ...]
    broken: list[Broken] = field(default_factory=list)
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    division: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.names)
        self.size, self.extent = np.zeros((n, 2), np.int32), np.zeros((n, 2), np.uint16)
        self.content = np.zeros((n, HASH), np.uint8)
        self.colour, self.see_through, self.binary, self.black, self.white, self.animated, self.deep, self.readable = (
            np.zeros(n, bool) for _ in range(8)
        )

    @classmethod
    def of(cls, layout: Layout) -> Survey:
        """Of images that have not been looked at."""
        return cls(layout.names, np.array(layout.labels, np.int64), layout.label_names, layout.notes)

    @property
    def n(self) -> int:
        """Images that can be read."""
        return int(self.readable.sum())

    def keep(self, position: int, facts: Facts) -> None:
        """Remember ``facts`` of the image at ``position``."""
        self.readable[position] = True
        self.content[position] = np.frombuffer(facts.content, np.uint8)
        self.colour[position], self.see_through[position] = facts.channels == 3, facts.see_through
        self.binary[position], self.animated[position] = facts.values is not None, facts.animated
        self.black[position], self.white[position] = 0 in (facts.values or ()), 255 in (facts.values or ())
        if facts.deep is not None:
            self.deep[position], self.extent[position] = True, facts.deep

    def divide(self, parts: Sequence[str]) -> None:
        """Fill ``splits`` and ``division``; ``parts`` is the split of each image, or ``all``."""
        members: dict[str, list[int]] = {}
        for position in np.flatnonzero(self.readable).tolist():
            members.setdefault(parts[position], []).append(position)
        hashes = {name: [self.content[i].tobytes() for i in of] for name, of in members.items()}
        whole = ALL if ALL in members else "train"
        divided, notes = hold_out(hashes.get(whole, []), members)
        for name in ("train", *HELD_OUT):
            of, where = (whole, divided[name]) if name in divided else (name, divide(hashes[name], {})["train"])
            self.splits[name] = np.array(members.get(of, []), np.int64)[where]
        notes += doubles({name: [self.content[i].tobytes() for i in where] for name, where in self.splits.items()})
        self.division = tuple(notes)

    def content_notes(self) -> list[str]:
        """What became of colour, transparency, animations and 16-bit images."""
        notes, n = [], self.n
        if 0 < (coloured := int(self.colour.sum())) < n:
            notes.append(f"{coloured} of {n} images {'is' if coloured == 1 else 'are'} in colour: all are read as RGB")
        if see_through := int(self.see_through.sum()):
            have = "has" if see_through == 1 else "have"
            notes.append(f"{see_through} of {n} images {have} transparent parts: laid on white")
        if animated := int(self.animated.sum()):
            hold = "holds" if animated == 1 else "hold"
            notes.append(f"{animated} of {counted(n, 'file')} {hold} several images: the first of each is read")
        if deep := int(self.deep.sum()):
            extent = self.extent[self.deep]
            low, high = int(extent[:, 0].min()), int(extent[:, 1].max())
            small, large = (round(value * 255 / 65535) for value in (low, high))
            range_ = f"their values, {low:,} to {high:,} of 0 to 65,535, became {small} to {large} of 0 to 255"
            dark = "; stretch them first if that is too dark" if large < 128 else ""
            notes.append(f"{deep} of {counted(n, 'image')} have 16 bits: {range_}{dark}")
        return notes
