"""Every bad input gets one line that names it, exit code 2, no traceback; nothing already saved is lost.

``refused`` (conftest.py) asserts the one line, the exit code and the empty stdout; here the line must name the culprit.
"""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from limner import workbench


def idx(images, magic=0x803):
    """An IDX file of uint8 images (N, H, W)."""
    return struct.pack(">IIII", magic, *images.shape) + images.tobytes()


def jpeg():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def png(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def folder_of(path, files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
NAN = np.full((4, 6, 5), np.nan, dtype=np.float32)

SOURCES = {
    "missing.npy": (None, "missing.npy"),
    "mnits": (None, "did you mean"),
    "text.txt": (b"hello", "text.txt"),
    "empty.zip": (zip_of({}), "empty.zip"),
    "noimages.zip": (zip_of({"a.txt": b"x"}), "noimages.zip"),
    "broken.zip": (b"PK\x03\x04 nothing", "broken.zip"),
    "nan.npy": (npy(NAN), "nan.npy"),
    "inf.npy": (npy(np.full((4, 6, 5), np.inf)), "inf.npy"),
    "object.npy": (npy(np.array([{}, {}], dtype=object)), "object.npy"),
    "flat.npy": (npy(np.zeros(7, dtype=np.uint8)), "flat.npy"),
    "zerosize.npy": (npy(np.zeros((4, 0, 5), dtype=np.uint8)), "zerosize.npy"),
    "cut-text.npz": (b"hello", "cut-text.npz"),
    "empty-images-idx3-ubyte": (idx(IMAGES[:0]), "empty-images-idx3-ubyte"),
    "thin-images-idx3-ubyte": (idx(IMAGES[:, :, :0]), "thin-images-idx3-ubyte"),
    "none.npy": (npy(np.zeros((0, 6, 5), dtype=np.uint8)), "none.npy"),
    "range.npy": (npy(np.full((4, 6, 5), 1000)), "range.npy"),
    "five.npy": (npy(np.zeros((4, 5, 6, 7), dtype=np.uint8)), "five.npy"),
    "broken.npy": (npy(IMAGES)[:50], "broken.npy"),
    "cut-images-idx3-ubyte": (idx(IMAGES)[:-7], "cut-images-idx3-ubyte"),
    "magic-images-idx3-ubyte": (idx(IMAGES, magic=0x1234), "magic-images-idx3-ubyte"),
    "huge-images-idx3-ubyte": (struct.pack(">IIII", 0x803, 2**31, 2**15, 2**15), "huge-images-idx3-ubyte"),
    "short-images-idx3-ubyte": (b"\0\0", "short-images-idx3-ubyte"),
    "cut-images-idx3-ubyte.gz": (gzip.compress(idx(IMAGES))[:-9], "cut-images-idx3-ubyte.gz"),
    "not.amat": (b"0 1 2\n0 1\n", "not.amat"),
    "empty.amat": (b"", "empty.amat"),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("command", ["data", "train"])
def test_a_bad_source_is_named(tmp_path, monkeypatch, refused, name, command):
    monkeypatch.chdir(tmp_path)
    content, culprit = SOURCES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    words = ["data", name] if command == "data" else ["train", "pixelcnn", "--data", name]
    assert culprit in refused(*words)
    assert not (tmp_path / "contact-sheet.png").exists()
    assert not (tmp_path / "runs").exists()


FOLDERS = {
    "empty": {},
    "text": {"fake.png": b"this is no image"},
    "truncated": {"cut.jpg": jpeg()[:400]},
    "hollow": {"hollow.png": b""},
    "notes": {"notes.txt": b"x"},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_without_a_whole_image_is_refused(tmp_path, refused, name):
    line = refused("data", folder_of(tmp_path / name, FOLDERS[name]))
    assert name in line
    for file in FOLDERS[name]:
        if not file.endswith(".txt"):
            assert file in line


def test_bad_files_among_good_ones_are_skipped_and_named(tmp_path, limner):
    files = {"fake.png": b"no image", "cut.jpg": jpeg()[:400], "empty.gif": b""}
    folder = folder_of(tmp_path / "mixed", files | {f"good{i}.jpg": jpeg() + bytes([i]) for i in range(3)})
    said = limner("data", folder, "--json", "--out", tmp_path / "sheet.png")
    assert said.code == 0
    assert said.record["images"] == 3
    assert sorted(entry["file"] for entry in said.record["broken"]) == sorted(files)
    assert all(entry["reason"] for entry in said.record["broken"])


def test_training_names_what_it_skips(home, limner, tiny):
    good = {f"good{i}.png": png(i) for i in range(20)}
    folder_of(home / "mixed", good | {f"fake{i:02}.png": b"no image" for i in range(13)})
    said = limner("train", "vae", "--data", "mixed", "--epochs", "1", "--name", "x", "--set", *tiny["vae"])
    assert said.code == 0
    assert [f"skipped fake{i:02}.png: " in said.err for i in range(13)] == [True] * 10 + [False] * 3
    assert "skipped 3 more files; `limner data` names them\n" in said.err


def test_mnist_without_a_network_says_where_the_files_belong(tmp_path, monkeypatch, refused):
    import pooch
    import requests

    def offline(*_, **__):
        def download(*_, **__):
            raise requests.ConnectionError

        return download

    monkeypatch.setattr(pooch, "HTTPDownloader", offline)
    monkeypatch.setenv("LIMNER_DATA", str(tmp_path / "nothing"))
    line = refused("data", "mnist")
    assert "cannot download train-images-idx3-ubyte.gz" in line
    assert "no connection" in line
    assert f"put the file into {tmp_path / 'nothing' / 'mnist'}" in line


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["trian"], "did you mean 'train'"),
        (["frobnicate"], "frobnicate"),
        (["--foo"], "unknown option --foo; see limner --help"),
        (["train"], "train needs MODEL; see limner train --help"),
        (["train", "vae", "--minutes"], "--minutes needs a value; see limner train --help"),
        (["train", "vae", "--minutes", "x"], "--minutes: must be a number above 0, not 'x'; see limner train --help"),
        (["train", "vae", "--minuts", "3"], "unknown option --minuts (did you mean --minutes?)"),
        (["train", "vae", "--size", "9" * 5000], "write one number (32) or WIDTHxHEIGHT (20x28)"),
        (["train", "vae", "--set"], "--set needs KEY=VALUE"),
        (["train", "vae", "--name", "x" * 300], "has 300 characters"),
        (["runs", "--set", "a=1"], "unknown option --set"),
        (["data"], "data needs SOURCE"),
        (["evaluate", "vae", "--data", "nowhere"], "there is no file or folder nowhere"),
        (["resume", "vae", "--epochs", "1", "--minutes", "1"], "not both"),
        (["sample", "vae", "--out", "runs/vae/config.toml/x.png"], "there is no folder"),
        (["demo", "--out", "runs/vae/config.toml"], "is a file; give demo --out the name of a folder"),
        (["demo", "--out", "runs/vae/config.toml/x"], "Not a directory"),
        (["train", "pixlcnn"], "did you mean 'pixelcnn'"),
        (["train", "pixelcnn", "--foo"], "--foo"),
        (["train", "pixelcnn", "--epoch", "3"], "--epochs"),
        (["train", "pixelcnn", "extra"], "extra"),
        (["train", "pixelcnn", "--fit", "squash"], "squash"),
        (["train", "pixelcnn", "--minutes", "soon"], "soon"),
        (["train", "pixelcnn", "--minutes", "0"], "--minutes"),
        (["train", "pixelcnn", "--minutes", "-1"], "--minutes"),
        (["train", "pixelcnn", "--minutes", "nan"], "nan"),
        (["train", "pixelcnn", "--epochs", "inf"], "inf"),
        (["train", "pixelcnn", "--minutes", "1", "--epochs", "1"], "not both"),
        (["train", "pixelcnn", "--levels", "1"], "--levels"),
        (["train", "pixelcnn", "--levels", "300"], "300"),
        (["train", "pixelcnn", "--size", "big"], "big"),
        (["train", "pixelcnn", "--size", "0"], "--size"),
        (["train", "pixelcnn", "--size", "1x2x3"], "1x2x3"),
        (["train", "pixelcnn", "--size", "1000000"], "size"),
        (["train", "pixelcnn", "--name", "a/b"], "a/b"),
        (["train", "pixelcnn", "--name", "pixelcnn"], "limner resume pixelcnn"),
        (["train", "pixelcnn", "--set", "fetures=3"], "did you mean 'features'"),
        (["train", "pixelcnn", "--set", "features"], "key=value"),
        (["train", "pixelcnn", "--set", "features=0"], "features"),
        (["train", "pixelcnn", "--set", "features=many"], "features"),
        (["train", "pixelcnn", "--set", "blocks=-1"], "blocks"),
        (["train", "pixelcnn", "--set", "kernel=4"], "kernel"),
        (["train", "pixelcnn", "--set", "learning_rate=-1"], "learning_rate"),
        (["train", "pixelcnn", "--set", "learning_rate=nan"], "learning_rate"),
        (["train", "pixelcnn", "--set", "cooldown=2"], "cooldown"),
        (["train", "pixelcnn", "--set", "ema_decay=1.5"], "ema_decay"),
        (["train", "pixelcnn", "--set", "batch_size=0"], "batch_size"),
        (["train", "pixelcnn", "--set", "precision=fp8"], "fp8"),
        (["train", "pixelcnn", "--set", "head=foo"], "foo"),
        (["train", "pixelcnn", "--set", "head=sigmoid"], "17 levels"),
        (["train", "vae", "--set", "latent=0"], "latent"),
        (["train", "vae", "--set", "network=foo"], "foo"),
        (["train", "vae", "--set", "blocks=2"], "blocks"),
        (["sample"], "RUN"),
        (["sample", "nobody"], "nobody"),
        (["sample", "pixelcnn", "-n", "0"], "0"),
        (["sample", "pixelcnn", "-n", "x"], "x"),
        (["sample", "pixelcnn", "--seed", "-1"], "-1"),
        (["sample", "pixelcnn", "--out", "nowhere/x.png"], "nowhere"),
        (["sample", "pixelcnn", "--out", "runs"], "runs"),
        (["evaluate", "pixelcnn", "--split", "all"], "all"),
        (["evaluate", "pixelcnn", "--limit", "0"], "--limit"),
        (["evaluate", "pixelcnn", "--importance-samples", "10"], "exact already"),
        (["evaluate", "vae", "--importance-samples", "0"], "--importance-samples"),
        (["evaluate", "nobody"], "nobody"),
        (["resume", "nobody"], "nobody"),
        (["resume", "pixelcnn"], "--epochs"),
        (["resume", "pixelcnn", "--set", "features=16"], "network"),
        (["compare"], "at least one run"),
        (["compare", "pixelcnn", "nobody"], "nobody"),
        (["compare", "pixelcnn", "--out", "nowhere/page.html"], "nowhere"),
        (["data", "digits", "--out", "nowhere/sheet.png"], "nowhere"),
        (["demo", "--out", "runs"], "runs"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_words_are_named_and_nothing_is_lost(home, refused, snapshot, words, culprit):
    before = snapshot(home / "runs")
    line = refused(*words)
    assert culprit in line
    assert len(line) < 700
    assert snapshot(home / "runs") == before


@pytest.mark.parametrize("parent", ["file", "file/runs"])
def test_runs_in_a_place_that_cannot_be(tmp_path, monkeypatch, refused, parent, tiny):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIMNER_RUNS", str(tmp_path / parent))
    line = refused("train", "vae", "--quiet", "--set", *tiny["vae"])
    assert f"cannot make a run folder in {tmp_path / parent}/" in line


def test_a_full_disk(home, monkeypatch, refused, snapshot):
    from limner import files

    def full(*_):
        raise OSError(28, "No space left on device")

    before = snapshot(home / "runs")
    monkeypatch.setattr(files.os, "fsync", full)
    line = refused("resume", "vae", "--epochs", "2", "--quiet")
    assert line == "limner: cannot write runs/vae/config.toml: No space left on device\n"
    assert snapshot(home / "runs") == before


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)
def test_running_out_of_memory_is_one_line(home, monkeypatch, refused, error):
    def out(*_, **__):
        raise error

    monkeypatch.setattr(workbench.Run, "sample", out)
    assert "not enough memory for this: try a smaller batch_size" in refused("sample", "vae")


def test_other_faults_are_not_hidden(home, monkeypatch, limner):
    def fault(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(workbench.Run, "sample", fault)
    with pytest.raises(RuntimeError, match="a bug"):
        limner("sample", "vae")


def test_a_message_of_several_lines_becomes_one(home, refused):
    assert "no run" in refused("resume", "a\nb")
    assert "unknown key" in refused("train", "vae", "--set", "a\nb=3")


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros((9, 6, 5), dtype=np.uint8), "5×6 (width × height), grey"),
        (np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8), "256"),
        (np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), "8×8 (width × height), RGB"),
    ],
)
def test_a_run_trained_on_another_shape_or_other_levels(home, refused, array, named):
    np.save("other.npy", array)
    line = refused("evaluate", "pixelcnn", "--data", "other.npy")
    assert named in line
    assert "trained on images of 8×8 (width × height), grey, 17 levels; " in line


