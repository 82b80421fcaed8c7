"""Images that a program hands over are the same set in whatever form they come; what has two readings is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data import from_arrays, load
from limner.errors import LimnerError

N, H, W = 40, 6, 9
COLOUR = np.random.default_rng(0).integers(0, 256, (N, H, W, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
LABELS = np.arange(N) % 3


class Pairs(torch.utils.data.Dataset):
    """A data set of torch: floats in 0..1, channels first, and a label each."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return torch.from_numpy(COLOUR[i]).permute(2, 0, 1) / 255, int(LABELS[i])


def same(a, b):
    labels = [(s.labels is None) or torch.equal(s.labels, b.splits[name].labels) for name, s in a.splits.items()]
    return a.shape == b.shape and a.content == b.content and all(labels)


@pytest.mark.parametrize(
    "given",
    [
        COLOUR.transpose(0, 3, 1, 2),
        COLOUR / 255,
        (COLOUR / 255).astype(np.float32),
        COLOUR.astype(np.int64),
        np.asfortranarray(COLOUR),
        torch.from_numpy(COLOUR),
        torch.from_numpy(COLOUR).permute(0, 3, 1, 2) / 255,
        list(COLOUR),
        [torch.from_numpy(image) for image in COLOUR],
        COLOUR[::-1],  # the order does not matter: splits are made by content
    ],
    ids=lambda given: f"{type(given).__name__} {getattr(given, 'dtype', '')} {getattr(given, 'shape', '')}",
)
def test_one_set_in_many_forms(given):
    assert same(from_arrays(given), from_arrays(COLOUR))


def test_every_image_is_there_once_as_it_was():
    images = from_arrays(COLOUR, LABELS)
    assert {name: len(s) for name, s in images.splits.items()} == {"train": 32, "validation": 4, "test": 4}
    found = {}
    for split in images.splits.values():
        for image, label in zip(split.first(N), split.labels.tolist(), strict=True):
            found[image.permute(1, 2, 0).numpy().tobytes()] = images.label_names[label]
    assert found == {image.tobytes(): str(label) for image, label in zip(COLOUR, LABELS, strict=True)}


def test_pairs_of_an_image_and_a_label():
    wanted = from_arrays(COLOUR, LABELS)
    assert same(wanted, from_arrays(Pairs()))
    assert same(wanted, from_arrays((COLOUR, LABELS)))
    assert same(wanted, from_arrays(list(zip(COLOUR, LABELS, strict=True))))


def test_images_of_pillow_and_their_files_are_one_set(tmp_path):
    pillow = [Image.fromarray(image) for image in COLOUR]
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for image, path in zip(pillow, paths, strict=True):
        image.save(path)
    listed = from_arrays(pillow, LABELS)
    assert same(listed, from_arrays(paths, LABELS))
    assert same(listed, from_arrays([str(path) for path in paths], LABELS))
    folder = load(tmp_path)
    assert all(torch.equal(listed.splits[name].first(N), folder.splits[name].first(N)) for name in folder.splits)
    assert not folder.content
    assert from_arrays(pillow, size=(3, 4)).shape == (3, 3, 4)


def test_images_of_pillow_are_read_as_files_are():
    clear = Image.new("RGBA", (9, 6), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((6, 9), 65535, np.uint16))
    turned = Image.new("L", (6, 9), 255)
    turned.getexif()[0x0112] = 6
    images = from_arrays([clear, deep, turned])
    assert images.shape == (1, 6, 9)
    assert images.split("train").first(1).min() == 255
    assert any("transparent" in note for note in images.notes)


def test_arrays_of_several_sizes_are_fitted():
    images = from_arrays([GREY[0] / 255, GREY[1, :4] / 255, GREY[2] / 255, np.zeros((6, 9, 1))])
    assert images.shape == (1, 6, 9)
    assert sum(len(split) for split in images.splits.values()) == 4
    assert any("sizes differ (2 sizes" in note for note in images.notes)


def test_zeros_and_ones_are_black_and_white():
    images = from_arrays((GREY > 99).astype(int))
    assert images.levels == 2
    assert images.split("train").first(N).unique().tolist() == [0, 255]
    assert same(images, from_arrays(GREY > 99))


def test_given_splits_are_kept():
    images = from_arrays(COLOUR[:20], LABELS[:20], validation=(COLOUR[20:30], LABELS[20:30]), test=Pairs())
    assert [len(images.splits[name]) for name in ("train", "validation", "test")] == [20, 10, N]
    assert torch.equal(images.split("validation").first(10).permute(0, 2, 3, 1), torch.from_numpy(COLOUR[20:30]))
    assert images.split("test").labels.tolist() == LABELS.tolist()
    assert any("20 images of test are also in train" in note for note in images.notes)


def test_the_callers_array_stays_the_callers():
    mine = COLOUR.copy()
    images = from_arrays(mine[:20], validation=mine[20:30], test=mine[30:])
    mine[:] = 0
    assert torch.equal(images.split("test").first(10).permute(0, 2, 3, 1), torch.from_numpy(COLOUR[30:]))


