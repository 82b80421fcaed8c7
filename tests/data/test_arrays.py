import io

import numpy as np
import pytest
import torch

from limner.data import FileStore, MemoryStore, load
from limner.errors import LimnerError


def all_images(images):
    return {p.numpy().tobytes() for split in images.splits.values() for p in split.first(len(split))}


@pytest.fixture
def save(tmp_path):
    def save(array, name="a.npy", **arrays):
        if name.endswith(".npy"):
            np.save(tmp_path / name, array, allow_pickle=True)
        else:
            np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    ("shape", "chw", "axes"),
    [
        ((9, 5, 4), (1, 5, 4), (0, 1, 2)),
        ((9, 5, 4, 3), (3, 5, 4), (0, 3, 1, 2)),
        ((9, 3, 5, 4), (3, 5, 4), (0, 1, 2, 3)),
        ((9, 5, 4, 1), (1, 5, 4), (0, 3, 1, 2)),
        ((9, 1, 5, 4), (1, 5, 4), (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("limit", [None, 10])
def test_npy_layouts(save, rng, shape, chw, axes, limit):
    array = rng.integers(0, 256, shape, dtype=np.uint8)
    images = load(save(array), memory_limit=limit)
    assert images.shape == chw
    assert isinstance(images.splits["train"].store, MemoryStore if limit is None else FileStore)
    assert all_images(images) == {p.tobytes() for p in array.transpose(axes)}


@pytest.mark.parametrize("options", [{}, {"size": (3, 7), "fit": "pad"}, {"levels": 5}, {"size": (2, 2), "levels": 2}])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_mapped_and_memory_agree(save, rng, options, dtype):
    array = rng.integers(0, 256, (25, 5, 4, 3))
    path = save((array / 255).astype(dtype) if dtype == np.float32 else array.astype(dtype))
    kept, mapped = load(path, **options), load(path, memory_limit=10, **options)
    assert kept.levels == mapped.levels
    for name, split in kept.splits.items():
        assert not mapped.splits[name].store.in_memory
        assert torch.equal(split.first(25), mapped.splits[name].first(25))


def test_fractions_are_scaled(save):
    array = np.array([0, 0.1, 0.5, 1] * 3, np.float64).reshape(12, 1, 1)
    images = load(save(array))
    assert all_images(images) == {bytes([v]) for v in (0, 26, 128, 255)}
    assert any("multiplied by 255" in note for note in images.notes)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_zeros_and_ones_are_black_and_white(save, rng, dtype):
    images = load(save(rng.integers(0, 2, (12, 3, 3)).astype(dtype)))
    assert images.levels == 2
    assert set(images.splits["train"].first(12).unique().tolist()) == {0, 255}


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.array([[[0.5, np.nan]]]), "NaN or infinite"),
        (np.array([[[0.5, np.inf]]]), "NaN or infinite"),
        (np.array([[[0.5, 1.5]]]), r"0\.5\.\.1\.5"),
        (np.array([[[-1, 3]]]), r"-1\.\.3"),
        (np.array([[[0, 256]]]), r"0\.\.256"),
        (np.array([[[1j]]]), "must be numbers, not complex"),
        (np.array([[["a"]]]), "must be numbers"),
        (np.array([[[None]]]), "Python objects"),
        (np.zeros((4, 4), np.uint8), r"must be \(N, H, W\)"),
        (np.zeros((4, 4, 4, 4), np.uint8), r"with C 1 or 3, not \(4, 4, 4, 4\)"),
        (np.zeros((2, 3, 3, 3, 3), np.uint8), r"must be \(N, H, W\)"),
        (np.zeros((0, 4, 4), np.uint8), ""),
        (np.zeros((4, 0, 4), np.uint8), ""),
    ],
)
def test_bad_arrays(save, array, problem):
    with pytest.raises(LimnerError, match=rf"bad\.npy.*{problem}"):
        load(save(array, "bad.npy"))


