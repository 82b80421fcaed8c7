"""Where compiled code is kept on disk: where numba keeps it, else in a private temporary folder, else nowhere.

Code is executed from that place, so nobody else may be able to write there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config as numba_config
from numba import njit
from numba.misc.appdirs import AppDirs

from limner.errors import LimnerWarning
from limner.fast.vectors import FAST

__all__ = ["njit_kept"]

config: Any = numba_config
NOWHERE = "numba finds no place of its own for compiled code (a home folder, or NUMBA_CACHE_DIR)"


def njit_kept(function: Callable[..., Any]) -> Any:
    """``njit`` of a function whose compiled code is kept on disk, if there is a place for it."""
    # Of a user without a home numba takes ./~/.cache, whosever that is.
    if config.CACHE_DIR or os.path.isabs(AppDirs("numba", False).user_cache_dir):
        with contextlib.suppress(RuntimeError):  # "no locator available"
            found = njit(cache=True, **FAST)(function)
            if os.path.isabs(found.stats.cache_path):
                return found
    before, config.CACHE_DIR = config.CACHE_DIR, _private_folder()
    try:
        return njit(cache=bool(config.CACHE_DIR), **FAST)(function)
    except RuntimeError:
        return njit(**FAST)(function)
    finally:
        config.CACHE_DIR = before


@functools.cache
def _private_folder() -> str:
    """A folder for temporary files that is this user's alone, which is said; empty where there can be none."""
    user = getattr(os, "getuid", lambda: 0)()  # Windows has none
    try:
        folder = Path(tempfile.gettempdir()).resolve() / f"limner-numba-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found, parent = folder.lstat(), folder.parent.stat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not stat.S_IMODE(found.st_mode) & 0o077
        # In a folder that others may write, only the sticky bit keeps them from putting another in its place.
        if ours and (not parent.st_mode & 0o022 or parent.st_mode & stat.S_ISVTX):
            warnings.warn(f"{NOWHERE}: it is kept in {folder}", LimnerWarning, stacklevel=2)
            return str(folder)
    except OSError:
        pass
    warnings.warn(f"{NOWHERE}: loops are compiled anew in each process, some seconds", LimnerWarning, stacklevel=2)
    return ""
