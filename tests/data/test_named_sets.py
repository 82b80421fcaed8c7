import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import torch

from limner.data import SOURCES, load, named, named_here, quantize
from limner.errors import LimnerError


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small(monkeypatch):
    """Named sets of forty-odd images in place of tens of thousands."""
    counts = dict.fromkeys(("mnist", "fashion-mnist"), (40, 10, 8)) | {
        "binarized-mnist": (40, 10, 8),
        "cifar10": (50, 5, 10),
        "stacked-mnist": (70, 20, 30),
    }
    monkeypatch.setattr(named, "COUNTS", counts)


def write_mnist(folder, rng, gz=True):
    folder.mkdir(parents=True)
    made = {}
    for part, n in (("train", 40), ("t10k", 8)):
        made[part] = (
            rng.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            rng.integers(0, 10, n).astype(np.uint8),
        )
        for array, kind in zip(made[part], ("images-idx3", "labels-idx1"), strict=True):
            data = gzip.compress(idx(array), 1) if gz else idx(array)
            (folder / f"{part}-{kind}-ubyte{'.gz' if gz else ''}").write_bytes(data)
    return made


def test_digits():
    images = load("digits")
    assert (images.shape, images.levels, len(images.label_names)) == ((1, 8, 8), 17, 10)
    assert [len(split) for split in images.splits.values()] == [1297, 250, 250]
    for split in images.splits.values():
        assert set(split.labels.tolist()) == set(range(10))
        assert int(quantize(split.first(2000), 17).max()) == 16
    every = torch.cat([split.first(2000) for split in images.splits.values()]).flatten(1)
    assert len(every.unique(dim=0)) == 1797
    assert load("digits").splits["test"].labels.tolist() == images.splits["test"].labels.tolist()


def test_digits_at_another_size_have_other_levels():
    images = load("digits", size=(4, 4))
    assert (images.shape, images.levels) == ((1, 4, 4), 256)
    assert any("256 levels instead of 17" in note for note in images.notes)
    assert load("digits", levels=2).levels == 2
    assert set(load("digits", levels=2).splits["test"].first(9).unique().tolist()) == {0, 255}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("gz", [True, False])
def test_mnist_family(small, tmp_path, rng, name, gz):
    made = write_mnist(tmp_path / name.replace("-", "_"), rng, gz)
    images = load(name, data_dir=tmp_path)
    assert (images.shape, images.levels, len(images.label_names)) == ((1, 28, 28), 256, 10)
    assert [len(split) for split in images.splits.values()] == [30, 10, 8]
    x, y = made["train"]
    assert torch.equal(images.splits["train"].first(40)[:, 0], torch.from_numpy(x[:30]))
    assert torch.equal(images.splits["validation"].first(40)[:, 0], torch.from_numpy(x[30:]))
    assert images.splits["validation"].labels.tolist() == y[30:].tolist()
    assert torch.equal(images.splits["test"].first(40)[:, 0], torch.from_numpy(made["t10k"][0]))


def test_mnist_found_by_the_environment(small, tmp_path, rng, monkeypatch):
    write_mnist(tmp_path / "mnist", rng)
    monkeypatch.setenv("LIMNER_DATA", str(tmp_path))
    assert len(load("mnist").split("test")) == 8


def test_stacked_mnist(small, tmp_path, rng):
    write_mnist(tmp_path / "mnist", rng)
    digits, images = load("mnist", data_dir=tmp_path), load("stacked-mnist", data_dir=tmp_path)
    assert (images.shape, images.levels, len(images.label_names)) == ((3, 28, 28), 256, 1000)
    assert images.label_names[42] == "042"
    assert [len(split) for split in images.splits.values()] == [70, 20, 30]
    for name, split in images.splits.items():  # each channel is a digit of the same split, the label says which
        pool = digits.splits[name]
        known = {image.numpy().tobytes(): int(k) for image, k in zip(pool.first(99), pool.labels, strict=True)}
        for image, label in zip(split.first(99), split.labels.tolist(), strict=True):
            r, g, b = (known[channel.numpy().tobytes()] for channel in image)
            assert label == 100 * r + 10 * g + b
    again = load("stacked-mnist", data_dir=tmp_path)
    assert torch.equal(again.splits["test"].first(99), images.splits["test"].first(99))


def test_mnist_of_the_wrong_length(small, tmp_path, rng):
    write_mnist(tmp_path / "mnist", rng)
    short = rng.integers(0, 256, (7, 28, 28), dtype=np.uint8)
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(short)))
    with pytest.raises(LimnerError, match=r"t10k-images-idx3-ubyte\.gz: holds 7 images where 8"):
        load("mnist", data_dir=tmp_path)


def test_mnist_of_the_wrong_shape_or_labels(small, tmp_path, rng):
    write_mnist(tmp_path / "mnist", rng)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(8, 10, np.uint8))))
    with pytest.raises(LimnerError, match=r"t10k-labels-idx1-ubyte\.gz: not the mnist file"):
        load("mnist", data_dir=tmp_path)


