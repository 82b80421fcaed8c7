"""Networks of convolutions: what is computed in another order is the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.nn import coders
from limner.nn.coders import ConvDecoder, convolution_of_doubled


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (4, 7), (5, 2)])
def test_a_convolution_of_doubled_pixels(size, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 3, 3, padding=1, bias=bias).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    given = torch.randn(2, 3, 2 * size[0], 2 * size[1], dtype=torch.float64)
    ends = (x, *layer.parameters())
    found, wanted = convolution_of_doubled(x, layer), layer(F.interpolate(x, scale_factor=2))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    pairs = zip(torch.autograd.grad(found, ends, given), torch.autograd.grad(wanted, ends, given), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("maps", [1, coders.FEW_MAPS + 1])
@pytest.mark.parametrize("size", [(3, 5), (8, 8), (15, 16), (16, 28), (28, 28)], ids=str)
def test_a_decoder_is_what_it_was(size, maps, monkeypatch):
    """Each doubling, then GELU, then the convolution."""
    torch.manual_seed(0)
    decoder = ConvDecoder(3, 4, (maps, *size)).double()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    z = torch.randn(2, 3, dtype=torch.float64)
    x = decoder.start(z).unflatten(1, (-1, *decoder.sizes[0]))
    for unit, up, bigger in zip(decoder.units, decoder.ups, decoder.sizes[1:], strict=True):
        x = F.interpolate(up(unit(x)), size=bigger)
    wanted = decoder.out(F.gelu(x))
    called = []
    monkeypatch.setattr(coders, "convolution_of_doubled", lambda *a: called.append(1) or convolution_of_doubled(*a))
    found = decoder(z)
    assert found.shape == (2, maps, *size)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)
    halved = min(size) >= 8 and size[0] % 2 == size[1] % 2 == 0
    assert bool(called) == (halved and maps <= coders.FEW_MAPS)


def test_the_weights_keep_their_names():
    """Those of saved runs."""
    encoder, decoder = coders.ConvEncoder((1, 28, 28), 4, 6), ConvDecoder(3, 4, (1, 28, 28))
    both = ("first", "second")
    layers = ["layers.0", "layers.2", "layers.4", *(f"layers.{i}.{part}" for i in (3, 5) for part in both), "out"]
    parts = ["start", "ups.0", "ups.1", *(f"units.{i}.{part}" for i in (0, 1) for part in both), "out"]
    for network, names in ((encoder, layers), (decoder, parts)):
        assert network.state_dict().keys() == {f"{name}.{end}" for name in names for end in ("weight", "bias")}
