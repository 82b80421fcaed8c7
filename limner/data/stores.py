"""Images that stay on disk and are decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch

__all__ = ["FileStore", "parallel"]

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK, ROOM = 256, 1 << 26  # images in flight at once, and their bytes: bounds what waits in memory


@dataclass(frozen=True, eq=False)
class FileStore:
    """Images read anew at each ``take``, by threads (Pillow and zlib release the interpreter's lock).

    Attributes:
        read: The image at a position of the source, uint8 ``(C, H, W)``.
        positions: Where each image of this store lies in the source, int64 ``(N,)``.
        shape: ``(C, H, W)``.
    """

    read: Callable[[int], np.ndarray]
    positions: np.ndarray
    shape: tuple[int, int, int]
    in_memory = False

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at ``indices`` (int64 ``(B,)``) as uint8 ``(B, C, H, W)``.

        Raises:
            LimnerError: A file has vanished or changed since the set was loaded.
        """
        positions = self.positions[indices.cpu().numpy()]
        slots = np.argsort(positions, kind="stable")  # what lies together is read together
        images = np.empty((len(positions), *self.shape), np.uint8)
        found = parallel(self.read, positions[slots].tolist(), int(np.prod(self.shape)))
        for slot, image in zip(slots.tolist(), found, strict=True):
            images[slot] = image
        return torch.from_numpy(images)


def parallel(function: Callable[[Item], Result], items: Sequence[Item], size: int = 0) -> Iterator[Result]:
    """``map`` by threads, in order, with few results, of ``size`` bytes each, in flight."""
    pool, block = _pool(os.getpid()), max(1, min(BLOCK, ROOM // max(1, size)))
    for start in range(0, len(items), block):
        yield from pool.map(function, items[start : start + block])


@lru_cache(maxsize=1)
def _pool(pid: int) -> ThreadPoolExecutor:
    """The threads of process ``pid``: those of a parent do not survive a fork."""
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="limner-read")
