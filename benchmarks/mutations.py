"""Ways to damage a file: bytes, numbers, fields, members of an archive. Each is a function of the random generator."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["damaged", "damaged_gzip", "damaged_zip", "replaced"]

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WRITTEN = (b"0", b"-1", b"255", b"65536", b"4294967296", b"9" * 20, b"1e999", b"nan", b"0.5", b"", b"1" * 5000)
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63 - 1, -(2**63), 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x",
    "nan", "9" * 5000, [], [1, "x"], [[]], {}, {"x": 1}, [None] * 3,
)  # fmt: skip
NAMES = (
    "", ".", "..", "/", "a", "../a.png", "/a.png", "a/", ".png", "x" * 300 + ".png", "é\u2028.png", "images.npy",
    "train/a.png",
)  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` after one to four changes."""
    content = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(CHANGES)(content, chance)
    return bytes(content)


def damaged_gzip(data: bytes, chance: random.Random) -> bytes:
    """What ``data`` was packed from, damaged and packed again; or ``data`` damaged as it is."""
    if chance.random() < 0.3:
        return damaged(data, chance)
    return gzip.compress(damaged(gzip.decompress(data), chance), 1, mtime=0)


def damaged_zip(
    members: Mapping[str, bytes], chance: random.Random, change: Callable[[bytes, random.Random], bytes] = damaged
) -> bytes:
    """A zip of ``members`` of which some are changed, renamed, emptied or of a wrong checksum or size."""
    buffer = io.BytesIO()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(buffer, "w", chance.choice(methods)) as archive:
        victim = chance.choice(list(members))
        for name, data in members.items():
            kind = chance.randrange(6) if name == victim else 0
            info = zipfile.ZipInfo(chance.choice(NAMES) if kind == 1 else name)
            info.compress_type = chance.choice(methods)
            archive.writestr(info, b"" if kind == 2 else change(data, chance) if kind >= 3 else data)
    content = bytearray(buffer.getvalue())
    if chance.random() < 0.5:  # in the packed bytes, or in the directory: flags, methods, checksums, sizes, names
        places = [match.start() for match in re.finditer(rb"PK\x01\x02|PK\x03\x04", content)]
        place = chance.choice(places) + chance.randrange(4, 46) if places else 0
        if chance.random() < 0.3 and places:
            struct.pack_into("<I", content, min(place, len(content) - 4), chance.choice(EXTREMES) & 0xFFFFFFFF)
        elif chance.random() < 0.5 and places:
            content[min(place, len(content) - 1)] = chance.choice((0, 1, 8, 12, 14, 93, 99, chance.randrange(256)))
        else:
            return damaged(bytes(content), chance)
    return bytes(content)


def replaced(value: Any, chance: random.Random) -> Any:
    """``value``, of tables, lists and leaves, with one of them replaced by something else, renamed or left out."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key, changed = chance.choice(list(value)), dict(value)
        kind = chance.random()
        if kind < 0.7:
            changed[key] = replaced(value[key], chance)
        elif kind < 0.85:
            del changed[key]
        else:
            changed[chance.choice(("", "x", key + "s"))] = changed.pop(key)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        if chance.random() < 0.8:
            return [*value[:place], replaced(value[place], chance), *value[place + 1 :]]
        return chance.choice((value[:place], value + value, value[::-1]))
    return chance.choice(VALUES)


def _place(content: bytearray, chance: random.Random) -> int:
    """Anywhere, but half of the time in the beginning, where headers are."""
    return chance.randrange(max(1, min(len(content), 64) if chance.random() < 0.5 else len(content)))


def _flip(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _set(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] = chance.choice((0, 255, chance.randrange(256)))


def _noise(content: bytearray, chance: random.Random) -> None:
    place, n = _place(content, chance), chance.randrange(1, 32)
    content[place : place + n] = chance.randbytes(len(content[place : place + n]))


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[_place(content, chance) :]


def _remove(content: bytearray, chance: random.Random) -> None:
    place = _place(content, chance)
    del content[place : place + chance.randrange(1, 64)]


def _repeat(content: bytearray, chance: random.Random) -> None:
    place = _place(content, chance)
    content[place:place] = content[place : place + chance.randrange(1, 64)] * chance.choice((1, 2, 50))


def _insert(content: bytearray, chance: random.Random) -> None:
    place = _place(content, chance)
    content[place:place] = chance.choice((chance.randbytes(chance.randrange(1, 32)), b"\0" * 64, b"(" * 200, b"\n"))


def _extreme(content: bytearray, chance: random.Random) -> None:
    form, number = chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q")), chance.choice(EXTREMES)
    size = struct.calcsize(form)
    if len(content) >= size:
        place = min(_place(content, chance), len(content) - size)
        struct.pack_into(form, content, place, number & (2 ** (8 * size) - 1))


def _written(content: bytearray, chance: random.Random) -> None:
    """Another number where one is written in digits."""
    if numbers := list(re.finditer(rb"\d+", content[:4096])):
        match = chance.choice(numbers)
        content[match.start() : match.end()] = chance.choice(WRITTEN)


CHANGES = (_flip, _set, _noise, _cut, _remove, _repeat, _insert, _extreme, _extreme, _written)