def write_binarized(folder, rng, gz):
    folder.mkdir(parents=True)
    made = {}
    for part, n in (("train", 40), ("valid", 10), ("test", 8)):
        made[part] = rng.integers(0, 2, (n, 784), dtype=np.uint8)
        text = "".join(" ".join(map(str, row)) + "\n" for row in made[part].tolist()).encode()
        name = f"binarized_mnist_{part}.amat{'.gz' if gz else ''}"
        (folder / name).write_bytes(gzip.compress(text) if gz else text)
    return made


@pytest.mark.parametrize("gz", [True, False])
def test_binarized_mnist(small, tmp_path, rng, gz):
    made = write_binarized(tmp_path / "binarized_mnist", rng, gz)
    images = load("binarized-mnist", data_dir=tmp_path)
    assert (images.shape, images.levels) == ((1, 28, 28), 2)
    for name, part in (("train", "train"), ("validation", "valid"), ("test", "test")):
        assert images.splits[name].labels is None
        assert torch.equal(images.splits[name].first(99).flatten(1), torch.from_numpy(made[part] * 255))
    assert any("static binarization" in note for note in images.notes)


def test_binarized_mnist_with_grey_in_it(small, tmp_path, rng):
    folder = tmp_path / "binarized_mnist"
    write_binarized(folder, rng, False)
    text = (folder / "binarized_mnist_test.amat").read_text()
    (folder / "binarized_mnist_test.amat").write_text("0.5" + text[1:])
    with pytest.raises(LimnerError, match=r"binarized_mnist_test\.amat: not the binarized MNIST"):
        load("binarized-mnist", data_dir=tmp_path)


def write_cifar(folder, rng, packed=True, damage=None):
    folder.mkdir(parents=True)
    records = rng.integers(0, 256, (6, 10, 3073), dtype=np.uint8)
    records[..., 0] %= 10
    files = {name: batch.tobytes() for name, batch in zip(named.CIFAR10_BATCHES, records, strict=True)}
    if damage:
        files[damage] = files[damage][:-1]
    if packed:
        with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return records.reshape(60, 3073)


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10(small, tmp_path, rng, packed):
    records = write_cifar(tmp_path / "cifar10", rng, packed)
    images = load("cifar10", data_dir=tmp_path)
    assert (images.shape, images.levels) == ((3, 32, 32), 256)
    assert [len(split) for split in images.splits.values()] == [45, 5, 10]
    pixels = torch.from_numpy(records[:, 1:]).view(60, 3, 32, 32)
    assert torch.equal(images.splits["train"].first(60), pixels[:45])
    assert torch.equal(images.splits["validation"].first(60), pixels[45:50])
    assert torch.equal(images.splits["test"].first(60), pixels[50:])
    assert images.splits["test"].labels.tolist() == records[50:, 0].tolist()
    assert images.label_names[3] == "cat"


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_cut(small, tmp_path, rng, packed):
    write_cifar(tmp_path / "cifar10", rng, packed, damage="data_batch_3.bin")
    with pytest.raises(LimnerError, match=r"data_batch_3\.bin"):
        load("cifar10", data_dir=tmp_path)


def test_cifar10_damaged_archive(small, tmp_path, rng):
    write_cifar(tmp_path / "cifar10", rng)
    archive = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(LimnerError, match=r"cifar-10-binary\.tar\.gz"):
        load("cifar10", data_dir=tmp_path)


def test_sources_are_described():
    assert list(SOURCES) == ["digits", "mnist", "binarized-mnist", "fashion-mnist", "cifar10", "stacked-mnist"]
    assert all(SOURCES.values())


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("minst", "no file or folder minst: did you mean mnist?"),
        ("binarized_mnist", "did you mean binarized-mnist?"),
        ("nowhere/at/all", "no file or folder nowhere/at/all, and no data set of that name"),
    ],
)
def test_unknown_sources(source, problem):
    with pytest.raises(LimnerError) as caught:
        load(source)
    assert problem in str(caught.value)


def test_files_of_no_known_kind(tmp_path):
    (tmp_path / "table.csv").write_text("1,2")
    with pytest.raises(LimnerError, match=r"table\.csv is no data set: give a folder"):
        load(tmp_path / "table.csv")


def test_what_is_here_is_known_without_reading_it(tmp_path):
    names = {"digits", "mnist", "binarized-mnist", "fashion-mnist", "cifar10", "stacked-mnist"}
    assert named_here(tmp_path) == {name: name == "digits" for name in names}
    for file in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images.idx3-ubyte"):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / file).touch()
    assert not named_here(tmp_path)["mnist"]  # one file is missing
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").touch()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").touch()
    (tmp_path / "binarized_mnist").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "binarized_mnist" / f"binarized_mnist_{part}.amat").touch()
    here = {"digits", "mnist", "stacked-mnist", "cifar10", "binarized-mnist"}
    assert named_here(tmp_path) == {name: name in here for name in names}
