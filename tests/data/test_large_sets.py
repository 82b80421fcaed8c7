"""Sets that are not read whole: they are as if they were, whatever the format, and quick to open again."""

import hashlib
import itertools
import json
import os
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from limner.config.run_config import DataConfig
from limner.data import Batches, from_arrays, load, reading
from limner.data.windows import WINDOW
from limner.errors import LimnerError

ABOVE = 1000  # bytes of pixels: fewer than any set here has


@pytest.fixture
def pets(tmp_path, rng):
    """A folder of two classes with a copy, a broken file, an animation and one image in colour."""
    root = tmp_path / "pets"
    for kind in ("cat", "dog"):
        (root / kind).mkdir(parents=True)
        for i in range(80):
            Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)).save(root / kind / f"{i:02}.png")
    shutil.copy(root / "cat" / "00.png", root / "dog" / "copy.png")
    Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(root / "dog" / "red.jpg")
    (root / "cat" / "bad.png").write_text("no image")
    frames = [Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)) for _ in range(2)]
    frames[0].save(root / "dog" / "moves.gif", save_all=True, append_images=frames[1:])
    return root


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def sharded(folder, rows=50, group=10, names="train-{:05}.parquet"):
    """The files of a folder in the same order, as a folder of parquet files."""
    files = sorted(file for file in folder.rglob("*.*") if file.is_file())
    classes = sorted({file.parent.name for file in files})
    target = folder.with_name(f"{folder.name}-parquet")
    target.mkdir()
    for k, part in enumerate(files[i : i + rows] for i in range(0, len(files), rows)):
        images = [{"bytes": file.read_bytes(), "path": file.name} for file in part]
        table = pa.table({"image": images, "label": [classes.index(file.parent.name) for file in part]})
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": classes}}
        said = hf(features)
        pq.write_table(table.replace_schema_metadata(said), target / names.format(k), row_group_size=group)
    return target


def hf(features):
    return {"huggingface": json.dumps({"info": {"features": features}})}


def sequence(images, start=0, steps=12, size=16):
    """A hash of the images and labels of some steps."""
    digest = hashlib.blake2b()
    stream = Batches(images.split("train"), size, seed=4).from_step(start)
    for batch in itertools.islice(stream, steps):
        digest.update(batch.images.numpy().tobytes() + batch.labels.numpy().tobytes())
    stream.close()
    return digest.hexdigest()


def facts(images):
    """All that should not depend on how a set was read."""
    config = DataConfig.of(images, "crop")
    labels = {name: split.labels.tolist() for name, split in images.splits.items()}
    notes = {note for note in images.notes if "large set" not in note and "labels are from" not in note}
    return config.fingerprint, images.shape, images.levels, labels, images.label_names, notes


@pytest.fixture
def unread(monkeypatch):
    """From here on no image may be looked at for its facts."""

    def refuse(*_):
        raise AssertionError("an image was looked at again")

    def arm():
        monkeypatch.setattr(reading, "_facts", refuse)
        monkeypatch.setattr(reading, "header_size", refuse)

    return arm


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped, sharded], ids=["folder", "zip", "parquet"])
def test_the_set_is_as_if_it_were_read_whole(pets, pack):
    source = pack(pets)
    whole, once, again = load(source), load(source, stream_above=ABOVE), load(source, stream_above=ABOVE)
    assert whole.splits["train"].store.in_memory
    assert [images.window for images in (whole, once, again)] == [0, WINDOW, WINDOW]
    for images in (once, again):
        assert not images.splits["train"].store.in_memory
        assert facts(images) == facts(whole)
        assert images.broken == whole.broken
        assert len(images.broken) == 1
        for name, split in whole.splits.items():
            assert images.splits[name].names == split.names
            assert torch.equal(images.splits[name].first(99), split.first(99))
    notes = " ".join(again.notes)
    assert "1 of 163 images is in colour" in notes
    assert "1 of 163 files holds several images" in notes
    assert f"windows of {WINDOW} images" in notes


def test_all_formats_give_one_sequence(pets):
    shards = sharded(pets)
    found = [load(source, stream_above=ABOVE) for source in (pets, zipped(pets), shards)]
    assert len({images.splits["train"].names for images in found}) == 2  # parquet has names of its own
    assert len({sequence(images) for images in found}) == 1
    assert len({sequence(images, start=5) for images in found}) == 1
    kept = load(pets).shuffled_by(WINDOW)  # as does the set in memory
    assert sequence(kept) == sequence(found[0]) != sequence(load(pets))


def test_arrays_take_the_same_windows(write_images, tmp_path):
    folders = [write_images(f"set/{part}", n) for part, n in (("train", 150), ("validation", 9), ("test", 9))]
    arrays = {f.name: np.stack([np.asarray(Image.open(file)) for file in sorted(f.iterdir())]) for f in folders}
    np.savez(tmp_path / "a.npz", **arrays)
    steps = []
    for source in (tmp_path / "set", tmp_path / "a.npz"):
        images = load(source, stream_above=ABOVE)
        assert images.window == WINDOW
        stream = Batches(images.split("train"), 16, seed=4).from_step(3)
        steps.append(torch.cat([batch.images for batch in itertools.islice(stream, 20)]))
        stream.close()
    assert torch.equal(*steps)


