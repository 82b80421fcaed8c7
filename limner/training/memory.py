"""Memory that is used again and again."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, instead of giving large blocks back to the system.

    glibc asks the system for each block of 32 MB and more, and the system hands it out page by page, zeroed: the
    activations of a Diagonal BiLSTM cost as much time to get as to compute
    (docs/notes/training.md). Elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
