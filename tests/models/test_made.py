"""MADE: its probabilities sum to one, its masks leave no way back, its orders are an exact mixture."""

import itertools
import math

import pytest
import torch

from limner import sampling
from limner.data.levels import dequantize
from limner.errors import LimnerError
from limner.models.made import MADE, MADEConfig


def tiny(shape=(1, 2, 3), levels=2, **config):
    torch.manual_seed(0)
    model = MADE(MADEConfig(**({"hidden": 12} | config)), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model.eval().requires_grad_(False)


def every_image(shape, levels):
    return torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("shape", "levels"), [((1, 2, 3), 2), ((3, 1, 2), 2), ((1, 2, 2), 4), ((1, 1, 1), 3)])
def test_probabilities_of_all_images_sum_to_one(shape, levels, layers, orders):
    model = tiny(shape, levels, layers=layers, orders=orders)
    log_p = model.log_prob(dequantize(every_image(shape, levels), levels))
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert float(log_p.std()) > 0.1


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_value_changes_no_parameters_at_or_before_its_place(order):
    shape = (3, 3, 4)
    model = tiny(shape, 2, hidden=90, orders=3)
    d = model.dimensions
    x = torch.randn(1, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    changed = x + 3 * torch.eye(d, dtype=torch.float64)  # a value each, in raster order, R G B within a pixel

    def of(values):  # (B, D) -> the parameter of each value, (B, D)
        images = values.view(-1, *shape[1:], shape[0]).permute(0, 3, 1, 2)
        return model._logits(images, order).permute(0, 2, 3, 1).flatten(1)

    moved = of(changed) != of(x.expand(d, d))  # of one batch size: the same sums; (changed value, parameter)
    before = model.places[order][None, :] <= model.places[order][:, None]  # the parameter's place is not after
    assert not (moved & before).any()
    assert moved.sum() > 0.5 * (~before).sum()


def test_orders_are_a_mixture():
    model = tiny(orders=4)
    k = every_image((1, 2, 3), 2)
    each = torch.stack([model._log_prob_of(k, m) for m in range(4)])
    assert (each[0] - each[1]).abs().max() > 0.1
    assert model.log_prob(dequantize(k, 2)) == pytest.approx(each.exp().mean(0).log())
    model.train()
    images, losses = dequantize(k, 2), set()
    for seed in range(20):
        (nll,) = model.loss_terms(images, torch.Generator().manual_seed(seed)).values()
        losses |= {m for m in range(4) if torch.equal(nll, -each[m])}
    assert losses == {0, 1, 2, 3}
    assert "each step trains one order" in model.loss_note


@pytest.mark.parametrize("orders", [1, 3])
def test_samples_come_as_often_as_their_probability(orders):
    model = tiny(orders=orders)
    k = every_image((1, 2, 3), 2)
    p = model.log_prob(dequantize(k, 2)).exp()
    n = 20_000
    drawn = sampling.sample(model, n, generator=torch.Generator().manual_seed(0), batch_size=n)
    index = ((drawn.flatten(1) > 0).long() * 2 ** torch.arange(5, -1, -1)).sum(1)
    counts = torch.bincount(index, minlength=64)
    assert ((counts - n * p).square() / (n * p)).sum() < 110  # chi-square, 63 degrees of freedom, p = 2e-4


def test_the_raster_order_draws_what_the_naive_sampler_draws():
    model = tiny((3, 3, 2), 4, hidden=40)
    draws = [
        sampling.sample(model, 5, generator=torch.Generator().manual_seed(0), method=method)
        for method in ("auto", "naive", "jacobi")
    ]
    own = model.sample(5, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(own, other) for other in draws)


def test_what_needs_the_raster_order_refuses_a_mixture():
    model, image = tiny(orders=2), torch.zeros(1, 2, 3, dtype=torch.uint8)
    missing = torch.tensor([[False, False, False], [True, True, True]])
    with pytest.raises(LimnerError, match="other orders than the raster order"):
        sampling.complete(model, image, missing)
    with pytest.raises(LimnerError, match="other orders than the raster order"):
        sampling.sample(model, 2, method="jacobi")
    assert sampling.complete(tiny(), image, missing, 3).exact


def test_a_last_layer_that_is_too_large_is_refused():
    with pytest.raises(LimnerError, match=r"393,216,000 weights in its last layer.*smaller size"):
        MADE(MADEConfig(), (3, 32, 32), 256)
    assert MADE(MADEConfig(), (1, 28, 28), 2).parameters_per_channel == 1
