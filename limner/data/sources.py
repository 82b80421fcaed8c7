"""From what the user wrote to an ``ImageSet``."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from limner.data.amat import is_amat, read_amat
from limner.data.decoding import EXTENSIONS
from limner.data.files import files_in_folder, files_in_zip, stamp_of
from limner.data.folder import read_images
from limner.data.idx import is_idx, read_idx
from limner.data.imageset import ImageSet
from limner.data.named import SOURCES, is_here, read_named
from limner.data.numpy_files import read_npy, read_npz
from limner.data.options import FitMode, Longest, Options, Progress, memory_budget, stream_limit
from limner.data.parquet import files_in_parquet, is_parquet
from limner.errors import LimnerError

__all__ = ["load", "named_here"]


def load(
    source: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    memory_limit: int | None = None,
    on_progress: Progress | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    longest: Longest | None = None,
    stream_above: int | None = None,
) -> ImageSet:
    """Load a data set.

    Splits that a source does not bring are made from the content of its images: about 80 % for training,
    10 % for validation, 10 % for test, chosen by a hash of the pixels. They are the same on every machine,
    whatever the files are called, and equal images always share a split.

    Args:
        source: A name from ``SOURCES`` (write ``./mnist`` for a folder of that name), a folder or ``.zip`` of
            images, a ``.parquet`` file or a folder of them, a ``.npy`` or ``.npz`` file, an IDX file or an ``.amat``
            file (both may be gzipped).
        size: ``(H, W)`` for every image. By default images keep their size, and images of different
            sizes are brought to the most common one, at most 64 pixels long.
        fit: How an image of another size or shape is brought there: ``crop`` covers and cuts what juts out,
            ``pad`` adds black borders, ``stretch`` distorts.
        levels: How many values a pixel may have (2 to 256): each is moved to the nearest. By default 2 where
            every pixel is black or white, otherwise 256 (17 for ``digits``).
        memory_limit: Bytes that the set may take in memory; beyond, files are read whenever they are used, and
            what can only be unpacked whole is refused. By default ``$LIMNER_MEMORY``, else half of the memory that
            is available.
        on_progress: Called with ``(stage, done, total)`` now and then, in the calling thread.
        data_dir: Where named sets lie or are downloaded to. By default ``$LIMNER_DATA``, else the user's
            cache folder.
        longest: Asked for the longest side where no ``size`` is given and the images are longer than 64 pixels.
        stream_above: Bytes of pixels above which a set is large: images of files are then read from the disk while they
            are used, what was learnt of them is kept in the user's cache, and training shuffles windows of them. By
            default ``$LIMNER_STREAM_ABOVE``, else 512 MiB.

    Returns:
        The set, with notes on everything that was decided, and the files that could not be read.

    Raises:
        LimnerError: The source is not there, damaged, too large, or holds no images; or an argument is out of range.
    """
    name = os.fspath(source)
    limit = memory_budget() if memory_limit is None else memory_limit
    above = stream_limit() if stream_above is None else stream_above
    options = Options(name, size, fit, levels, limit, on_progress, longest, above)
    if name in SOURCES:
        return read_named(name, _data_dir(data_dir), options)
    path = Path(name).expanduser()
    if not path.exists():
        raise LimnerError(_unknown(name))
    if path.is_dir():
        return _read_folder(path, options)
    if is_idx(path):
        return read_idx(path, options)
    if is_amat(path):
        return read_amat(path, options)
    kind = path.suffix.lower()
    if kind == ".npy":
        return read_npy(path, options)
    if kind == ".npz":
        return read_npz(path, options)
    if kind == ".zip":
        return read_images(files_in_zip(path), options)
    if is_parquet(name):
        known = path.stat()
        stamp = stamp_of([f"{known.st_size} {known.st_mtime_ns}"])
        files, layout = files_in_parquet(path.parent, [path.name], options, path, stamp)
        return read_images(files, options, layout)
    raise LimnerError(
        f"{name} is no data set: give a folder of images, or a .zip, .parquet, .npz, .npy, IDX or .amat file"
    )


def named_here(data_dir: str | os.PathLike[str] | None = None) -> dict[str, bool]:
    """Whether each set of ``SOURCES`` is read without a download; ``data_dir`` as of ``load``."""
    folder = _data_dir(data_dir)
    return {name: is_here(name, folder) for name in SOURCES}


def _read_folder(path: Path, options: Options) -> ImageSet:
    files = files_in_folder(path)
    kinds = {os.path.splitext(name)[1].lower() for name in files.names}
    if ".parquet" in kinds and not kinds & EXTENSIONS:
        shards = list(filter(is_parquet, files.names))
        files, layout = files_in_parquet(path, shards, options, path, files.stamp)
        return read_images(files, options, layout)
    if kinds and not kinds & EXTENSIONS:
        arrays = [file for file in files.names if is_idx(Path(file)) or is_amat(Path(file)) or file.endswith(".npz")]
        if len(arrays) == len(files.names):
            first = next((file for file in reversed(arrays) if "train" in file and "images" in file), arrays[0])
            raise LimnerError(f"{options.source} holds no images but data files: give one of them, as {path / first}")
    return read_images(files, options)


def _data_dir(given: str | os.PathLike[str] | None) -> Path:
    if where := given or os.environ.get("LIMNER_DATA"):
        return Path(where).expanduser()
    import pooch

    return Path(pooch.os_cache("limner"))


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("_", "-"), SOURCES, n=1)
    if close:
        return f"there is no file or folder {name}: did you mean {close[0]}?"
    return f"there is no file or folder {name}, and no data set of that name ({', '.join(SOURCES)})"
