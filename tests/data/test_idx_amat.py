import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data import load
from limner.data.idx import parse_idx
from limner.errors import LimnerError


def idx(array, kind=0x08):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def amat(rows):
    return "\n".join(" ".join(str(value) for value in row) for row in rows) + "\n"


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (20, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a-images-idx3-ubyte", "a.idx3-ubyte", "a.idx", "a-images-idx3-ubyte.gz"])
def test_idx(tmp_path, pixels, name):
    data = idx(pixels)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    images = load(tmp_path / name)
    assert images.shape == (1, 5, 4)
    assert {split: len(part) for split, part in images.splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    found = {tuple(p.flatten().tolist()) for part in images.splits.values() for p in part.first(20)}
    assert found == {tuple(p.flatten().tolist()) for p in pixels}


def test_idx_with_labels_and_test_set_beside_it(tmp_path, pixels, rng):
    for part, n in (("train", 20), ("t10k", 6)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels[:n]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(pixels[:n, 0, 0] % 3)))
    images = load(tmp_path / "train-images-idx3-ubyte")
    assert torch.equal(images.splits["test"].first(6)[:, 0], torch.from_numpy(pixels[:6]))
    for part in images.splits.values():
        names = [images.label_names[k] for k in part.labels]
        assert names == [str(int(p[0, 0, 0]) % 3) for p in part.first(20)]


def test_idx_labels_that_do_not_fit(tmp_path, pixels):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(pixels[:7, 0, 0]))
    with pytest.raises(LimnerError, match=r"train-labels-idx1-ubyte: 7 labels for 20 images"):
        load(tmp_path / "train-images-idx3-ubyte")


def test_idx_in_colour(tmp_path, rng):
    pixels = rng.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    (tmp_path / "a.idx").write_bytes(idx(pixels))
    images = load(tmp_path / "a.idx")
    assert images.shape == (3, 5, 4)
    found = {tuple(p.permute(1, 2, 0).flatten().tolist()) for s in images.splits.values() for p in s.first(20)}
    assert found == {tuple(p.flatten().tolist()) for p in pixels}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "first bytes are missing"),
        (b"\x89PNG", "first bytes are 89 50 4e 47"),
        (idx(np.zeros((2, 3, 3), np.uint8), kind=0x0D), "type 0x0d"),
        (idx(np.zeros((9,), np.uint8)), "has 1 axes where 3 or 4"),
        (idx(np.zeros((2, 3, 3), np.uint8)) + b"!", "there are more"),
        (idx(np.zeros((2, 3, 3), np.uint8))[:-1], "there are only 17"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "there are only 0"),
        (idx(np.zeros((0, 3, 3), np.uint8)), "holds no images"),
        (idx(np.zeros((2, 0, 3), np.uint8)), "holds no images"),
        (idx(np.zeros((2, 5, 5, 5), np.uint8)), "not those of grey or RGB"),
    ],
)
def test_bad_idx(tmp_path, data, problem):
    (tmp_path / "bad.idx").write_bytes(data)
    with pytest.raises(LimnerError, match=rf"bad\.idx.*{problem}"):
        load(tmp_path / "bad.idx")


def test_bad_gzip(tmp_path, pixels):
    whole = gzip.compress(idx(pixels))
    for name, data, problem in (
        ("cut", whole[:-20], "cut off"),
        ("hurt", whole[:200] + bytes(60) + whole[260:], "damaged"),
        ("none", b"plain", "damaged"),
    ):
        (tmp_path / f"{name}.idx.gz").write_bytes(data)
        with pytest.raises(LimnerError, match=rf"{name}\.idx\.gz: this gzip file is {problem}"):
            load(tmp_path / f"{name}.idx.gz")


def test_gzip_bomb_is_read_no_further_than_promised(tmp_path):
    small = idx(np.zeros((1, 3, 3), np.uint8))
    (tmp_path / "bomb.idx.gz").write_bytes(gzip.compress(small + bytes(200 << 20), 1))
    with pytest.raises(LimnerError, match="there are more"):
        load(tmp_path / "bomb.idx.gz")


@settings(max_examples=60, deadline=None)
@given(end=st.integers(0, 200), gz=st.booleans())
def test_idx_cut_anywhere_is_an_error_and_no_other(tmp_path_factory, end, gz):
    data = idx(np.arange(192, dtype=np.uint8).reshape(3, 8, 8))
    data = gzip.compress(data) if gz else data
    path = tmp_path_factory.mktemp("cut") / ("cut.idx.gz" if gz else "cut.idx")
    path.write_bytes(data[: min(end, len(data) - 1)])
    with pytest.raises(LimnerError, match="cut"):
        parse_idx(path, (3,), 1 << 30)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 15), value=st.integers(0, 255))
