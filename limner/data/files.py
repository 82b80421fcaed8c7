"""Files by name, in a folder or in a zip."""

from __future__ import annotations

import io
import os
import stat
import threading
import zipfile
from pathlib import Path
from typing import BinaryIO, Protocol

from limner.data.imageset import Broken
from limner.errors import LimnerError

__all__ = ["Files", "FolderFiles", "ZipFiles"]

LARGEST_MEMBER = 1 << 30  # bytes of one image in a zip


class Files(Protocol):
    """Files that can be listed and read."""

    names: list[str]  # relative, with /, sorted; hidden ones left out
    broken: list[Broken]  # folders that could not be listed

    def open(self, name: str) -> BinaryIO:
        """The bytes of one file.

        Raises:
            OSError, zipfile.BadZipFile, RuntimeError: It cannot be read.
        """
        ...


class FolderFiles:
    """The regular files below a folder; links are followed, but no folder is entered twice.

    Raises:
        LimnerError: The folder cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: list[str] = []
        self.broken: list[Broken] = []
        entered: set[str] = set()
        try:
            next(os.scandir(root), None)
        except OSError as error:
            raise LimnerError(f"{root}: cannot list this folder: {error.strerror}") from error
        for folder, below, files in os.walk(root, followlinks=True, onerror=self._skip):
            entered.add(os.path.realpath(folder))
            below[:] = sorted(
                name
                for name in below
                if not _hidden(name) and os.path.realpath(os.path.join(folder, name)) not in entered
            )
            self.names += [
                Path(folder, name).relative_to(root).as_posix()
                for name in files
                if not _hidden(name) and _regular(os.path.join(folder, name))
            ]
        self.names.sort()

    def _skip(self, error: OSError) -> None:
        where = os.path.relpath(error.filename, self.root)
        self.broken.append(Broken(where, f"cannot list this folder: {error.strerror}"))

    def open(self, name: str) -> BinaryIO:
        """The bytes of one file."""
        return (self.root / name).open("rb")


class ZipFiles:
    """The members of a zip file, read where they lie.

    Raises:
        LimnerError: It is no zip file, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise LimnerError(f"{path}: cannot read this zip file ({error}): fetch or pack it again") from error
        self._lock = threading.Lock()  # one handle, many threads
        self._members = {
            info.filename: info
            for info in self._zip.infolist()
            if not info.is_dir() and not any(_hidden(part) for part in info.filename.split("/"))
        }
        self.names = sorted(self._members)
        self.broken: list[Broken] = []

    def open(self, name: str) -> BinaryIO:
        """The bytes of one member."""
        info = self._members[name]
        if info.file_size > LARGEST_MEMBER:
            raise OSError(f"unpacks to {info.file_size:,} bytes: too large for an image")
        with self._lock:
            return io.BytesIO(self._zip.read(info))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a dangling link is listed: it is reported as broken when it is read
        return True
