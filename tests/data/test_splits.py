import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data import load
from limner.data.splitting import HELD_OUT, content_hash, divide
from limner.errors import LimnerError


@given(st.lists(st.integers(0, 30), max_size=80))
def test_every_image_once_and_equal_ones_together(contents):
    hashes = [content_hash(np.array([c])) for c in contents]
    splits = divide(hashes, HELD_OUT)
    assert sorted(i for part in splits.values() for i in part) == list(range(len(contents)))
    seen = {name: {contents[i] for i in part} for name, part in splits.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
    if len(set(contents)) >= 3:
        assert all(seen.values())
    else:
        assert not seen["validation"]
        assert not seen["test"]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=60), st.randoms())
def test_splits_do_not_depend_on_the_order(contents, chance: random.Random):
    def of(order):
        splits = divide([content_hash(np.array([c])) for c in order], HELD_OUT)
        return {name: [order[i] for i in part] for name, part in splits.items()}

    assert of(contents) == of(chance.sample(contents, len(contents)))


def test_a_tenth_each():
    splits = divide([content_hash(np.array([i])) for i in range(1000)], HELD_OUT)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 800,
        "validation": 100,
        "test": 100,
    }


def test_a_image_that_makes_up_most_of_the_set_is_for_training():
    splits = divide([b"same"] * 90 + [bytes([i]) for i in range(10)], HELD_OUT)
    assert {name: len(part) for name, part in splits.items()} == {"train": 90, "validation": 5, "test": 5}


def test_names_and_packing_do_not_move_images(write_images):
    folder = write_images(n=20)
    before = load(folder)
    for i, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{(i * 7) % 20:02}-renamed.png")
    after = load(folder)
    for name in before.splits:
        assert (before.splits[name].first(20) == after.splits[name].first(20)).all()


def test_size_does_not_move_images(write_images):
    folder = write_images(n=20)
    native, small = load(folder), load(folder, size=(3, 3))
    assert all(native.splits[name].names == small.splits[name].names for name in native.splits)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_images_for_splits(write_images, n):
    images = load(write_images(n=n))
    assert [len(split) for split in images.splits.values()] == [n, 0, 0]
    assert any("too few" in note for note in images.notes)
    with pytest.raises(LimnerError, match=r"'test' of .* is empty"):
        images.split("test")
    with pytest.raises(LimnerError, match="no split 'tset'"):
        images.split("tset")
