"""Damaged inputs: a few seconds of the fuzzer, and one of each kind that ever escaped."""

import gzip
import io
import json
import re
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.fuzz import fuzz, kinds
from limner.data import load
from limner.errors import LimnerError
from limner.evaluation import FeatureNetwork
from limner.reports.html import Section, Table, render
from limner.runs import read_evaluations
from limner.training.checkpoints import read_tensors, write_tensors
from limner.training.journal import read_metrics

SECONDS = 4


def png(seed=0):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)  # of any name
            info.compress_type = method
            archive.writestr(info, data)
    return path


def test_nothing_but_a_limner_error_comes_of_damaged_inputs(trained):
    written = kinds(trained)
    end = time.perf_counter() + SECONDS
    tally, tries = fuzz(written, 0, 0, lambda tally: time.perf_counter() > end)
    assert not tally.escapes
    assert tries > 20
    assert tally.outcomes["refused"] and tally.outcomes["read"]  # noqa: PT018


def test_the_fuzzer_sees_what_escapes(tmp_path, trained):
    def fails(folder, chance):
        (folder / "input").write_bytes(b"x")
        return 1, lambda: {}["missing"]

    tally, _ = fuzz({"png": fails}, 0, 0, lambda tally: tally.inputs.total() > 4, out=tmp_path)
    (found,) = tally.escapes.values()
    assert found["count"] == 5
    assert len(found["inputs"]) == 3
    assert (tmp_path / found["inputs"][0] / "input").read_bytes() == b"x"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", ["bytes", "size", "cut"])
def test_one_bad_member_of_a_zip_is_one_broken_file(tmp_path, method, damage):
    path = zipped(tmp_path / "a.zip", {f"{i}.png": png(i) for i in range(6)} | {"": b"x"}, method)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[2]
    directory = [match.start() for match in re.finditer(b"PK\x01\x02", content)][2]
    start = info.header_offset + 30 + len(info.filename)
    if damage == "bytes":
        content[start + 4 : start + 30] = b"\xa5" * 26
    elif damage == "size":  # of what it unpacks to
        struct.pack_into("<I", content, directory + 24, info.file_size // 2)
    else:  # packed bytes that are not there
        struct.pack_into("<I", content, directory + 20, 20)
    path.write_bytes(content)
    images = load(path)
    assert [broken.path for broken in images.broken] == ["2.png"]
    assert sum(map(len, images.splits.values())) == 5


HEADER = b"\x93NUMPY\x01\x00"
HEADERS = {
    "token error": b"{'descr': '|u1', 'fortran_order': False, 'shape': (3L, 4, 4), (",
    "syntax": b"{'descr': '|u1', 'fortran_order': False, 'shape': (1",
    "nested": b"(" * 300,
    "negative": b"{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 4, 4), }",
    "huge": b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 4, 4), }",
    "a zip": None,
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_headers_of_arrays(tmp_path, recwarn, name, kind):
    text = HEADERS[name]
    data = HEADER + struct.pack("<H", len(text) + 1) + text + b"\n" + bytes(48) if text else b"PK\x05\x06" + bytes(18)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data) if kind == "npy" else zipped(path, {"images.npy": data})
    with pytest.raises(LimnerError, match=rf"a\.{kind}: cannot read this"):
        load(path)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({"images.npy": b"no array"}, "array 'images': the magic string is not correct"),
        ({"images": b"no array"}, "array 'images': the magic string is not correct"),
        (
            {"x.npy": npy(np.zeros((2, 3, 3), np.uint8)), "y.npy": npy(np.array(["a", "b"]))[:-3] + b"\xff\xff\xff"},
            "labels",
        ),
    ],
)
def test_members_of_an_npz(tmp_path, members, line):
    with pytest.raises(LimnerError, match=rf"a\.npz: cannot read .*{line}"):
        load(zipped(tmp_path / "a.npz", members))


def test_an_image_whose_header_says_nan_pixels(tmp_path):
    for i in range(5):  # one of them once kept the others waiting for ever
        (tmp_path / f"{i}.png").write_bytes(png(i))
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(tmp_path / "a.im")
    content = (tmp_path / "a.im").read_bytes()
    (tmp_path / "a.im").write_bytes(content.replace(b"9*7", b"nan*7"))
    assert [broken.path for broken in load(tmp_path).broken] == ["a.im"]


LIMIT = 2_000_000
ZEROS = bytes(4 * LIMIT)


