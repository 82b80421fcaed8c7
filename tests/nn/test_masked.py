"""Masked convolutions see what the masks say and nothing else."""

import pytest
import torch
import torch.nn.functional as F

from limner.nn import MaskedConv2d, channel_groups, raster_mask


def test_channel_groups_are_runs_of_equal_length():
    assert channel_groups(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert channel_groups(3, 3).tolist() == [0, 1, 2]
    assert channel_groups(4, 1).tolist() == [0, 0, 0, 0]


def test_masks_of_the_paper():
    grey = torch.zeros(1, dtype=torch.int64)
    assert raster_mask((3, 3), "A", grey, grey)[0, 0].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert raster_mask((3, 3), "B", grey, grey)[0, 0].tolist() == [[1, 1, 1], [1, 1, 0]]
    rgb = torch.arange(3)
    centre = raster_mask((1, 1), "A", rgb, rgb)[:, :, 0, 0]
    assert centre.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]  # G sees R; B sees R and G
    centre = raster_mask((1, 1), "B", rgb, rgb)[:, :, 0, 0]
    assert centre.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("kernel", [1, 3, 7, (3, 5)])
def test_equals_a_full_convolution_with_zeros(kernel, kind):
    layer = MaskedConv2d(6, 9, kernel, kind, channels=3).double()
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    full = torch.zeros(9, 6, height, width, dtype=torch.float64)
    full[:, :, : height // 2 + 1] = layer.weight * layer.mask
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = F.conv2d(x, full, layer.bias, padding=(height // 2, width // 2))
    assert layer(x).shape == expected.shape
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_masked_weights_get_no_gradient_and_are_never_overwritten():
    layer = MaskedConv2d(1, 1, 3, "A")
    before = layer.weight.detach().clone()
    layer(torch.randn(1, 1, 4, 4)).sum().backward()
    assert torch.equal(layer.weight.detach(), before)
    assert (layer.weight.grad[layer.mask == 0] == 0).all()
    assert "mask" not in layer.state_dict()
