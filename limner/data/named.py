"""The data sets that go by a name."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.data.amat import parse_amat
from limner.data.arrays import Rows, assemble
from limner.data.downloads import Remote, fetch
from limner.data.idx import parse_idx
from limner.data.imageset import ImageSet
from limner.data.levels import extremes
from limner.data.options import Options, too_large
from limner.data.packed import DAMAGE, read_bytes
from limner.data.splitting import content_hash
from limner.errors import LimnerError, reason_of

__all__ = ["SOURCES", "STACKED", "is_here", "read_named"]

STACKED = "stacked-mnist"
SOURCES = {
    "digits": "1,797 handwritten digits 8×8 with 17 grey levels, bundled with scikit-learn",
    "mnist": "70,000 handwritten digits 28×28, grey",
    "binarized-mnist": "70,000 handwritten digits 28×28, black and white (the static binarization)",
    "fashion-mnist": "70,000 pieces of clothing 28×28, grey",
    "cifar10": "60,000 photographs 32×32 of ten kinds of things, RGB",
    STACKED: "136,000 images 28×28 of three MNIST digits each, one a channel: 1,000 classes to count modes by",
}

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
AROUND = 1 << 20  # bytes of the archive besides the images, at most
CIFAR10_ROOT = "https://www.cs.toronto.edu/~kriz/"
BINARIZED_ROOT = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"

# How many images there are: (training file, validation, test). Validation is the end of the training file,
# except for binarized MNIST, which is published in three files.
COUNTS = {
    "mnist": (60_000, 10_000, 10_000),
    "fashion-mnist": (60_000, 10_000, 10_000),
    "binarized-mnist": (50_000, 10_000, 10_000),
    "cifar10": (50_000, 5_000, 10_000),
    STACKED: (100_000, 10_000, 26_000),  # made here; 26,000 samples is what the papers count modes with
}

Parts = dict[str, tuple[np.ndarray, np.ndarray]]  # uint8 (N, C, H, W) and labels int64 (N,), by split


@dataclass(frozen=True)
class _IdxFamily:
    """The four files of MNIST or Fashion-MNIST."""

    mirrors: tuple[str, ...]
    md5: dict[str, str]
    label_names: tuple[str, ...]


IDX_FAMILIES = {
    "mnist": _IdxFamily(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple("0123456789"),
    ),
    "fashion-mnist": _IdxFamily(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        FASHION,
    ),
}


def read_named(name: str, data_dir: Path, options: Options) -> ImageSet:
    """The set called ``name`` (one of ``SOURCES``), from ``data_dir`` or else downloaded into it.

    Raises:
        LimnerError: A file is damaged, or cannot be downloaded.
    """
    if name in IDX_FAMILIES:
        return _published(_idx_parts(name, data_dir, options), IDX_FAMILIES[name].label_names, options)
    if name == "digits":
        return _digits(options)
    return {"binarized-mnist": _binarized_mnist, "cifar10": _cifar10, STACKED: _stacked_mnist}[name](data_dir, options)


def is_here(name: str, data_dir: Path) -> bool:
    """Whether the set called ``name`` is read without a download."""
    if name == "digits":
        return True
    if name == "cifar10":
        return (_cifar10_folder(data_dir) or _kept(data_dir, name, CIFAR10_ARCHIVE)) is not None
    if name == "binarized-mnist":
        files = [_binarized_file(part) for part in ("train", "validation", "test")]
    else:
        name = "mnist" if name == STACKED else name
        files = list(IDX_FAMILIES[name].md5)
    return all(_kept(data_dir, name, file) is not None for file in files)


def _digits(options: Options) -> ImageSet:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images[:, None] * 255 / 16).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    order = sorted(range(len(images)), key=lambda i: content_hash(images[i]))  # no image occurs twice
    members = {"train": order[500:], "validation": order[250:500], "test": order[:250]}
    parts = {part: Rows(images[where], labels[where]) for part, where in members.items()}
    note = f"splits of {len(order) - 500:,}, 250 and 250 images, chosen by their content"
    return assemble(parts, options, levels=17, label_names=tuple("0123456789"), notes=[note])


def _find(data_dir: Path, name: str, remote: Remote, options: Options) -> Path:
    """A file of the set ``name``: as published, unpacked, or downloaded."""
    if (path := _kept(data_dir, name, remote.name)) is not None:
        return path
    return fetch(remote, data_dir / name.replace("-", "_"), options.on_progress)


def _kept(data_dir: Path, name: str, published: str) -> Path | None:
    """A file of the set ``name`` as published, or unpacked; None where it is to be downloaded."""
    bare = published.removesuffix(".gz")
    for folder in (name.replace("-", "_"), name):
        for file in (f"{bare}.gz", bare, bare.replace("-idx", ".idx")):
            if (path := data_dir / folder / file).is_file():
                return path
    return None


def _check_room(name: str, size: int, options: Options) -> None:
    if size > options.memory_limit:
        raise too_large(name, f"{size:,} bytes of images", options.memory_limit)


def _check_count(path: Path, count: int, expected: int) -> None:
    if count != expected:
        raise LimnerError(f"{path}: holds {count:,} images where {expected:,} were published: fetch it again")


def _idx_parts(name: str, data_dir: Path, options: Options) -> Parts:
    """The parts of MNIST or Fashion-MNIST."""
    family = IDX_FAMILIES[name]
    in_training, _, in_test = COUNTS[name]
    arrays: list[np.ndarray] = []
    for file, md5 in family.md5.items():
        remote = Remote(file, [mirror + file for mirror in family.mirrors], md5)
        path = _find(data_dir, name, remote, options)
        array = parse_idx(path, (3,) if "images" in file else (1,), options.memory_limit)
        _check_count(path, len(array), in_training if file.startswith("train") else in_test)
        if array.shape[1:] not in ((28, 28), ()) or (array.ndim == 1 and int(array.max()) > 9):
            raise LimnerError(f"{path}: not the {name} file that was published: fetch it again")
        arrays.append(array)
    images, labels = np.concatenate(arrays[0::2]), np.concatenate(arrays[1::2])
    return _parts(name, images[:, None], labels.astype(np.int64))


def _parts(name: str, images: np.ndarray, labels: np.ndarray) -> Parts:
    """Parts of the set ``name``, of which ``images`` are those for training and then those for tests."""
    in_training, in_validation, _ = COUNTS[name]
    cuts = [in_training - in_validation, in_training]
    pairs = zip(np.split(images, cuts), np.split(labels, cuts), strict=True)
    return dict(zip(("train", "validation", "test"), pairs, strict=True))


def _published(parts: Parts, label_names: tuple[str, ...], options: Options) -> ImageSet:
    """A set that was published in two parts."""
    note = f"validation is the last {len(parts['validation'][0]):,} images of the published training part"
    rows = {part: Rows(images, labels) for part, (images, labels) in parts.items()}
    return assemble(rows, options, levels=256, label_names=label_names, notes=[note])


def _stacked_mnist(data_dir: Path, options: Options) -> ImageSet:
    """Three digits drawn with replacement from the same split of MNIST as R, G and B (Metz et al. 2016, 1611.02163)."""
    random = np.random.Generator(np.random.PCG64(0))
    rows: dict[str, Rows] = {}
    _check_room(STACKED, sum(COUNTS[STACKED]) * 3 * 28 * 28, options)
    pools = _idx_parts("mnist", data_dir, options)
    for (part, (digits, labels)), n in zip(pools.items(), COUNTS[STACKED], strict=True):
        chosen = random.integers(0, len(digits), (n, 3))
        rows[part] = Rows(digits[chosen, 0], labels[chosen] @ np.array([100, 10, 1]))
    note = "three digits of the same split of MNIST an image, drawn once and for all; the label is their number"
    return assemble(rows, options, levels=256, label_names=tuple(f"{k:03d}" for k in range(1000)), notes=[note])


def _binarized_file(part: str) -> str:
    return f"binarized_mnist_{'valid' if part == 'validation' else part}.amat"


def _binarized_mnist(data_dir: Path, options: Options) -> ImageSet:
    parts: dict[str, Rows] = {}
    for part, expected in zip(("train", "validation", "test"), COUNTS["binarized-mnist"], strict=True):
        file = _binarized_file(part)
        path = _find(data_dir, "binarized-mnist", Remote(file, [BINARIZED_ROOT + file]), options)
        images, labels = parse_amat(path, options.memory_limit)
        _check_count(path, len(images), expected)
        if images.shape[1:] != (1, 28, 28) or labels is not None or extremes(images) is None:
            raise LimnerError(f"{path}: not the binarized MNIST that was published: fetch it again")
        parts[part] = Rows(images)
    note = "static binarization (Larochelle and Murray): not comparable with figures for a fresh binarization"
    return assemble(parts, options, levels=2, notes=[note])


def _cifar10(data_dir: Path, options: Options) -> ImageSet:
    size = COUNTS["cifar10"][2] * 3073  # a label and 3×32×32 pixels a record; all files have as many
    _check_room("cifar10", len(CIFAR10_BATCHES) * size, options)
    records = np.concatenate(_cifar10_batches(data_dir, size, options)).reshape(-1, 3073)
    labels = records[:, 0].astype(np.int64)
    if int(labels.max()) > 9:
        raise LimnerError(f"{data_dir}: a CIFAR-10 file has the label {labels.max()}: fetch it again")
    images = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
    return _published(_parts("cifar10", images, labels), CIFAR10, options)


def _cifar10_folder(data_dir: Path) -> Path | None:
    """Where the six files are unpacked; None where they are not."""
    for folder in (data_dir / "cifar10" / "cifar-10-batches-bin", data_dir / "cifar10"):
        if all((folder / name).is_file() for name in CIFAR10_BATCHES):
            return folder
    return None


def _cifar10_batches(data_dir: Path, size: int, options: Options) -> list[np.ndarray]:
    """The six files of the binary version (the "python version" is made of pickles), packed or not."""
    if (folder := _cifar10_folder(data_dir)) is not None:
        files = [folder / name for name in CIFAR10_BATCHES]
        for file in files:
            if file.stat().st_size != size:
                raise LimnerError(f"{file}: has {file.stat().st_size:,} bytes, not {size:,}: fetch it again")
        return [np.fromfile(file, np.uint8) for file in files]
    remote = Remote(CIFAR10_ARCHIVE, [CIFAR10_ROOT + CIFAR10_ARCHIVE], CIFAR10_MD5)
    path = _find(data_dir, "cifar10", remote, options)
    found: dict[str, np.ndarray] = {}
    content = read_bytes(path, len(CIFAR10_BATCHES) * size + AROUND)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:  # read where it lies: nothing is extracted
                base = member.name.rsplit("/", 1)[-1]
                if base in CIFAR10_BATCHES and member.isfile() and member.size == size:
                    found[base] = np.frombuffer(content, np.uint8)[member.offset_data : member.offset_data + size]
    except (tarfile.TarError, *DAMAGE) as error:
        raise LimnerError(f"{path}: this archive is damaged ({reason_of(error)}): fetch it again") from error
    for batch in CIFAR10_BATCHES:
        if batch not in found or len(found[batch]) != size:
            raise LimnerError(f"{path}: holds no whole {batch} of {size:,} bytes: fetch it again")
    return [found[batch] for batch in CIFAR10_BATCHES]