def test_data_that_changed_since(home, limner, refused, tiny):
    rng = np.random.default_rng(0)
    np.save("set.npy", rng.integers(0, 256, (30, 6, 5), dtype=np.uint8))
    assert (
        limner(
            "train", "vae", "--data", "set.npy", "--name", "own", "--epochs", "1", "--quiet", "--set", *tiny["vae"]
        ).code
        == 0
    )
    np.save("set.npy", rng.integers(0, 256, (40, 6, 5), dtype=np.uint8))
    assert "changed" in refused("resume", "own", "--epochs", "2")
    (home / "set.npy").unlink()
    assert "set.npy" in refused("evaluate", "own")


def test_the_error_names_one_image_of_many_runs_json(home, refused):
    """--json changes nothing about errors: stdout stays empty."""
    assert "exact already" in refused("evaluate", "pixelcnn", "--importance-samples", "10", "--json")


def test_a_foreign_folder_is_no_demo(home, refused):
    (home / "precious").mkdir()
    (home / "precious" / "file").write_text("keep")
    assert "precious" in refused("demo", "--out", "precious")
    assert (home / "precious" / "file").read_text() == "keep"


def test_evaluations_are_whole_lines(home, limner):
    limner("evaluate", "pixelcnn", "--limit", "5")
    for line in (home / "runs" / "pixelcnn" / "evaluations.jsonl").read_text().splitlines():
        assert json.loads(line)["n"] == 5
