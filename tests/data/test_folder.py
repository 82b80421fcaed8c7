import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data import load
from limner.errors import LimnerError


def everything(images):
    """All images by name."""
    return {
        name: split.take(torch.tensor([i]))[0] for split in images.splits.values() for i, name in enumerate(split.names)
    }


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def test_plain_folder(write_images):
    folder = write_images(n=20)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image either")
    images = load(folder)
    assert images.shape == (1, 6, 8)
    assert images.levels == 256
    assert {name: len(split) for name, split in images.splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }
    assert not images.broken
    assert images.label_names == ()
    assert any("1 .txt" in note for note in images.notes)
    for name, image in everything(images).items():
        np.testing.assert_array_equal(image[0], np.asarray(Image.open(folder / name)))


def test_class_folders_are_labels(write_images):
    write_images("pets/dog", 12)
    write_images("pets/cat", 12)
    images = load(write_images("pets/cat/kittens", 3).parent.parent)
    assert images.label_names == ("cat", "dog")
    for split in images.splits.values():
        assert [images.label_names[k] for k in split.labels] == [name.split("/")[0] for name in split.names]


def test_no_labels_if_a_image_is_outside(write_images):
    write_images("pets/dog", 3)
    write_images("pets/cat", 3)
    images = load(write_images("pets", 1))
    assert images.label_names == ()
    assert images.splits["train"].labels is None
    assert any("no labels: 1 of 7" in note for note in images.notes)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "VAL"])
def test_split_folders(write_images, name):
    for split, n in (("train", 9), (name, 4), ("test", 5)):
        for kind in ("a", "b"):
            write_images(f"set/{split}/{kind}", n)
    images = load(write_images("set/train/a", 9).parent.parent)
    assert {split: len(part) for split, part in images.splits.items()} == {
        "train": 18,
        "validation": 8,
        "test": 10,
    }
    assert all(n.startswith("test/") for n in images.splits["test"].names)
    assert images.label_names == ("a", "b")


def test_validation_is_carved_out_of_train(write_images):
    write_images("set/train", 20)
    images = load(write_images("set/test", 5).parent)
    assert {split: len(part) for split, part in images.splits.items()} == {
        "train": 18,
        "validation": 2,
        "test": 5,
    }
    assert any("taken out of train" in note for note in images.notes)


def test_train_as_a_class_among_vehicles(write_images):
    write_images("vehicles/bus", 5)
    images = load(write_images("vehicles/train", 5).parent)
    assert images.label_names == ("bus", "train")


def test_images_shared_by_given_splits_are_reported(write_images):
    train = write_images("set/train", 8)
    test = write_images("set/test", 3)
    (test / "copy.png").write_bytes((train / "000.png").read_bytes())
    (test / "copy2.png").write_bytes((train / "001.png").read_bytes())
    (test / "copy3.png").write_bytes((train / "002.png").read_bytes())
    (test / "copy4.png").write_bytes((train / "003.png").read_bytes())
    assert any("of test are also in train" in note for note in load(train.parent).notes)


def test_colour_decision(write_images):
    folder = write_images(n=5)
    assert load(folder).shape[0] == 1
    Image.fromarray(np.full((6, 8, 3), (9, 9, 9), np.uint8)).save(folder / "grey.png")
    assert load(folder).shape[0] == 1
    Image.fromarray(np.full((6, 8, 3), (9, 9, 8), np.uint8)).save(folder / "red.png")
    images = load(folder)
    assert images.shape == (3, 6, 8)
    assert "1 of 7 images is in colour: all are read as RGB" in images.notes
    assert torch.equal(everything(images)["grey.png"], torch.full((3, 6, 8), 9, dtype=torch.uint8))


def test_broken_files_are_skipped_by_name(write_images):
    folder = write_images(n=6)
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("hello")
    whole = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:-30])
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    images = load(folder)
    assert [b.path for b in images.broken] == ["cut.png", "empty.png", "gone.png", "text.png"]
    assert all(b.reason for b in images.broken)
    assert sum(map(len, images.splits.values())) == 6


def test_decompression_bombs_are_broken(write_images, monkeypatch):
    folder = write_images(n=3)
    Image.new("L", (40, 40)).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # half of which Pillow only warns of
    broken = load(folder).broken
    assert [(b.path, "decompression bomb" in b.reason) for b in broken] == [("bomb.png", True)]


