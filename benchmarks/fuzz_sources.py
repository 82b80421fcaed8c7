"""Damaged data sets of every kind that limner reads, made from small whole ones."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image, features

from benchmarks.mutations import damaged, damaged_gzip, damaged_zip
from limner.data import ImageSet, load, named

__all__ = ["LIMIT", "sources"]

LIMIT = 1 << 26  # bytes that a data set may take: what goes a GiB beyond is an escape
KINDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "png": [("PNG", {})], "jpg": [("JPEG", {}), ("JPEG", {"progressive": True})], "gif": [("GIF", {})],
    "bmp": [("BMP", {})], "tif": [("TIFF", {}), ("TIFF", {"compression": "jpeg"}),
            ("TIFF", {"compression": "tiff_lzw"})],
    "webp": [("WEBP", {"lossless": True}), ("WEBP", {})], "tga": [("TGA", {}), ("TGA", {"compression": "tga_rle"})],
    "ppm": [("PPM", {})], "ico": [("ICO", {})], "pcx": [("PCX", {})], "sgi": [("SGI", {})], "jp2": [("JPEG2000", {})],
    "dds": [("DDS", {})], "icns": [("ICNS", {})], "im": [("IM", {})], "avif": [("AVIF", {})],
}  # fmt: skip
ARRAY = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
COUNTS = {"mnist": (8, 2, 3), "fashion-mnist": (8, 2, 3), "binarized-mnist": (4, 2, 2), "cifar10": (10, 1, 2)}
Case = tuple[int, Callable[[], object]]  # how many damaged inputs there are, and what reads them
Write = Callable[[Path, random.Random], Case]  # into an empty folder


def sources() -> dict[str, Write]:
    """What writes a damaged source into an empty folder, by its kind."""
    images = _images()
    made: dict[str, Write] = {}
    for kind, seeds in images.items():
        made[kind] = _folder(kind, seeds, images["png"][0])
    for name, data, change in (
        ("a.npy", _npy(ARRAY), damaged),
        ("fractions.npy", _npy((ARRAY[..., None].repeat(3, 3) / 255).astype(np.float32)), damaged),
        ("a.idx", _idx(ARRAY), damaged),
        ("a.idx.gz", gzip.compress(_idx(ARRAY)), damaged_gzip),
        ("bits.amat", _amat(ARRAY[:, :3, :3] % 2), damaged),
        ("a.amat.gz", gzip.compress(_amat(ARRAY[:, :2, :2] / 255)), damaged_gzip),
    ):
        made[name] = _file(name, data, change)
    made["npz"] = _npz
    made["parquet"] = _file("a.parquet", _parquet([images[kind][0] for kind in ("png", "jpg", "gif", "bmp")]), damaged)
    made["zip"] = _zip([images[kind][0] for kind in ("png", "jpg", "gif", "bmp")])
    made |= {name: _published(name, files) for name, files in _named().items()}
    return made


def _read(path: Path) -> ImageSet:
    """Load it, and what is read when it is used."""
    data = load(path, memory_limit=LIMIT)
    for split in data.splits.values():
        if len(split) and np.prod(data.shape) < 1 << 22:
            split.first(2)
    return data


def _file(name: str, data: bytes, change: Callable[[bytes, random.Random], bytes]) -> Write:
    def write(folder: Path, chance: random.Random) -> Case:
        (folder / name).write_bytes(change(data, chance))
        return 1, lambda: _read(folder / name)

    return write


def _folder(kind: str, seeds: list[bytes], whole: bytes) -> Write:
    def write(folder: Path, chance: random.Random) -> Case:
        (folder / "whole.png").write_bytes(whole)
        for i in range(8):
            (folder / f"{i}.{kind}").write_bytes(damaged(chance.choice(seeds), chance))
        return 8, lambda: _read(folder)

    return write


def _zip(images: list[bytes]) -> Write:
    members = {f"{'train' if i % 2 else 'test'}/{i % 3}/{i}.png": data for i, data in enumerate(images * 2)}

    def write(folder: Path, chance: random.Random) -> Case:
        (folder / "a.zip").write_bytes(damaged_zip(members, chance))
        return 1, lambda: _read(folder / "a.zip")

    return write


def _npz(folder: Path, chance: random.Random) -> Case:
    labels = np.arange(12)
    arrays: dict[str, np.ndarray] = {"x_train": ARRAY, "y_train": labels, "x_test": ARRAY[:3], "y_test": labels[:3]}
    many = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    members = chance.choice((many, {"images.npy": _npy(ARRAY), "labels.npy": _npy(np.array(list("abcdefghijkl")))}))
    (folder / "a.npz").write_bytes(damaged_zip(members, chance))
    return 1, lambda: _read(folder / "a.npz")


def _published(name: str, files: dict[str, bytes]) -> Write:
    def write(folder: Path, chance: random.Random) -> Case:
        place = folder / name.replace("-", "_")
        place.mkdir()
        victim = chance.choice(list(files))
        for file, data in files.items():
            change = damaged_gzip if file.endswith(".gz") else damaged
            (place / file).write_bytes(change(data, chance) if file == victim else data)
        return 1, lambda: _read_published(name, folder)

    return write


def _read_published(name: str, folder: Path) -> ImageSet:
    """A published set, as if it had been made as small as ours."""
    with mock.patch.dict(named.COUNTS, COUNTS):
        return load(name, data_dir=folder, memory_limit=LIMIT)


def _named() -> dict[str, dict[str, bytes]]:
    """Files of the published sets, of few images."""
    random_ = np.random.default_rng(0)
    made: dict[str, dict[str, bytes]] = {"mnist": {}, "binarized-mnist": {}, "cifar10": {}}
    for part, n in (("train", 8), ("t10k", 3)):
        images = random_.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        made["mnist"][f"{part}-images-idx3-ubyte.gz"] = gzip.compress(_idx(images), 1)
        made["mnist"][f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(_idx(np.arange(n, dtype=np.uint8)), 1)
    for part, n in zip(("train", "valid", "test"), COUNTS["binarized-mnist"], strict=True):
        made["binarized-mnist"][f"binarized_mnist_{part}.amat"] = _amat(random_.integers(0, 2, (n, 784)))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for batch in named.CIFAR10_BATCHES:
            records = random_.integers(0, 10, (2, 3073), dtype=np.uint8)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{batch}")
            info.size = records.size
            archive.addfile(info, io.BytesIO(records.tobytes()))
    made["cifar10"]["cifar-10-binary.tar.gz"] = buffer.getvalue()
    return made


def _images() -> dict[str, list[bytes]]:
    """A few whole images of each format that this Pillow writes, in several modes."""
    Image.init()
    colour = np.random.default_rng(1).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    images = [Image.fromarray(colour[..., 0]), Image.fromarray(colour[..., :3]), Image.fromarray(colour)]
    images += [images[1].convert("P"), images[0].convert("1")]
    images.append(Image.fromarray(colour[..., 0].astype(np.uint16) * 200))
    made: dict[str, list[bytes]] = {}
    for kind, ways in KINDS.items():
        for form, options in ways:
            if form not in Image.SAVE or (form == "AVIF" and not features.check("avif")):
                continue
            for image in images:
                buffer = io.BytesIO()
                try:
                    image.save(buffer, form, **options)
                except (OSError, ValueError, KeyError):  # a mode that the format lacks
                    continue
                made.setdefault(kind, []).append(buffer.getvalue())
    return made


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _parquet(images: list[bytes]) -> bytes:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    buffer = io.BytesIO()
    write_table(pa.table({"image": [{"bytes": data} for data in images], "label": [0, 1] * 2}), buffer)
    return buffer.getvalue()


def _amat(rows: np.ndarray) -> bytes:
    return "".join(" ".join(f"{value:g}" for value in row.flatten()) + "\n" for row in rows).encode()
