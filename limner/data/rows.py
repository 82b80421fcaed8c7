"""The rows of parquet files, read by number: in groups that are kept for a while, or out of a flat copy."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from limner.data.index import Index
from limner.data.options import Options
from limner.data.packed import DAMAGE
from limner.errors import LimnerError, counted, reason_of
from limner.files import replacing

__all__ = ["Shard", "ShardRows", "opened"]

LARGE_GROUP = 8 << 20  # bytes of images; a group that is larger cannot be read for the sake of one image
KEPT = 1 << 28  # bytes of groups that are kept: those of a buffer of windows, each of one to three groups
FREE = 1 << 30  # bytes that a copy leaves on the disk
MARK = b"limner rows 1\n"  # the last bytes of a whole copy, after a hash of its offsets
HASH = 16
BATCH = 64  # rows of a large group that are copied at once


@dataclass(frozen=True, eq=False)
class Shard:
    """A parquet file."""

    name: str
    starts: np.ndarray  # the first row of each group, and the number of rows, int64 (groups + 1,)
    largest: int  # bytes of images in a group
    size: int  # in all

    @property
    def rows(self) -> int:
        """How many it has."""
        return int(self.starts[-1])


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The ``pyarrow.parquet.ParquetFile`` at ``path``; what goes wrong is one of ``DAMAGE``."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except pyarrow.ArrowException as error:
        raise OSError(reason_of(error)) from error


class ShardRows:
    """Image files in rows of ``shards``, by names such as ``train.parquet/17``.

    Where groups of rows are small they are read whole, and the last ones kept. Shards with larger ones are copied once
    into the user's cache, image after image: no part of a group can be read by itself.

    Raises:
        LimnerError: There is no room for the copy, or a shard is damaged.
    """

    def __init__(
        self, root: Path, shards: Sequence[Shard], column: str, options: Options, path: Path, stamp: str
    ) -> None:
        self.root, self.shards, self.column = root, {shard.name: shard for shard in shards}, column
        self.groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self.held, self.lock = 0, threading.Lock()
        large = [shard for shard in shards if shard.largest > LARGE_GROUP]
        self.copy = _Copy(self, large, options, Index(path, stamp)) if large else None

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The image file in a row."""
        shard, _, row = name.rpartition("/")
        data = self.copy.get(shard, int(row)) if self.copy and shard in self.copy.first else self._get(shard, int(row))
        if data is None:
            raise ValueError("its row has no bytes of an image")
        yield io.BytesIO(data)

    def batches(self, shard: Shard) -> Iterator[list[bytes | None]]:
        """All rows of ``shard``, some at a time; large groups are not read whole."""
        with opened(self.root / shard.name) as file:
            for batch in file.iter_batches(BATCH, columns=[self.column], use_threads=False):
                yield _leaf(batch.column(0), self.column).to_pylist()

    def _get(self, name: str, row: int) -> bytes | None:
        starts = self.shards[name].starts
        group = int(np.searchsorted(starts, row, side="right")) - 1
        with self.lock:  # one group at a time: decoding, which takes longer, is done outside
            found = self.groups.pop((name, group), None)
            if found is None:
                with opened(self.root / name) as file:
                    found = _leaf(file.read_row_group(group, [self.column], use_threads=False).column(0), self.column)
                self.held += found.nbytes
            self.groups[name, group] = found  # now the last one
            while self.held > KEPT and len(self.groups) > 1:
                self.held -= self.groups.popitem(last=False)[1].nbytes
        data: bytes | None = found[row - int(starts[group])].as_py()
        return data


class _Copy:
    """The images of some shards, one after the other in a file of the cache; then offsets, their hash, ``MARK``."""

    def __init__(self, rows: ShardRows, shards: Sequence[Shard], options: Options, index: Index) -> None:
        ends = np.cumsum([shard.rows for shard in shards]).tolist()
        self.first = dict(zip((shard.name for shard in shards), [0, *ends], strict=False))
        self.n, self.size = ends[-1], sum(shard.size for shard in shards)
        self.file = index.file.with_suffix(f".{index.key}.images")
        if self._is_whole():
            return
        with index.alone():
            if not self._is_whole():
                for old in self.file.parent.glob(f"{index.file.stem}.*.images"):
                    with suppress(OSError):
                        old.unlink()
                self._make(rows, shards, options)

    def get(self, shard: str, row: int) -> bytes | None:
        """The image in a row, None where it has none."""
        start, stop = self.offsets[self.first[shard] + row : self.first[shard] + row + 2].tolist()
        with open(self.file, "rb") as file:
            file.seek(start)
            return file.read(stop - start) or None

    def _is_whole(self) -> bool:
        """Whether the file is there to its end; reads the offsets."""
        tail = 8 * (self.n + 1) + HASH + len(MARK)
        with suppress(OSError), open(self.file, "rb") as file:
            file.seek(-tail, io.SEEK_END)
            offsets, digest, mark = file.read(8 * (self.n + 1)), file.read(HASH), file.read()
            if mark == MARK and digest == _digest(offsets):
                self.offsets = np.frombuffer(offsets, np.int64)
                return True
        return False

    def _make(self, rows: ShardRows, shards: Sequence[Shard], options: Options) -> None:
        folder = self.file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise LimnerError(f"cannot write {folder}: {reason_of(error)}") from error
        if self.size + FREE > free:
            raise LimnerError(
                f"{options.source}: its groups of rows are too large to be read one by one, and {folder} has no room "
                f"for a copy of {self.size / 1e9:.1f} GB: save it with groups of 100 rows, or set XDG_CACHE_HOME"
            )
        with replacing(self.file) as file:
            offsets = [0]
            for shard in shards:
                stop = len(offsets) + shard.rows
                for data in _all(rows, shard, options):
                    file.write(data)
                    offsets.append(offsets[-1] + len(data))
                    if len(offsets) % 1000 == 0:
                        options.progress("unpacking", len(offsets), self.n)
                if len(offsets) != stop:
                    found = counted(len(offsets) - stop + shard.rows, "row")
                    raise LimnerError(f"{options.source}: {shard.name} has {found}, not {shard.rows}: fetch it again")
            self.offsets = np.array(offsets, np.int64)
            file.write(self.offsets.tobytes() + _digest(self.offsets.tobytes()) + MARK)


def _digest(offsets: bytes) -> bytes:
    return hashlib.blake2b(offsets, digest_size=HASH).digest()


def _all(rows: ShardRows, shard: Shard, options: Options) -> Iterator[bytes]:
    """The images of a shard, empty where a row has none."""
    try:
        for batch in rows.batches(shard):
            yield from (data or b"" for data in batch)
    except DAMAGE as error:
        raise LimnerError(
            f"{rows.root / shard.name}: cannot read this parquet file ({reason_of(error)}): fetch it again"
        ) from error


def _leaf(column: Any, name: str) -> Any:
    """The images of ``column``, in one piece: itself or its field ``bytes``."""
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks()
        column = column.chunk(0) if isinstance(column, pyarrow.ChunkedArray) else column
    return column.field("bytes") if name.endswith(".bytes") else column
