"""Files by name, in a folder or in a zip."""

from __future__ import annotations

import io
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from limner.data.imageset import Broken
from limner.data.packed import DAMAGE, Turnstile, open_member
from limner.errors import LimnerError, reason_of

__all__ = ["Files", "files_in_folder", "files_in_zip"]

LARGEST_MEMBER = 1 << 28  # bytes of one image in a zip, and of all that are in memory at a time
PIECE = 1 << 16  # bytes read at once: zipfile unpacks what it has read whole, however much that is


@dataclass(frozen=True)
class Files:
    """Files that can be listed and read."""

    names: list[str]  # relative, with /, sorted; hidden ones left out
    broken: list[Broken]  # folders that could not be listed
    open: Callable[[str], AbstractContextManager[BinaryIO | Image.Image]]  # raises one of ``DAMAGE``


def files_in_folder(root: Path) -> Files:
    """The regular files below ``root``; links are followed, but no folder is entered twice.

    Raises:
        LimnerError: The folder cannot be listed.
    """
    names: list[str] = []
    broken: list[Broken] = []
    entered: set[str] = set()

    def skip(error: OSError) -> None:
        where = os.path.relpath(error.filename, root)
        broken.append(Broken(where, f"cannot list this folder: {error.strerror}"))

    try:
        next(os.scandir(root), None)
    except OSError as error:
        raise LimnerError(f"{root}: cannot list this folder: {error.strerror}") from error
    for folder, below, files in os.walk(root, followlinks=True, onerror=skip):
        entered.add(os.path.realpath(folder))
        shown = sorted(name for name in below if not _hidden(name))
        below[:] = [name for name in shown if os.path.realpath(os.path.join(folder, name)) not in entered]
        paths = [Path(folder, name) for name in files if not _hidden(name)]
        names += [path.relative_to(root).as_posix() for path in paths if _regular(path)]
    return Files(sorted(names), broken, lambda name: (root / name).open("rb"))


def files_in_zip(path: Path) -> Files:
    """The members of a zip file, read where they lie.

    Raises:
        LimnerError: It is no zip file, or a damaged one.
    """
    try:
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

    return Files(sorted(members), [], read)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a dangling link is listed: it is reported as broken when it is read
        return True
