"""Files that are either the old version or the new one, never half of one.

A file is written under a temporary name in its own folder, flushed to the disk and renamed over the old
one. A process that is killed on the way leaves the old file and one stray temporary, which ``sweep`` removes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

from limner.errors import LimnerError, reason_of

__all__ = ["check_place", "is_number", "read_json_lines", "sweep", "write_bytes", "write_text"]

_STRAY = re.compile(r"\..+\.tmp-\d+(-\d+)?")
_serial = itertools.count()


def write_bytes(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Write ``data`` to ``path``, replacing what was there in one step.

    A link is followed, so that the file behind it is replaced. What is no regular file (``/dev/stdout``, a
    pipe) is written straight through: renaming over it would destroy it.

    Raises:
        LimnerError: The folder is missing, the disk is full, writing is not permitted...
    """
    target = Path(os.path.realpath(path))
    # The serial keeps two threads that write the same file out of each other's temporary.
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}-{next(_serial)}")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)
            return
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:  # an interrupt must clean up as well
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise LimnerError(f"cannot write {path}: {_reason(error, target)}") from error
        raise
    _sync_folder(target.parent)


def check_place(path: str | os.PathLike[str]) -> None:
    """See before long work that its result can be written to ``path``, as far as that can be told.

    Raises:
        LimnerError: The folder is missing, or ``path`` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.parent.is_dir():
        raise LimnerError(f"cannot write {path}: {_reason(OSError(), target)}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, replacing what was there in one step; line ends stay as they are.

    Raises:
        LimnerError: As in ``write_bytes``.
    """
    write_bytes(path, text.encode("utf-8"))


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, none where there is no file; a line that a kill cut short is left out."""
    records = []
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""
    except OSError as error:
        raise LimnerError(f"cannot read {path}: {reason_of(error)}") from error
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if "\\ud" in line.lower():
                json.dumps(record, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
            records.append(record)
    return [r for r in records if isinstance(r, dict)]


def is_number(value: Any) -> bool:
    """Whether ``value``, read from JSON, is a number that can be computed with; NaN is, infinity is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > 1e100


def sweep(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporaries that killed processes left in ``folder`` (not below it) and say which they were.

    Call it where no one else is writing, as when a run starts or goes on: a temporary does not tell whether
    its writer still lives (process numbers come back, and mean nothing on a shared disk).
    """
    removed = []
    for entry in sorted(Path(folder).glob(".*.tmp-*")):
        if _STRAY.fullmatch(entry.name) and entry.is_file():
            with contextlib.suppress(FileNotFoundError):
                entry.unlink()
                removed.append(entry)
    return removed


def _reason(error: OSError, target: Path) -> str:
    if not target.parent.is_dir():
        return f"there is no folder {target.parent}; create it first"
    if target.is_dir():
        return "it is a folder; give the name of a file"
    return reason_of(error)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk, where the system can (Windows and some network disks cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
