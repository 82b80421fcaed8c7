import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data import dequantize, nearest_level, quantize
from limner.errors import LimnerError

LEVELS = st.integers(2, 256)
EVERY = torch.arange(256, dtype=torch.uint8)


@given(LEVELS)
def test_levels_come_back(levels):
    k = torch.arange(levels)
    values = dequantize(k, levels)
    assert values.dtype == torch.uint8
    assert (values[0], values[-1]) == (0, 255)
    assert torch.equal(quantize(values, levels), k)


@given(LEVELS)
def test_nearest_level_is_nearest_and_stays(levels):
    moved = nearest_level(EVERY, levels)
    values = dequantize(torch.arange(levels), levels).int()
    best = (EVERY.int()[:, None] - values).abs().min(dim=1).values
    assert torch.equal((moved.int() - EVERY.int()).abs(), best)
    assert torch.equal(nearest_level(moved, levels), moved)


def test_nearest_level_keeps_shape_whatever_the_strides():
    images = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(nearest_level(images.mT, 5), nearest_level(images, 5).mT)


def test_a_value_that_is_no_level():
    with pytest.raises(LimnerError, match="pixel value 7 is none of the 2 levels"):
        quantize(torch.tensor([0, 255, 7], dtype=torch.uint8), 2)


@pytest.mark.parametrize("levels", [0, 1, 257])
def test_impossible_numbers_of_levels(levels):
    with pytest.raises(LimnerError, match=f"between 2 and 256, not {levels}"):
        dequantize(torch.zeros(1, dtype=torch.int64), levels)