def test_what_does_not_fit_the_memory_is_read_when_it_is_used(tmp_path):
    np.save(tmp_path / "x.npy", COLOUR)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    images = from_arrays(mapped, memory_limit=100)
    assert not images.split("train").store.in_memory
    assert same(images, from_arrays(COLOUR))


def test_names_of_classes():
    assert from_arrays(COLOUR, LABELS, label_names="abc").label_names == ("a", "b", "c")
    named = from_arrays(COLOUR, ["dog" if y else "cat" for y in LABELS], label_names=["dog", "cat", "cow"])
    whole = torch.cat([split.labels for split in named.splits.values()])
    assert whole.bincount(minlength=3).tolist() == [int((LABELS > 0).sum()), int((LABELS == 0).sum()), 0]
    assert from_arrays(COLOUR, np.array(["a", "b"] * 20, object)).label_names == ("a", "b")
    assert from_arrays(COLOUR, torch.from_numpy(LABELS)).label_names == ("0", "1", "2")


SQUARE = np.zeros((5, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (SQUARE, r"images of shape \(5, 3, 3\) may be one image or 5 grey ones: give images\[None\] for the one"),
        (COLOUR[0], r"\(6, 9, 3\) may be one image or 6 grey ones"),
        (COLOUR[0].transpose(2, 0, 1), r"\(3, 6, 9\) may be one image or 3 grey ones"),
        (np.zeros((5, 3, 3, 3)), r"\(5, 3, 3, 3\): say where the channels are, channels='first' or 'last'"),
        (np.zeros((5, 8, 8, 4)), r"\(5, 8, 8, 4\): leave the transparency out"),
        (np.zeros((5, 64)), r"\(5, 64\).* images.reshape\(-1, 8, 8\)"),
        (np.zeros((0, 8, 8)), "arrays holds no images"),
        (COLOUR * 2.0, r"fractions must lie in 0..1, not 0..510: scale them, or give uint8"),
        (COLOUR / 127.5 - 1, r"fractions must lie in 0..1, not -1..1"),
        (np.full((5, 8, 8), np.nan), "NaN or infinite"),
        (COLOUR.astype(object), "pixels must be numbers, not object"),
        (Image.new("L", (4, 4)), "one image, or its path, is no set: give a list"),
        ("photos", "one image, or its path, is no set: give a list"),
        (7, "images must be an array or a tensor, a list of images or paths, or a Dataset with a length, not int"),
        ({"a": GREY}, "not dict"),
        (iter(GREY), "not .*iterator"),
        ([], "images are none"),
        ([GREY[0], None], r"images\[1\] must be an array, a tensor, an image of Pillow's or a path, not NoneType"),
        ([(GREY[0], 1), GREY[1]], "1 of 2 images have a label"),
        ([np.zeros(4)], r"images\[0\] must be \(H, W\), \(H, W, C\) or \(C, H, W\), not \(4,\)"),
        (["/nowhere/a.png"], "none of the 1 images in arrays can be read; /nowhere/a.png: "),
        ((GREY, LABELS[:5]), "5 labels for 40 images: give one an image"),
        ((GREY, LABELS / 2), "arrays: labels must be a whole number or text an image, not float64"),
    ],
    ids=lambda x: x[:30] if isinstance(x, str) else type(x).__name__,
)
def test_what_is_no_set_is_refused_in_a_line(given, said):
    with pytest.raises(LimnerError, match=said) as caught:
        from_arrays(given)
    assert "\n" not in str(caught.value)


def test_the_axis_of_the_channels_can_be_told():
    cubes = np.random.default_rng(1).integers(0, 256, (20, 3, 3, 3), dtype=np.uint8)
    first, last = (from_arrays(cubes, channels=channels) for channels in ("first", "last"))
    assert same(first, from_arrays(cubes.transpose(0, 2, 3, 1), channels="last"))
    assert not same(first, last)
    assert from_arrays(SQUARE[:, None], channels="first").shape == (1, 3, 3)
    assert from_arrays(list(SQUARE)).shape == (1, 3, 3)  # a list of images has one reading


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"validation": GREY}, "validation have no labels where others have: give a pair"),
        ({"validation": (GREY[:, :5], LABELS)}, "images of different shapes"),
        ({"validation": ([Image.new("L", (9, 6))], [1])}, "one split is an array and another a list"),
        ({"label_names": ["a", "b"]}, "label 2: label_names has 2 names, so labels 0 to 1"),
        ({"size": (0, 3)}, "size must be"),
        ({"channels": "middle"}, "channels must be 'first' or 'last'"),
    ],
    ids=lambda x: str(list(x)) if isinstance(x, dict) else "",
)
def test_arguments_are_checked(arguments, said):
    with pytest.raises(LimnerError, match=said):
        from_arrays(GREY, LABELS, **arguments)
