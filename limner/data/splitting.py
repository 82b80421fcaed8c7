"""Splits that depend on the images alone: the same on every machine, and no image in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from limner.errors import counted

__all__ = ["ALL", "HELD_OUT", "SPLITS", "content_hash", "divide", "doubles", "hold_out"]

ALL = "all"  # the part of a source that knows no splits
# Splits by the names that folders and arrays have
SPLITS = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
HELD_OUT = {"validation": 0.1, "test": 0.1}


def content_hash(pixels: np.ndarray) -> bytes:
    """16 bytes that name an image by its shape and pixels, whatever its file is called."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def divide(hashes: Sequence[bytes], held_out: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Divide images into ``train`` and the splits of ``held_out``, by the order of their hashes.

    Equal images form a group that goes to one split as a whole. Groups are dealt to the held-out splits in
    turn as long as they fit; what fits nowhere (an image that makes up much of the set) is for training.

    Args:
        hashes: One an image.
        held_out: Which share of the images each split is to get.

    Returns:
        Positions int64 by split name, ordered by hash. Every split has at least one image if there are
        enough different ones; otherwise the held-out splits are empty.
    """
    groups: dict[bytes, list[int]] = {}
    for position in sorted(range(len(hashes)), key=lambda i: hashes[i]):
        groups.setdefault(hashes[position], []).append(position)
    dealt: dict[str, list[list[int]]] = {name: [] for name in ("train", *held_out)}
    if len(groups) <= len(held_out):
        dealt["train"] = list(groups.values())
    else:
        room = {name: max(1, round(share * len(hashes))) for name, share in held_out.items()}
        turn = list(held_out)
        for group in groups.values():
            name = next((name for name in turn if len(group) <= room[name]), "train")
            dealt[name].append(group)
            if name != "train":
                room[name] -= len(group)
                turn = [*(other for other in turn if other != name), name]
        for name in held_out:
            if not dealt[name]:  # only large groups of equal images: give it the smallest
                smallest = min(dealt["train"], key=len)
                dealt["train"].remove(smallest)
                dealt[name].append(smallest)
    return {name: np.array([i for group in part for i in group], np.int64) for name, part in dealt.items()}


def hold_out(hashes: Sequence[bytes], given: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Divide images, where they are all or those of train, into train and the held-out splits that are not ``given``.

    Returns:
        As of ``divide``; and notes.
    """
    missing = {name: share for name, share in HELD_OUT.items() if name not in given}
    divided = divide(hashes, missing)
    if not all(len(divided[name]) for name in missing):
        return divided, ["too few different images for a validation and a test split: both are needed to measure"]
    if not missing or ALL in given:
        return divided, []
    return divided, [f"{' and '.join(missing)} taken out of train: a tenth each, by the images' content"]


def doubles(hashes: Mapping[str, Sequence[bytes]]) -> list[str]:
    """Notes on the images that lie in more than one split, by the hashes of each: train, validation and test."""
    notes: list[str] = []
    before: dict[str, set[bytes]] = {}
    for name, of in hashes.items():
        for other, known in before.items():
            if n := sum(one in known for one in of):
                notes.append(
                    f"{counted(n, f'image of {name} is', f'images of {name} are')} also in {other}, pixel for pixel"
                )
        before[name] = set(of)
    return notes
