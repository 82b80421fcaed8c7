"""Reading files that may be gzipped, without believing what they promise."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import lzma
import struct
import sys
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO

from limner.errors import LimnerError, reason_of

__all__ = ["DAMAGE", "Turnstile", "open_member", "read_bytes", "sibling"]

CHUNK = 1 << 22
# What numpy and Pillow were seen to let escape on damaged files, and what a file or a zip member adds when it is read
DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, RuntimeError, MemoryError, ArithmeticError,
    SystemError, struct.error, tokenize.TokenError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    *([import_module("compression.zstd").ZstdError] if sys.version_info >= (3, 14) else []),
)  # fmt: skip


class Turnstile:
    """Lets threads in as long as what they need together stays below ``most`` bytes; one alone always."""

    def __init__(self, most: int) -> None:
        self.most, self.inside, self.changed = most, 0, threading.Condition()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Wait until there is room for ``size`` bytes, and keep it."""
        with self.changed:
            self.changed.wait_for(lambda: not self.inside or self.inside + size <= self.most)
            self.inside += size
        try:
            yield
        finally:
            with self.changed:
                self.inside -= size
                self.changed.notify_all()


def read_bytes(path: Path, limit: int) -> bytearray:
    """At most ``limit`` bytes of what ``path`` holds (unpacked if it is named ``.gz``), writable.

    Reads in chunks: memory is taken for what is there, never for what a header says.

    Raises:
        LimnerError: The file cannot be read, or its compression is damaged or cut off.
    """
    content = bytearray()
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            while len(content) < limit:
                chunk = stream.read(min(CHUNK, limit - len(content)))
                if not chunk:
                    break
                content += chunk
    except EOFError as error:
        raise LimnerError(f"{path}: this gzip file is cut off: fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise LimnerError(f"{path}: this gzip file is damaged ({error}): fetch it again") from error
    except OSError as error:
        raise LimnerError(f"{path}: cannot be read: {reason_of(error)}") from error
    return content


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member of a zip, to be read in pieces: never more than its directory says, and no more at a time than asked.

    Raises one of ``DAMAGE``, now or when it is read.
    """
    if info.compress_type != zipfile.ZIP_BZIP2:
        return archive.open(info)
    # zipfile unpacks 4 kB at a time, whatever becomes of them: of bzip2 that may be gigabytes
    stored = copy.copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    del stored.CRC
    with archive.open(stored) as member:
        content = bz2.BZ2Decompressor().decompress(member.read(), info.file_size + 1)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 or size for file {info.filename!r}")
    return io.BytesIO(content)


def sibling(path: Path, old: str, new: str) -> Path | None:
    """The file beside ``path`` with ``new`` for ``old`` in its name, gzipped or not, if it is there."""
    name = path.name.replace(old, new)
    bare = name.removesuffix(".gz")
    found = (path.with_name(option) for option in (name, bare, f"{bare}.gz"))
    return next((other for other in found if other.is_file() and other != path), None)
