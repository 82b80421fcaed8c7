import io
import json
import random
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from benchmarks.mutations import damaged
from limner.data import load, rows
from limner.errors import LimnerError


@pytest.fixture
def images(rng):
    """Files of 60 images."""
    return [png(rng.integers(0, 256, (6, 8), np.uint8)) for _ in range(60)]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def save(path, images, labels=None, features=None, group=10, column="image", **more):
    """Write a parquet file as Hugging Face's datasets does."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {column: pa.array([{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)], kind)}
    columns |= {} if labels is None else {"label": labels}
    table = pa.table(columns | more)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_one_file(tmp_path, images):
    found = load(save(tmp_path / "a.parquet", images))
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 48, "validation": 6, "test": 6}
    assert found.shape == (1, 6, 8)
    for split in found.splits.values():
        for name, image in zip(split.names, split.first(99), strict=True):
            shard, _, row = name.partition("/")
            assert shard == "a.parquet"
            np.testing.assert_array_equal(image[0], pixels(images[int(row)]))


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"),
        ("data/train-0.parquet", "data/train-1.parquet", "data/test-0.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-train/0001.parquet", "default/test/0000.parquet"),
    ],
)
def test_shards_of_splits(tmp_path, images, names):
    for k, name in enumerate(names):
        save(tmp_path / "set" / name, images[20 * k : 20 * k + 20], [k] * 20)
    (tmp_path / "set" / "README.md").write_text("# A data set")
    found = load(tmp_path / "set")
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 36, "validation": 4, "test": 20}
    assert {name.rpartition("/")[0] for name in found.splits["test"].names} == {names[2]}
    assert found.splits["test"].labels.tolist() == [2] * 20
    assert any("validation taken out of train" in note for note in found.notes)


def test_validation_shards_and_strangers(tmp_path, images):
    for k, name in enumerate(("train-0", "validation-0", "test-0", "other")):
        save(tmp_path / f"{name}.parquet", images[15 * k : 15 * k + 15])
    found = load(tmp_path)
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 15, "validation": 15, "test": 15}
    assert "1 parquet file that names no split was ignored" in found.notes


def test_images_beside_parquet_files_come_first(tmp_path, images, write_images):
    folder = write_images(n=5)
    save(folder / "a.parquet", images)
    found = load(folder)
    assert sum(map(len, found.splits.values())) == 5
    assert any("1 .parquet" in note for note in found.notes)


def test_classes_by_name(tmp_path, images):
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["zebra", "ant", "gnu"]}}
    found = load(save(tmp_path / "a.parquet", images, [i % 2 for i in range(60)], features))
    assert found.label_names == ("zebra", "ant", "gnu")
    for split in found.splits.values():
        assert split.labels.tolist() == [int(name.partition("/")[2]) % 2 for name in split.names]


@pytest.mark.parametrize(
    ("labels", "names", "note"),
    [
        ([10, 9, 10] * 20, ("9", "10"), "labels are from column 'label'"),
        (["cat", "ant", "cat"] * 20, ("ant", "cat"), "labels are from column 'label'"),
        ([True, False, True] * 20, ("False", "True"), "labels are from column 'label'"),
        ([7] * 60, (), "no labels: all images have the label '7'"),
        ([1, None, 0] * 20, (), "no labels: 20 of 60 images have none"),
        ([0.5, 0.25, 1.0] * 20, (), "no labels: column 'label' holds more than one value an image, or fractions"),
        ([[1], [2], [3]] * 20, (), "no labels: column 'label' holds more than one value an image, or fractions"),
    ],
)
def test_labels(tmp_path, images, labels, names, note):
    found = load(save(tmp_path / "a.parquet", images, labels))
    assert found.label_names == names
    assert note in found.notes
    if names:
        for split in found.splits.values():
            of = [str(labels[int(name.partition("/")[2])]) for name in split.names]
            assert [names[k] for k in split.labels] == of


@pytest.mark.parametrize(
    ("labels", "names", "found"),
    [([0, 1, -1] * 20, ["a", "b"], ()), ([0, 1, 2] * 20, ["a", "b"], ("0", "1", "2")), ([0, 1, 2] * 20, 3, None)],
)
def test_labels_that_features_do_not_name(tmp_path, images, labels, names, found):
    features = {"label": {"_type": "ClassLabel", "names": names}}
    images_ = load(save(tmp_path / "a.parquet", images, labels, features))
    assert images_.label_names == (("0", "1", "2") if found is None else found)


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": [1]}}', b"\xff"])
def test_odd_metadata_says_nothing(tmp_path, images, metadata):
    table = pa.table({"image": [{"bytes": data} for data in images], "label": [0, 1, 2] * 20})
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").label_names == ("0", "1", "2")


def test_columns_of_other_names(tmp_path, images):
    features = {"photo": {"_type": "Image"}, "fine": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}
    path = save(tmp_path / "a.parquet", images, None, features, column="photo", fine=[0, 1, 2] * 20)
    assert load(path).label_names == ("a", "b", "c")
    pq.write_table(pa.table({"text": ["x"] * 60, "img": images}), tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet").shape == (1, 6, 8)


def test_rows_without_images_are_broken(tmp_path, images):
    found = load(save(tmp_path / "a.parquet", [*images, None, b"", b"no image"]))
    reasons = [(one.path, one.reason) for one in found.broken]
    assert [path for path, _ in reasons] == ["a.parquet/60", "a.parquet/61", "a.parquet/62"]
    assert "its row has no bytes of an image" in reasons[0][1]
    assert sum(map(len, found.splits.values())) == 60


def test_what_is_no_set_of_images(tmp_path, images):
    pq.write_table(pa.table({"text": ["x"], "n": [1]}), tmp_path / "text.parquet")
    with pytest.raises(LimnerError, match=r"text\.parquet has no column of images, as 'image' .*, but 'text', 'n'"):
        load(tmp_path / "text.parquet")
    with pytest.raises(LimnerError, match="its parquet files have no rows"):
        load(save(tmp_path / "none.parquet", []))
    (tmp_path / "junk.parquet").write_text("hello")
    with pytest.raises(LimnerError, match=r"junk\.parquet: cannot read this parquet file \(.*\): fetch it again"):
        load(tmp_path / "junk.parquet")
    save(tmp_path / "two" / "a.parquet", images)
    pq.write_table(pa.table({"img": images}), tmp_path / "two" / "b.parquet")
    with pytest.raises(LimnerError, match=r"b\.parquet has no column 'image\.bytes', as other shards have"):
        load(tmp_path / "two")
    save(tmp_path / "labels" / "a.parquet", images, [1] * 60)
    save(tmp_path / "labels" / "b.parquet", images)
    with pytest.raises(LimnerError, match=r"b\.parquet has no column 'label', as other shards have"):
        load(tmp_path / "labels")


def test_without_pyarrow_one_line_says_what_to_install(tmp_path, images, monkeypatch):
    path = save(tmp_path / "a.parquet", images)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LimnerError, match=r"need pyarrow: install it with `pip install 'limner\[parquet\]'`"):
        load(path)


@pytest.mark.parametrize("copied", [False, True])
def test_damaged_files_end_in_one_line(tmp_path, images, monkeypatch, copied):
    monkeypatch.setattr(rows, "LARGE_GROUP", 0 if copied else 1 << 20)
    whole = save(tmp_path / "whole.parquet", images, [0, 1, 2] * 20).read_bytes()
    chance = random.Random(5)
    sets, lines = 0, []
    for _ in range(60):
        (tmp_path / "a.parquet").write_bytes(damaged(whole, chance))
        try:
            found = load(tmp_path / "a.parquet")
            assert sum(map(len, found.splits.values())) + len(found.broken) == 60
            sets += 1
        except LimnerError as error:
            lines.append(str(error))
    assert all("a.parquet" in line and "\n" not in line for line in lines)
    assert min(sets, len(lines)) > 5


def test_large_groups_are_copied_once(tmp_path, images, monkeypatch, cache):
    plain = load(save(tmp_path / "set" / "train-0.parquet", images, [0, 1, 2] * 20)).split("train")
    monkeypatch.setattr(rows, "LARGE_GROUP", 100)
    monkeypatch.setattr(rows, "BATCH", 7)
    save(tmp_path / "set" / "train-0.parquet", images[:35], ([0, 1, 2] * 20)[:35], group=35)
    save(tmp_path / "set" / "train-1.parquet", [*images[35:], None], [*([0, 1, 2] * 20)[35:], 0], group=1000)
    made = []
    for _ in range(2):
        found = load(tmp_path / "set", stream_above=1)
        assert torch.equal(found.split("train").first(99), plain.first(99))
        assert torch.equal(found.split("train").labels, plain.labels)
        assert [one.path for one in found.broken] == ["train-1.parquet/25"]
        made.append([(p.name, p.stat().st_mtime_ns) for p in (cache / "limner" / "sets").glob("*.images")])
    assert made[0] == made[1]
    assert len(made[0]) == 1
    (copy,) = (cache / "limner" / "sets").glob("*.images")
    whole = copy.read_bytes()
    for hurt in (whole[:-1], b"", whole[:-100] + bytes(8) + whole[-92:]):
        copy.write_bytes(hurt)
        assert torch.equal(load(tmp_path / "set", stream_above=1).split("train").first(99), plain.first(99))
        assert copy.read_bytes() == whole
    save(tmp_path / "set" / "train-1.parquet", images[35:], group=1000, labels=[1] * 25)
    assert not load(tmp_path / "set").broken
    assert len(list((cache / "limner" / "sets").glob("*.images"))) == 1  # of what was, nothing is left


def test_no_room_for_a_copy(tmp_path, images, monkeypatch):
    monkeypatch.setattr(rows, "LARGE_GROUP", 100)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(rows.shutil, "disk_usage", lambda _: usage._replace(free=1 << 30))
    with pytest.raises(LimnerError, match=r"no room for a copy of 0\.0 GB: save it with groups of 100 rows"):
        load(save(tmp_path / "a.parquet", images))


def test_groups_are_read_once_and_few_are_kept(tmp_path, images, monkeypatch):
    path = save(tmp_path / "a.parquet", images, group=10)
    found = load(path, stream_above=1)
    read = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, *a, **k: read.append(i) or real(self, i, *a, **k)
    )
    found = load(path, stream_above=1)
    found.split("train").first(99)
    assert sorted(read) == list(range(6))
    monkeypatch.setattr(rows, "KEPT", 1)
    found = load(path, stream_above=1)
    read.clear()
    found.split("train").first(99)  # along the file, whatever the order that was asked for
    assert len(read) <= 12
    assert len(set(read)) == 6
