"""How much memory there is: what the machine has available, and the part of it that training may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from limner.errors import LimnerError

__all__ = ["available_memory", "bytes_of", "network_room"]


def available_memory() -> int:
    """Available bytes; MemAvailable counts the page cache, which SC_AVPHYS_PAGES takes for used."""
    found = [4 << 30]  # where nothing can be asked
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")] or found
    except (OSError, ValueError, IndexError):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
            found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    with contextlib.suppress(OSError, ValueError):  # a container may be allowed less than the machine has
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        found.append(max(0, limit - int((group / "memory.current").read_text())))
    return min(found)


def bytes_of(variable: str) -> int | None:
    """The whole number of bytes in an environment variable; None where it is not set.

    Raises:
        LimnerError: It is set to something else.
    """
    wanted = os.environ.get(variable)
    if not wanted:
        return None
    if not wanted.isdecimal() or len(wanted) > 18:
        raise LimnerError(f"{variable} must be a whole number of bytes, not {wanted!r}")
    return int(wanted)


def network_room() -> int:
    """Bytes that training, sampling or measuring may take: ``$LIMNER_NETWORK_MEMORY``, else half of what is available.

    The other half is for what else runs. ``$LIMNER_MEMORY`` is another thing: what a data set's images may take.

    Raises:
        LimnerError: ``$LIMNER_NETWORK_MEMORY`` is not a number of bytes.
    """
    chosen = bytes_of("LIMNER_NETWORK_MEMORY")
    return available_memory() // 2 if chosen is None else chosen