def test_nothing_but_broken_files(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(LimnerError, match=r"none of the 1 images in .*; a\.png: not an image"):
        load(tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(LimnerError, match="holds no images"):
        load(tmp_path)


def test_folder_of_data_files(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    with pytest.raises(LimnerError, match=r"give one of them, as .*train-images-idx3-ubyte\.gz"):
        load(tmp_path)


def test_pipes_and_loops_are_survived(write_images):
    folder = write_images(n=4)
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    assert sum(map(len, load(folder).splits.values())) == 4


def test_mixed_sizes_take_the_most_common(write_images):
    write_images("mixed/a", 3, (100, 200))
    write_images("mixed/b", 2, (30, 30))
    images = load(write_images("mixed/c", 1, (7, 300)).parent)
    assert images.shape == (1, 32, 64)
    assert any("sizes differ (3 sizes, 30×30 … 200×100): fitted to 64×32 by centre crop" in n for n in images.notes)


def test_large_images_stay_but_are_noted(write_images):
    images = load(write_images(n=3, size=(20, 70)))
    assert images.shape == (1, 20, 70)
    assert any("size=(64, 64)" in note for note in images.notes)


@pytest.mark.parametrize(
    ("fit", "row"),
    [
        ("crop", [255, 255, 255, 255]),
        ("pad", [100, 255, 255, 50]),
        ("stretch", [100, 255, 255, 50]),
    ],
)
def test_fit(tmp_path, fit, row):
    wide = np.full((40, 80), 255, np.uint8)
    wide[:, :20], wide[:, 60:] = 100, 50
    Image.fromarray(wide).save(tmp_path / "wide.png")
    image = load(tmp_path, size=(4, 4), fit=fit).splits["train"].first(1)[0, 0]
    black = torch.zeros(4, dtype=torch.uint8)
    if fit == "pad":
        assert torch.equal(image[0], black)
        assert torch.equal(image[3], black)
        image = image[1:3]
    assert (image.int() - torch.tensor(row)).abs().max() <= 40  # the edges are antialiased
    if fit == "crop":
        assert image.min() > 240


def test_binary_images_have_two_levels(tmp_path, rng):
    for i in range(5):
        Image.fromarray(rng.random((8, 8)) > 0.5).save(tmp_path / f"{i}.png")
    images = load(tmp_path)
    assert images.levels == 2
    assert set(images.splits["train"].first(9).unique().tolist()) == {0, 255}
    smaller = load(tmp_path, size=(5, 5))
    assert smaller.levels == 256
    assert any("makes greys" in note for note in smaller.notes)
    assert set(load(tmp_path, size=(5, 5), levels=2).splits["train"].first(9).unique().tolist()) == {0, 255}


@pytest.mark.parametrize("options", [{}, {"size": (5, 9)}, {"levels": 4}, {"size": (9, 3), "fit": "pad", "levels": 3}])
@pytest.mark.parametrize("pack", [False, True])
def test_files_and_memory_agree_pixel_for_pixel(write_images, tmp_path, options, pack):
    write_images("mixed/a", 12, (9, 7))
    write_images("mixed/b", 6, (12, 30), "RGB", ".jpg")
    source = write_images("mixed/c", 4, (5, 5), "RGBA").parent
    (source / "c" / "bad.png").write_text("x")
    source = zipped(source, tmp_path / "mixed.zip") if pack else source
    kept, read = load(source, **options), load(source, memory_limit=100, **options)
    assert kept.splits["train"].store.in_memory
    assert not read.splits["train"].store.in_memory
    for name, split in kept.splits.items():
        other = read.splits[name]
        assert split.names == other.names
        assert torch.equal(split.labels, other.labels)
        backwards = torch.arange(len(split)).flip(0)
        assert torch.equal(split.take(backwards), other.take(backwards))
        assert split.store.shape == other.store.shape == kept.shape
    assert (kept.levels, kept.broken) == (read.levels, read.broken)


def test_zip_and_folder_give_the_same(write_images, tmp_path):
    write_images("set/train/a", 8)
    folder = write_images("set/train/b", 8).parent.parent
    one, other = load(folder), load(zipped(folder.parent, tmp_path / "set.zip"))  # the zip wraps it once more
    assert one.label_names == other.label_names
    for name in one.splits:
        assert torch.equal(one.splits[name].first(99), other.splits[name].first(99))


def test_damaged_zips(write_images, tmp_path):
    whole = zipped(write_images(n=6, size=(40, 40)), tmp_path / "good.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-50])
    with pytest.raises(LimnerError, match=r"cut\.zip: cannot read this zip"):
        load(tmp_path / "cut.zip")
    damaged = bytearray(whole)
    damaged[200:230] = bytes(30)
    (tmp_path / "hurt.zip").write_bytes(damaged)
    assert [b.path for b in load(tmp_path / "hurt.zip").broken] == ["000.png"]


def test_file_that_changes_after_loading(write_images):
    folder = write_images(n=5)
    images = load(folder, memory_limit=1)
    for file in folder.iterdir():
        file.write_text("gone")
    with pytest.raises(LimnerError, match=r"\.png of .* could be read before, not now"):
        images.splits["train"].first(1)


def test_progress_is_told(write_images):
    told = []
    load(write_images(n=4), on_progress=lambda *what: told.append(what))
    assert ("looking", 4, 4) in told
    assert ("reading", 4, 4) in told