def test_second_start_looks_at_no_image(pets, unread):
    load(pets, stream_above=ABOVE)
    unread()
    told = []
    again = load(pets, stream_above=ABOVE, on_progress=lambda *what: told.append(what))
    assert told == []
    assert len(again.split("train")) == 131
    other = load(pets, size=(4, 4), levels=4, stream_above=ABOVE)  # the facts are of the images at their own size
    assert other.shape == (3, 4, 4)
    assert set(other.split("train").first(9).unique().tolist()) <= {0, 85, 170, 255}
    kept = load(pets)  # nor does it where there is room for the set
    assert kept.split("train").store.in_memory


@pytest.mark.parametrize("change", ["new", "gone", "other", "renamed", "touched"])
@pytest.mark.parametrize("pack", [lambda folder: folder, zipped])
def test_index_is_made_anew_when_a_file_changes(pets, rng, pack, change):
    before = facts(load(pack(pets), stream_above=ABOVE))
    file = pets / "dog" / "10.png"
    if change == "gone":
        file.unlink()
    elif change == "renamed":
        file.rename(file.with_name("0.png"))
    elif change == "touched":
        os.utime(file, (10**9, 10**9))
    else:
        target = file.with_name("new.png") if change == "new" else file
        Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)).save(target)
    source = pack(pets)
    if source.suffix:
        os.utime(source, (10**9, 10**9))
    after = load(source, stream_above=ABOVE)
    assert facts(after) == facts(load(source))
    assert (facts(after) == before) == (change in ("renamed", "touched"))


def test_damaged_index_is_made_anew(pets, cache):
    expected = facts(load(pets, stream_above=ABOVE))
    (index,) = (cache / "limner" / "sets").glob("*.npz")
    whole = index.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 12).astype(int).tolist():
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert facts(load(pets, stream_above=ABOVE)) == expected
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        index.write_bytes(whole[:cut])
        assert facts(load(pets, stream_above=ABOVE)) == expected
    assert len(index.read_bytes()) == len(whole)  # it was made anew


def test_cache_that_cannot_be_written_to(pets, cache):
    (cache / "limner").write_text("a file where the folder should be")
    images = load(pets, stream_above=ABOVE)
    assert facts(images) == facts(load(pets))


def test_images_that_given_splits_share_are_noted(write_images):
    train, test = write_images("set/train", 30), write_images("set/test", 10)
    shutil.copy(train / "003.png", test / "copy.png")
    for _ in range(2):
        notes = load(train.parent, stream_above=ABOVE).notes
        assert any("1 image of test is also in train, pixel for pixel" in note for note in notes)
        assert any("validation taken out of train" in note for note in notes)


@pytest.mark.parametrize("options", [{}, {"size": (5, 5)}, {"size": (5, 5), "levels": 2}])
def test_levels_of_black_and_white_images(tmp_path, rng, options):
    for i in range(60):
        Image.fromarray(rng.random((8, 8)) > 0.5).save(tmp_path / f"{i:02}.png")
    whole, once, again = (load(tmp_path, stream_above=above, **options) for above in (None, ABOVE, ABOVE))
    assert whole.levels == once.levels == again.levels == (256 if options == {"size": (5, 5)} else 2)
    assert whole.notes == once.notes[:-1] == again.notes[:-1]
    assert torch.equal(whole.split("train").first(9), again.split("train").first(9))


def test_grey_images_that_might_not_have_fitted(write_images):
    """A set between the bytes of grey and of coloured pixels fits after all, and is kept."""
    folder = write_images(n=20)
    images = load(folder, stream_above=20 * 48)
    assert images.split("train").store.in_memory
    assert images.window == 0
    assert load(folder, stream_above=20 * 48 - 1).window == WINDOW


def test_index_of_a_set_that_seemed_to_fit(pets, cache, unread):
    images = load(pets, stream_above=163 * 48)  # so many pixels, of three channels each
    assert images.window == WINDOW
    assert len(list((cache / "limner" / "sets").iterdir())) == 1
    unread()
    assert facts(load(pets, stream_above=163 * 48)) == facts(images)


def test_a_run_keeps_the_order_in_which_it_began(pets, monkeypatch):
    small, large = load(pets), load(pets, stream_above=ABOVE)
    configs = [DataConfig.of(images, "crop") for images in (small, large)]
    assert [config.window for config in configs] == [0, WINDOW]
    for above in ("1", "1000000"):  # another machine, or a later limner, may draw the line elsewhere
        monkeypatch.setenv("LIMNER_STREAM_ABOVE", above)
        assert [sequence(config.load()) for config in configs] == [sequence(small), sequence(large)]
    assert replace(configs[1], window=0).load().window == 0  # a run of before there were windows


def test_limit_from_the_environment(pets, monkeypatch):
    monkeypatch.setenv("LIMNER_STREAM_ABOVE", "7")
    assert load(pets).window == WINDOW
    assert from_arrays(np.zeros((9, 4, 4), np.uint8)).window == WINDOW
    monkeypatch.setenv("LIMNER_STREAM_ABOVE", "much")
    with pytest.raises(LimnerError, match="LIMNER_STREAM_ABOVE must be a whole number of bytes, not 'much'"):
        load(pets)


def test_file_that_vanishes_during_training(pets):
    images = load(pets, stream_above=ABOVE)
    shutil.rmtree(pets / "dog")
    with pytest.raises(LimnerError, match=r"dog/.* of .*pets could be read before, not now: No such file"):
        images.split("train").first(200)
