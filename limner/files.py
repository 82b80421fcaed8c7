"""Files that are either the old version or the new one, never half of one.

A file is written under a temporary name in its own folder, flushed to the disk and renamed over the old
one. A process that is killed on the way leaves the old file and one stray temporary, which ``sweep`` removes.
A writer holds its temporary locked (``flock``): the system knows whether it still lives, whatever became of its number.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from limner.errors import LimnerError, option, reason_of

try:
    import fcntl
except ImportError:  # Windows, which neither removes nor renames an open file
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "append_line", "can_write", "check_place", "is_locked", "is_number", "locked", "read_json_lines", "replacing",
    "sweep", "write_bytes", "write_text",
]  # fmt: skip

_STRAY = re.compile(r"\..+\.tmp-[\da-f-]+")
_DAY = 86400  # seconds


def write_bytes(path: str | os.PathLike[str], *parts: bytes | bytearray | memoryview) -> None:
    """Write ``parts``, one after the other, to ``path``, replacing what was there in one step.

    A link is followed, so that the file behind it is replaced. What is no regular file (``/dev/stdout``, a
    pipe) is written straight through: renaming over it would destroy it.

    Raises:
        LimnerError: The folder is missing, the disk is full, writing is not permitted...
    """
    with replacing(path) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of ``path`` when the block has ended; as ``write_bytes``.

    Raises:
        LimnerError: As in ``write_bytes``.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.tmp-{secrets.token_hex(6)}")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as file:
                yield file
            return
        with _open_locked(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # else it stays locked until it has its name
            os.replace(temporary, target)
    except BaseException as error:  # an interrupt must clean up as well
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise LimnerError(f"cannot write {path}: {_reason(error, target)}") from error
        raise
    _sync_folder(target.parent)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add ``line`` to the end of ``path``, whole or not at all: in one write, flushed to the disk, by one at a time.

    A line that a kill cut short before is ended first, so that it spoils no other.

    Raises:
        LimnerError: As in ``write_bytes``; or another process has held ``path``'s lock for a minute.
    """
    target = Path(path)
    with locked(target.with_name(f".{target.stem}.lock"), f"{path} is being written by another process", seconds=60):
        try:
            with open(target, "a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                data = (b"" if file.read(1) in (b"", b"\n") else b"\n") + line.encode() + b"\n"
                try:
                    if file.write(data) < len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except BaseException:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise LimnerError(f"cannot write {path}: {_reason(error, target)}") from error


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], taken: str, *, seconds: float = 0) -> Iterator[None]:
    """Hold the lock at ``path``, an empty file that stays; the system releases it when its holder dies, however.

    Raises:
        LimnerError: ``taken``, where another holds it and does not release it within ``seconds``; or the file cannot
            be made.
    """
    from filelock import FileLock, Timeout  # 50 ms, which `limner runs` does not need

    try:
        os.stat(Path(path).parent)  # FileLock would make the folder of a run that was just deleted
        held = FileLock(path).acquire(timeout=seconds, poll_interval=0.01)
    except Timeout as error:
        raise LimnerError(taken) from error
    except OSError as error:
        raise LimnerError(f"cannot write {path}: {_reason(error, Path(path))}") from error
    with held:
        yield


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether a process holds the lock at ``path`` now, as far as the system tells (Windows does not)."""
    if fcntl is None:
        return False
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def can_write(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` may be written, as far as that can be told without doing it."""
    target = Path(os.path.realpath(path))
    return os.access(target if target.exists() else target.parent, os.W_OK)


def check_place(path: str | os.PathLike[str]) -> None:
    """See before long work that its result can be written to ``path``, as far as that can be told.

    Raises:
        LimnerError: The folder is missing or may not be written to, or ``path`` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.parent.is_dir():
        raise LimnerError(f"cannot write {path}: {_reason(OSError(), target)}")
    if not can_write(target.parent if target.is_file() else target):  # a file is replaced, by one of its folder's
        raise LimnerError(f"cannot write {path}: {os.strerror(errno.EACCES)}; give another place with {option('out')}")


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

    One whose writer lives is left alone. Where the disk knows no locks, that is one of less than a day.
    """
    removed = []
    for entry in sorted(Path(folder).glob(".*.tmp-*")):
        if _STRAY.fullmatch(entry.name) and entry.is_file():
            with contextlib.suppress(OSError), open(entry, "r+b") as file:
                if _lock(file, otherwise=time.time() - entry.stat().st_mtime > _DAY):
                    if fcntl is None:
                        file.close()
                    entry.unlink()
                    removed.append(entry)
    return removed


def _open_locked(temporary: Path) -> IO[bytes]:
    """A new file that ``sweep`` leaves alone until it is closed."""
    while True:
        file = open(temporary, "xb")  # noqa: SIM115
        if _lock(file, otherwise=True) and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # a sweep came between opening and locking
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _lock(file: IO[bytes], *, otherwise: bool) -> bool:
    """Whether ``file`` is now locked by us; ``otherwise`` where there are no locks."""
    if fcntl is None:
        return otherwise
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return otherwise and not isinstance(error, BlockingIOError)
    return True


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
