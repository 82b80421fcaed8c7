"""How a source is to be read: what the caller of ``load`` asked for, checked once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from limner.data.levels import nearest_level
from limner.data.windows import WINDOW
from limner.errors import LimnerError
from limner.memory import available_memory, bytes_of

__all__ = ["SLACK", "FitMode", "Longest", "Options", "Progress", "memory_budget", "stream_limit", "too_large"]

FitMode = Literal["crop", "pad", "stretch"]
Progress = Callable[[str, int, int], None]  # (stage, done, total)

Longest = Callable[[int], tuple[int, str]]
"""Of images whose longer side is given, the longest side that suits, and why, in words."""

LARGEST_SIDE = 8192  # of a requested size
SLACK = 1 << 29  # bytes that reading may take beyond the limit, for a while
STREAM_ABOVE = 1 << 29  # bytes of pixels of a large set


@dataclass(frozen=True)
class Options:
    """What the caller of ``load`` asked for.

    Raises:
        LimnerError: A value is out of range.
    """

    source: str  # as the user wrote it, for messages
    size: tuple[int, int] | None  # (H, W) of every image, None to let limner choose
    fit: FitMode  # how an image of another size is brought to it
    levels: int | None  # to quantize to, None to keep those found
    memory_limit: int  # bytes of pixels up to which a set is kept in memory
    on_progress: Progress | None = None  # told (stage, done, total) now and then
    longest: Longest | None = None  # asked for large images where no size is; None keeps the size they share
    stream_above: int = STREAM_ABOVE  # bytes of pixels above which files are not read whole, and windows are shuffled

    def __post_init__(self) -> None:
        if self.size is not None:
            whole = len(self.size) == 2 and all(isinstance(side, int) for side in self.size)
            if not whole or not all(1 <= side <= LARGEST_SIDE for side in self.size):
                raise LimnerError(f"size must be (H, W), each from 1 to {LARGEST_SIDE}, not {self.size!r}")
        if self.fit not in get_args(FitMode):
            raise LimnerError(f"fit must be one of {', '.join(get_args(FitMode))}, not {self.fit!r}")
        if self.levels is not None and not 2 <= self.levels <= 256:
            raise LimnerError(f"levels must lie between 2 and 256, not {self.levels}")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell the listener, if there is one."""
        if self.on_progress is not None:
            self.on_progress(stage, done, total)

    def window_of(self, n: int, shape: tuple[int, ...]) -> int:
        """Images of a window that training shuffles, of a set of ``n`` images in all; 0: image by image."""
        return WINDOW if n * math.prod(shape) > self.stream_above else 0

    def quantized(self, images: np.ndarray) -> np.ndarray:
        """uint8 ``images`` with the levels that were asked for."""
        if self.levels in (None, 256):
            return images
        return nearest_level(torch.from_numpy(np.array(images)), self.levels).numpy()

    def level_notes(self, found: int) -> list[str]:
        """What becomes of images in which ``found`` levels occur."""
        if self.levels is None:
            return ["every pixel is black or white: 2 levels"] if found == 2 else []
        return [] if self.levels in (256, found) else [f"every pixel was moved to the nearest of {self.levels} levels"]


def memory_budget() -> int:
    """Bytes that a data set may take: ``$LIMNER_MEMORY``, else half of the memory that is available.

    Raises:
        LimnerError: ``$LIMNER_MEMORY`` is not a number of bytes.
    """
    chosen = bytes_of("LIMNER_MEMORY")
    return available_memory() // 2 if chosen is None else chosen


def stream_limit() -> int:
    """Bytes of pixels above which a set is large: ``$LIMNER_STREAM_ABOVE``, else 512 MiB.

    Raises:
        LimnerError: ``$LIMNER_STREAM_ABOVE`` is not a number of bytes.
    """
    chosen = bytes_of("LIMNER_STREAM_ABOVE")
    return STREAM_ABOVE if chosen is None else chosen


def too_large(path: str | os.PathLike[str], what: str, limit: int) -> LimnerError:
    """What is said of a file that has to lie in memory, holds ``what`` and has no room."""
    return LimnerError(
        f"{path}: holds {what}, and may take {limit:,} bytes of memory: set LIMNER_MEMORY to more bytes, or save the "
        "images as one uint8 .npy file, which is read from the disk"
    )