def test_idx_with_a_wrong_header_byte(tmp_path_factory, place, value):
    data = bytearray(idx(np.zeros((3, 8, 8), np.uint8)))
    changed = data[place] != value
    data[place] = value
    path = tmp_path_factory.mktemp("wrong") / "wrong.idx"
    path.write_bytes(data)
    if not changed:
        assert parse_idx(path, (3,), 1 << 30).shape == (3, 8, 8)
    else:
        with pytest.raises(LimnerError, match=r"wrong\.idx"):
            parse_idx(path, (3,), 1 << 30)


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n", "\n\n"])
@pytest.mark.parametrize("gz", [False, True])
def test_binary_amat(tmp_path, rng, ending, gz):
    bits = rng.integers(0, 2, (30, 9))
    data = amat(bits)[:-1].replace("\n", ending.removesuffix("\n") + "\n" if ending != "\n\n" else "\n").encode()
    data += ending.encode()
    path = tmp_path / ("a.amat.gz" if gz else "a.amat")
    path.write_bytes(gzip.compress(data) if gz else data)
    images = load(path)
    assert (images.shape, images.levels) == ((1, 3, 3), 2)
    found = sorted(tuple((p.flatten() // 255).tolist()) for s in images.splits.values() for p in s.first(30))
    assert found == sorted(tuple(row) for row in bits.tolist())


def test_amat_without_a_last_newline(tmp_path):
    (tmp_path / "a.amat").write_text("0 1 1 0\n1 1 1 0")
    pixels = load(tmp_path / "a.amat").splits["train"].first(2).flatten(1).tolist()
    assert sorted(pixels) == [[0, 255, 255, 0], [255, 255, 255, 0]]


def test_amat_with_fractions_and_labels(tmp_path):
    rows = [[0, 0.5, 1, i / 10, i % 2] for i in range(10)]
    (tmp_path / "a.amat").write_text(amat(rows))
    images = load(tmp_path / "a.amat")
    assert (images.levels, images.label_names) == (256, ("0", "1"))
    for split in images.splits.values():
        for image, label in zip(split.first(10), split.labels, strict=True):
            first = image.flatten().tolist()
            assert first[:3] == [0, 128, 255]
            assert round(first[3] / 25.5) % 2 == int(label)


def test_amat_siblings_are_splits(tmp_path, rng):
    for name, n in (("train", 9), ("valid", 4), ("test", 5)):
        (tmp_path / f"b_{name}.amat").write_text(amat(rng.integers(0, 2, (n, 4))))
    images = load(tmp_path / "b_train.amat")
    assert {name: len(split) for name, split in images.splits.items()} == {
        "train": 9,
        "validation": 4,
        "test": 5,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has 0 numbers"),
        ("0 1 0\n", "has 3 numbers"),
        ("0 1 1 0\n0 1 1\n", "not a table of numbers"),
        ("0 1 1 0\n0 1,1 0\n", "not a table of numbers"),
        ("0 1 1 x\n", "not a table of numbers"),
        ("0 1 1 300\n", r"0\.\.300"),
        ("0 1 1 -1\n", r"-1\.\.1"),
        ("0 1 1 nan\n", r"nan"),
        ("0 1 1 7.5\n", r"0\.\.7\.5"),
        ("0 1 1 0 0.5\n", "last column should be labels"),
    ],
)
def test_bad_amat(tmp_path, text, problem):
    (tmp_path / "bad.amat").write_text(text)
    with pytest.raises(LimnerError, match=rf"bad\.amat: .*{problem}"):
        load(tmp_path / "bad.amat")


def test_files_too_large_for_the_memory(tmp_path, pixels):
    (tmp_path / "big.idx.gz").write_bytes(gzip.compress(idx(pixels)))
    with pytest.raises(LimnerError, match=r"big\.idx\.gz: holds 400 bytes .* 399 bytes of memory: set LIMNER_MEMORY"):
        load(tmp_path / "big.idx.gz", memory_limit=399)
    assert load(tmp_path / "big.idx.gz", memory_limit=400).splits["train"].store.in_memory
    (tmp_path / "big.amat.gz").write_bytes(gzip.compress(b"0 1 1 0\n" * 1000))
    with pytest.raises(LimnerError, match=r"big\.amat\.gz: holds more than 500 bytes of text"):
        load(tmp_path / "big.amat.gz", memory_limit=500)
