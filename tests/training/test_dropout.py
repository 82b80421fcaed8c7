"""Dropout with a generator of the run's own: torch's numbers, none of torch's global state."""

import pytest
import torch
from torch import nn

from limner.training.dropout import draw_dropout_from


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_it_is_torchs_dropout_from_another_generator(kind, p):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(kind(p)))
    x = torch.randn(5, 1, 6, 7).to(memory_format=torch.channels_last)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        expected = [model(x), model(x)]
    names = list(model.state_dict())
    draw_dropout_from(torch.Generator().manual_seed(9), model)
    before = torch.get_rng_state()
    for image in expected:
        torch.testing.assert_close(model(x), image, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(model.state_dict()) == names
    assert torch.equal(model.eval()(x), model[0](x))


def test_a_second_generator_takes_over():
    model, x = nn.Sequential(nn.Dropout(0.5)), torch.ones(1000)
    draw_dropout_from(torch.Generator().manual_seed(0), model)
    first = model(x)
    draw_dropout_from(torch.Generator().manual_seed(0), model)
    assert torch.equal(model(x), first)
    assert 0.4 < (first == 0).double().mean() < 0.6
