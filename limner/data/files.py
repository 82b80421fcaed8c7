"""Files by name, in a folder or in a zip."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from limner.data.imageset import Broken
from limner.data.packed import DAMAGE, Turnstile, open_member
from limner.errors import LimnerError, reason_of

__all__ = ["Files", "files_in_folder", "files_in_zip", "stamp_of"]

LARGEST_MEMBER = 1 << 28  # bytes of one image in a zip, and of all that are in memory at a time
PIECE = 1 << 16  # bytes read at once: zipfile unpacks what it has read whole, however much that is


@dataclass(frozen=True)
class Files:
    """Files that can be listed and read.

    Attributes:
        names: Relative, with /, sorted; hidden ones left out.
        broken: Folders that could not be listed.
        open: The file of a name, read from its start; raises one of ``DAMAGE``.
        path: Where they are, if they are on the disk.
        stamp: A hash that changes whenever a name, a size or a time does.
    """

    names: list[str]
    broken: list[Broken]
    open: Callable[[str], AbstractContextManager[BinaryIO | Image.Image]]
    path: Path | None = None
    stamp: str = ""


def files_in_folder(root: Path) -> Files:
    """The regular files below ``root``; links are followed, but no folder is entered twice.

    Raises:
        LimnerError: The folder cannot be listed.
    """
    found: dict[str, str] = {}  # size and time of each file
    broken: list[Broken] = []
    entered = {os.path.realpath(root)}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                shown = sorted((entry for entry in entries if not _hidden(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                raise LimnerError(f"{root}: cannot list this folder: {error.strerror}") from error
            broken.append(Broken(below.rstrip("/"), f"cannot list this folder: {error.strerror}"))
            continue
        for entry in shown:
            name = below + entry.name
            if _is_folder(entry):
                if (real := os.path.realpath(entry.path)) not in entered:
                    entered.add(real)
                    waiting.append(f"{name}/")
            elif (known := _size_and_time(entry)) is not None:
                found[name] = known
    names, at = sorted(found), f"{root}{os.sep}"
    stamp = stamp_of((*(f"{name}\0{found[name]}" for name in names), *(one.path for one in broken)))
    return Files(names, broken, lambda name: open(at + name, "rb"), root, stamp)


def files_in_zip(path: Path) -> Files:
    """The members of a zip file, read where they lie.

    Raises:
        LimnerError: It is no zip file, or a damaged one.
    """
    try:
        known = path.stat()
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise LimnerError(f"{path}: cannot read this zip file ({reason_of(error)}): fetch or pack it again") from error
    lock = threading.Lock()  # one handle, many threads
    files = (info for info in archive.infolist() if info.filename and not info.is_dir())
    members = {info.filename: info for info in files if not any(map(_hidden, info.filename.split("/")))}

    turnstile = Turnstile(LARGEST_MEMBER)

    @contextmanager
    def read(name: str) -> Iterator[BinaryIO]:
        info = members[name]
        if max(info.file_size, info.compress_size) > LARGEST_MEMBER:
            raise OSError(f"unpacks to {info.file_size:,} bytes: too large for an image")
        with turnstile.room(info.file_size):
            content = io.BytesIO()
            with lock, open_member(archive, info) as member:
                while piece := member.read(PIECE):
                    content.write(piece)
            content.seek(0)
            yield content

    return Files(sorted(members), [], read, path, stamp_of([f"{known.st_size} {known.st_mtime_ns}"]))


def stamp_of(said: Iterable[str]) -> str:
    """A hash of what is said of some files."""
    digest = hashlib.blake2b(digest_size=16)
    for one in said:
        digest.update(one.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _size_and_time(entry: os.DirEntry[str]) -> str | None:
    """Of a regular file; None of pipes and such."""
    try:
        known = entry.stat()
    except OSError:  # a dangling link is listed: it is reported as broken when it is read
        return ""
    return f"{known.st_size} {known.st_mtime_ns}" if stat.S_ISREG(known.st_mode) else None