def test_damaged_npy_and_npz(tmp_path, rng):
    stream = io.BytesIO()
    np.save(stream, rng.integers(0, 256, (9, 4, 4), dtype=np.uint8))
    for name, data in (
        ("cut.npy", stream.getvalue()[:-1]),
        ("text.npy", b"hello"),
        ("empty.npy", b""),
        ("text.npz", b"hello"),
        ("empty.npz", b""),
        ("wrong.npz", stream.getvalue()),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(LimnerError, match=name):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("train", "test", "y"),
    [
        ("x_train", "x_test", "y_{}"),
        ("train_images", "test_images", "{}_labels"),
        ("X_train", "X_test", "Y_{}"),
    ],
)
def test_npz_with_splits(save, rng, train, test, y):
    x = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    labels = rng.integers(3, 6, 40)
    path = save(
        None,
        "s.npz",
        **{train: x[:30], test: x[30:], y.format("train"): labels[:30], y.format("test"): labels[30:]},
    )
    images = load(path)
    assert images.label_names == ("3", "4", "5")
    assert torch.equal(images.splits["test"].first(10)[:, 0], torch.from_numpy(x[30:]))
    assert torch.equal(images.splits["test"].labels + 3, torch.from_numpy(labels[30:]))
    assert [len(split) for split in images.splits.values()] == [27, 3, 10]
    known = {p.tobytes(): k for p, k in zip(x, labels, strict=True)}
    for split in images.splits.values():
        assert [known[p.numpy().tobytes()] for p in split.first(30)] == (split.labels + 3).tolist()


def test_npz_with_named_labels_and_one_array(save, rng):
    x = rng.integers(0, 256, (10, 4, 4), dtype=np.uint8)
    images = load(save(None, "n.npz", images=x, labels=np.array(["owl", "cat"] * 5)))
    assert images.label_names == ("cat", "owl")
    assert sum(map(len, load(save(None, "one.npz", whatever=x)).splits.values())) == 10


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"foo": 0, "bar": 0}, r"none of its arrays \(foo, bar\)"),
        ({"x": 0, "images": 0}, "more than one array of images"),
        ({"x": 0, "x_train": 0}, "one that names no split"),
        ({"x_train": 0, "x_test": np.zeros((3, 9, 9), np.uint8)}, "different shapes"),
        ({"x_test": 0, "y_test": np.zeros(5, int)}, "none to train on"),
        ({"x": 0, "y": np.zeros(4, int)}, "4 labels for 5 images"),
        ({"x": 0, "y": np.zeros(5)}, "labels must be a whole number"),
        ({"x": 0, "y": np.zeros((5, 10), int)}, "labels must be a whole number"),
        ({"x": np.array([{}])}, "Python objects"),
    ],
)
def test_bad_npz(save, arrays, problem):
    arrays = {k: np.zeros((5, 4, 4), np.uint8) if isinstance(v, int) else v for k, v in arrays.items()}
    with pytest.raises(LimnerError, match=rf"bad\.npz.*{problem}"):
        load(save(None, "bad.npz", **arrays))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": (0, 4)}, r"size must be .*\(0, 4\)"),
        ({"size": (4, 10**6)}, "size must be"),
        ({"size": (4,)}, "size must be"),
        ({"fit": "squeeze"}, "fit must be one of crop, pad, stretch"),
        ({"levels": 1}, "levels must lie between 2 and 256"),
        ({"levels": 300}, "levels must lie between 2 and 256"),
    ],
)
def test_bad_options(options, problem):
    with pytest.raises(LimnerError, match=problem):
        load("digits", **options)


def test_memory_limit_from_the_environment(save, rng, monkeypatch):
    path = save(rng.integers(0, 256, (9, 4, 4), dtype=np.uint8))
    monkeypatch.setenv("LIMNER_MEMORY", "10")
    assert not load(path).splits["train"].store.in_memory
    monkeypatch.setenv("LIMNER_MEMORY", "plenty")
    with pytest.raises(LimnerError, match="LIMNER_MEMORY must be a whole number of bytes, not 'plenty'"):
        load(path)
