"""Labels beside the images, and what is said of depth, frames and files that cannot be read."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from limner.data import load
from limner.errors import LimnerError

KINDS = ("ant", "bee", "cat")


def labels_by_name(images):
    return {
        name: images.label_names[int(k)]
        for split in images.splits.values()
        for name, k in zip(split.names, split.labels, strict=True)
    }


def note_of(images, word):
    (note,) = [note for note in images.notes if word in note]
    return note


@pytest.mark.parametrize("column", ["label", "category"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "zip"])
def test_labels_of_imagefolder(write_images, tmp_path, kind, column):
    folder = write_images("set/train", 12)
    wanted = {f"{i:03}.png": KINDS[i % 3] for i in range(12)}
    if kind == "jsonl":
        rows = [{"file_name": f"train/{name}", "text": "é", column: label} for name, label in wanted.items()]
        (folder.parent / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        lines = [f'{name},"a, b",{label}' for name, label in wanted.items()]
        text = "\ufefffile_name,text," + column + "\n" + "\n".join(lines)
        (folder / "metadata.csv").write_text(text, encoding="utf-8")
    source = folder.parent
    if kind == "zip":
        source = tmp_path / "set.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"train/{file.name}")
    images = load(source)
    assert images.label_names == KINDS
    assert {name.split("/")[-1]: label for name, label in labels_by_name(images).items()} == wanted
    assert f"labels are from column {column!r} of " in note_of(images, "column")
    assert not any("no image" in note for note in images.notes)


def test_numbers_are_in_their_own_order_and_folders_come_second(write_images):
    for kind in ("left", "right"):
        write_images(f"set/{kind}", 6)
    folder = write_images("set/left", 6).parent
    rows = [f"{kind}/{i:03}.png,{7 + i % 4}" for kind in ("left", "right") for i in range(6)]
    (folder / "metadata.csv").write_text("file_name,label\n" + "\n".join(rows))
    assert load(folder).label_names == ("7", "8", "9", "10")


@pytest.mark.parametrize(("text", "said"), [
    ("file_name,label\nleft/000.png,a\nleft/001.png,b", "no labels from there: 10 of 12 images have none"),
    ("name,label\nleft/000.png,a", "metadata.csv was not used: its rows have no 'file_name'"),
    ("file_name,colour\nleft/000.png,a", "was not used: it has no column 'label', but 'file_name', 'colour'"),
    ("", "metadata.csv was not used"),
    ("file_name,label\nelsewhere/000.png,a", "1 row of metadata.csv names no image here"),
    (b"\xff\xfe\xfa", "metadata.csv was not used: 'utf-8' codec"),
])  # fmt: skip
def test_labels_that_do_not_serve_are_said_and_folders_stand(write_images, text, said):
    for kind in ("left", "right"):
        write_images(f"set/{kind}", 6)
    folder = write_images("set/left", 6).parent
    (folder / "metadata.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    images = load(folder)
    assert images.label_names == ("left", "right")
    assert note_of(images, said)


def test_the_range_of_16_bits_is_said(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (12, 6, 6)).astype(np.uint16)
    values[3, 2, 2], values[4, 0, 0] = 4095, 0
    for i, pixels in enumerate(values):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    note = note_of(load(tmp_path), "16 bits")
    assert note.startswith("12 of 12 images have 16 bits: their values, 0 to 4,095 of 0 to 65,535, became 0 to 16 of")
    assert "too dark" in note


def test_animations_and_photos_of_phones_are_said(write_images, tmp_path):
    folder = write_images(n=9)
    frames = [Image.new("L", (8, 6), tone) for tone in (10, 200)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "photo.HEIC").write_bytes(b"x")
    images = load(folder)
    assert note_of(images, "several") == "1 of 10 files holds several images: the first of each is read"
    assert "1 heic file cannot be read" in note_of(images, "heic file")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(b"x")
    with pytest.raises(LimnerError, match=r"holds no images.*1 heic file cannot be read"):
        load(tmp_path / "phone")