def bombs():
    """Files that unpack to four times what they may take."""
    lying = struct.pack(">IIII", 0x803, 1, 28, 28) + ZEROS
    return {
        "a.npz": zipfile_of("images.npy", npy(np.frombuffer(ZEROS, np.uint8).reshape(-1, 100, 100))),
        "labels.npz": zipfile_of(
            "labels.npy", npy(np.frombuffer(ZEROS, np.uint8)), **{"images.npy": npy(np.ones((1, 2, 2)))}
        ),
        "a.idx.gz": gzip.compress(struct.pack(">IIII", 0x803, 4 * LIMIT // 784, 28, 28) + ZEROS),
        "lie.idx.gz": gzip.compress(lying),
        "a.amat.gz": gzip.compress((b"0 " * 783 + b"0\n") * (LIMIT // 700)),
    }


def zipfile_of(name, data, **more):
    buffer = io.BytesIO()
    zipped(buffer, more | {name: data})
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.npz", "labels.npz", "a.idx.gz", "lie.idx.gz", "a.amat.gz"])
def test_what_unpacks_to_more_than_it_may_is_refused(tmp_path, monkeypatch, refused, name):
    monkeypatch.setenv("LIMNER_MEMORY", str(LIMIT))
    (tmp_path / name).write_bytes(bombs()[name])
    line = refused("data", tmp_path / name)
    assert name in line
    if name != "lie.idx.gz":
        assert f"may take {LIMIT:,} bytes of memory: set LIMNER_MEMORY to more bytes, or save the images as" in line


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path):
    # Zeros of bzip2 unpack to a million times their size: a single read of zipfile's would unpack all of it.
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(60 << 20), "b.png": png()}, zipfile.ZIP_BZIP2)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 1000)
    path.write_bytes(content)
    tracemalloc.start()
    images = load(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert [broken.path for broken in images.broken] == ["a.png"]


@pytest.mark.parametrize("kind", ["folder", "npz", "idx"])
def test_doubles_between_given_splits_are_noted(tmp_path, rng_images, kind):
    train, validation, test = rng_images(12), rng_images(4), rng_images(5)
    validation[:2], test[:3], test[3] = train[:2], train[:3], validation[3]
    between = ["3 images of test are also in train, pixel for pixel"]
    if kind != "idx":
        between = ["2 images of validation are also in train, pixel for pixel", *between]
        between.append("3 images of test are also in validation, pixel for pixel")
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x_train=train, x_val=validation, x_test=test)
        source = tmp_path / "a.npz"
    elif kind == "idx":
        for name, images in (("train", train), ("t10k", test)):
            data = struct.pack(">IIII", 0x803, *images.shape) + images.tobytes()
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(data)
        source = tmp_path / "train-images-idx3-ubyte"
    else:
        source = tmp_path
        for name, images in (("train", train), ("validation", validation), ("test", test)):
            (tmp_path / name).mkdir()
            for i, image in enumerate(images):
                Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    assert [note for note in load(source).notes if "pixel for pixel" in note] == between


@pytest.fixture
def rng_images():
    rng = np.random.default_rng(3)
    return lambda n: rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(home, refused, value):
    path = home / "runs" / "pixelcnn" / "model.safetensors"
    tensors, header = read_tensors(path)
    name = next(name for name in tensors if name.startswith("ema."))
    tensors[name].view(-1)[0] = value
    write_tensors(path, tensors, header)
    for words in (["sample", "pixelcnn"], ["evaluate", "pixelcnn"]):
        assert f"model.safetensors: {name} is NaN or infinite" in refused(*words)


STATES = {
    "step": "x",
    "seconds": float("nan"),
    "threads": 10**6,
    "log": {"nats": 3},
    "evaluations": 10**30,
    "schedule": [],
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_with_another_number(home, refused, name):
    path = home / "runs" / "vae" / "state.safetensors"
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, header | {name: STATES[name]})
    assert "state.safetensors lacks a piece of the training state" in refused("resume", "vae", "--epochs", "2")


def test_moments_of_another_type_or_shape(home, refused):
    path = home / "runs" / "vae" / "state.safetensors"
    tensors, header = read_tensors(path)
    for part, tensor in (("step", torch.zeros((), dtype=torch.int64)), ("exp_avg", torch.zeros(()))):
        name = next(name for name in tensors if name.endswith(f".{part}"))
        write_tensors(path, tensors | {name: tensor}, header)
        if part == "exp_avg":
            assert f"{name} has another shape" in refused("resume", "vae", "--epochs", "2")


LINES = [
    b"[]", b"3", b'{"step": "x"}', b'{"step": 3, "train": 5}', b'{"step": 3, "seconds": 1, "train": {"nats": "x"}}',
    b'{"seconds": 1}', b"[" * 5000, b"1" * 5000, b'{"step": 1, "seconds": 1e999}', b'{"step": 1, "x": "\\ud800"}',
]  # fmt: skip


def test_journal_lines_that_are_none_of_ours_are_left_out(home, limner):
    folder = home / "runs" / "vae"
    whole = read_metrics(folder)
    path = folder / "metrics.jsonl"
    path.write_bytes(b"\n".join([*LINES, path.read_bytes()]))
    assert read_metrics(folder) == whole
    evaluation = json.dumps({"data": "digits", "split": "test", "mse": 0.1, "n": 3}).encode()
    bad = [
        b'{"bound": "exact"}',
        b'{"data": "digits", "split": 3}',
        b'{"data": "x", "split": "x", "mse": "0.1", "n": 3}',
    ]
    (folder / "evaluations.jsonl").write_bytes(b"\n".join([*LINES[:2], *bad, evaluation]))
    assert [e["mse"] for e in read_evaluations(folder)] == [0.1]
    (folder / "state.json").write_text('{"step": 1e999}')
    assert limner("runs").code == 0


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1, 10**6, 10**6]},
        {"classes": "x"},
        {"classes": 10**30},
        {"figures": []},
        {"figures": {"version": 1, "accuracy": 0.5}},
    ],
)
def test_a_feature_network_of_another_shape(tmp_path, change):
    network = FeatureNetwork((1, 8, 8), 10)
    network.figures = {"version": 2, "accuracy": 0.5}
    network.save(tmp_path / "a.safetensors")
    tensors, header = read_tensors(tmp_path / "a.safetensors")
    write_tensors(tmp_path / "a.safetensors", tensors, header | change)
    with pytest.raises(LimnerError, match=r"a\.safetensors holds no feature network"):
        FeatureNetwork.load(tmp_path / "a.safetensors")


def test_a_number_of_thousands_of_digits(home, refused):
    assert "features=999" in refused("train", "pixelcnn", "--data", "digits", "--set", "features=" + "9" * 5000)
    path = home / "runs" / "vae" / "config.toml"
    path.write_text(path.read_text().replace("latent = 2", "latent = " + "9" * 5000))
    assert "vae/config.toml cannot be read" in refused("sample", "vae")


def test_a_count_that_is_a_fraction():
    assert ">0.5</td>" in render("x", [Section("x", [Table(["a", "b"], [["a", 0.5]])])])
