"""Multi-scale PixelRNN: normalised, causal in its own order, biased by all of the small image."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.multiscale import MultiScalePixelRNN, MultiScalePixelRNNConfig
from limner.sampling import sample

SIZES = {"hidden": 9, "small_hidden": 6, "context": 24, "head_features": 36, "first_kernel": 3}


@pytest.fixture(params=["diagonal", "row"])
def network(request):
    return request.param


def tiny(network, shape, levels=2, *, std=0.3, **sizes):
    """Small networks in float64 whose every weight matters."""
    torch.manual_seed(0)
    model = MultiScalePixelRNN(MultiScalePixelRNNConfig(network=network, **(SIZES | sizes)), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


def seed(number=0):
    return torch.Generator().manual_seed(number)


def drawing_order(model):
    """The pixels ``(i, j)`` in the order in which they are drawn: the small image's first, each in raster order."""
    f = model.config.factor
    small = drawing_order(model.small) if isinstance(model.small, MultiScalePixelRNN) else raster(model.small)
    return [(i * f, j * f) for i, j in small] + [(i, j) for i, j in raster(model) if i % f or j % f]


def raster(model):
    return list(itertools.product(range(model.shape[1]), range(model.shape[2])))


def every_logit(model, k):
    """ln p of each level of each value that is drawn, ``(B, values in the order of drawing, L)``."""
    f = model.config.factor
    by_level = torch.stack([model.conditionals(k).log_prob(torch.full_like(k, x)) for x in range(model.levels)], -1)
    between = [by_level[:, :, i, j] for i, j in raster(model) if i % f or j % f]  # (B, C, L) each
    small = model.smaller(k)
    if isinstance(model.small, MultiScalePixelRNN):
        first = every_logit(model.small, small)
    else:
        p = model.small.conditionals(small)
        by_level = torch.stack([p.log_prob(torch.full_like(small, x)) for x in range(model.levels)], -1)
        first = by_level.movedim(1, 3).flatten(1, 3)
    return torch.cat([first, *between], 1)


@pytest.mark.parametrize(
    ("shape", "levels", "sizes"),
    [
        ((1, 2, 4), 2, {}),
        ((1, 3, 3), 2, {"head": "softmax"}),
        ((1, 1, 5), 3, {"factor": 3}),
        ((1, 2, 4), 2, {"scales": 3}),
        ((1, 3, 2), 3, {"factor": 4, "head": "gaussian"}),  # a factor larger than the image: one pixel, and the rest
        ((3, 2, 2), 2, {"layers": 2, "small_layers": 2}),
    ],
)
def test_probabilities_of_all_images_sum_to_one(network, shape, levels, sizes):
    model = tiny(network, shape, levels, **sizes)
    k = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    small, which = model.smaller(k).unique(dim=0, return_inverse=True)
    with torch.no_grad():
        p = model.log_prob(dequantize(k, levels)).exp()
        of_small = model.small.log_prob(dequantize(small, levels)).exp()
    assert p.std() > 0
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-10)
    assert torch.allclose(torch.zeros_like(of_small).index_add(0, which, p), of_small, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "levels", "sizes"),
    [
        ((1, 5, 7), 2, {}),
        ((1, 5, 7), 2, {"factor": 3, "layers": 2}),
        ((3, 4, 3), 3, {"layers": 2}),
        ((1, 7, 6), 2, {"scales": 3}),
    ],
)
def test_changing_a_value_changes_no_logit_at_or_before_it(network, shape, levels, sizes):
    model = tiny(network, shape, levels, **sizes)
    order = drawing_order(model)
    assert sorted(order) == raster(model)
    values = [(c, i, j) for i, j in order for c in range(shape[0])]
    k = torch.randint(levels, (1, *shape), generator=seed()).repeat(len(values), 1, 1, 1)
    changed = k.clone()
    for n, (c, i, j) in enumerate(values):
        changed[n, c, i, j] = (k[n, c, i, j] + 1) % levels
    with torch.no_grad():  # batches of one size, which are computed in the same order
        differs = (every_logit(model, k) != every_logit(model, changed)).any(2)  # (changed value, logit)
    assert not differs.tril().any()
    assert differs[:-1].any(1).all()  # each value matters to something after it


def test_the_small_image_reaches_every_pixel_from_all_sides(network):
    """Each place between knows the small pixels next to it, also those that follow in raster order."""
    model = tiny(network, (1, 8, 8))
    k = torch.randint(2, (1, 1, 8, 8), generator=seed()).repeat(16, 1, 1, 1)
    changed = k.clone()
    for n, (i, j) in enumerate(itertools.product(range(0, 8, 2), repeat=2)):
        changed[n, 0, i, j] ^= 1
    with torch.no_grad():
        here, there = (model.conditionals(levels).logits[:, 0] for levels in (k, changed))
        bias = (model.context(model.smaller(k)) != model.context(model.smaller(changed))).any(1)
    for n, (i, j) in enumerate(itertools.product(range(0, 8, 2), repeat=2)):
        around = torch.zeros(8, 8, dtype=torch.bool)
        around[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3] = True
        assert bias[n][around].all()
        assert (here[n] != there[n])[around].all()


def test_classes_are_distributions_and_reach_both_images(network):
    model = tiny(network, (1, 2, 3), classes=3)
    images = dequantize(torch.tensor(list(itertools.product(range(2), repeat=6))).view(-1, 1, 2, 3), 2)
    with torch.no_grad():
        given = model.class_log_probs(images)
        assert torch.allclose(given.exp().sum(0), torch.ones(3, dtype=torch.float64), atol=1e-10)
        assert torch.allclose(model.log_prob(images).exp(), given.exp().mean(1), atol=1e-14)
        small = model.small.class_log_probs(model.smaller(images))
    assert (small.std(1) > 0).all()
    assert ((given - small).std(1) > 0).all()
    loss = model(images[:6], labels=torch.arange(6) % 3)["nll"]
    assert torch.allclose(loss.detach(), -given[:6].gather(1, (torch.arange(6) % 3)[:, None]).squeeze(1))


@pytest.mark.parametrize("method", ["auto", "naive", "jacobi"])
@pytest.mark.parametrize(
    ("shape", "levels", "sizes"),
    [
        ((1, 5, 7), 2, {"layers": 2}),
        ((1, 4, 5), 17, {"classes": 3, "factor": 3}),
        ((3, 3, 4), 256, {}),
        ((1, 6, 5), 2, {"scales": 3, "classes": 2}),
        ((1, 2, 3), 4, {"factor": 4, "head": "gaussian"}),
    ],
)
def test_every_sampler_draws_the_naive_images(network, shape, levels, sizes, method):
    model = tiny(network, shape, levels, **sizes)
    naive = model.sample(5, generator=seed(3))
    assert naive.float().std() > 0
    rows = []
    drawn = sample(model, 5, generator=seed(3), method=method, on_row=lambda row, images: rows.append(row))
    assert torch.equal(drawn, naive)
    assert rows == list(range(shape[1]))
    if model.classes:
        labels = torch.tensor([1, 0, 1, 1, 0])
        drawn = sample(model, 5, generator=seed(3), labels=labels, method=method)
        assert torch.equal(drawn, model.sample(5, generator=seed(3), labels=labels))


def test_samples_follow_the_model(network):
    """Frequencies of all 64 images of 2×3 binary pixels against their exact probabilities: a chi-squared test."""
    model, n = tiny(network, (1, 2, 3)), 20_000
    drawn = sample(model, n, generator=seed(), batch_size=5000)
    codes = ((drawn.flatten(1) > 0).long() * (2 ** torch.arange(5, -1, -1))).sum(1)
    images = dequantize(torch.tensor(list(itertools.product(range(2), repeat=6))).view(-1, 1, 2, 3), 2)
    with torch.no_grad():
        expected = n * model.log_prob(images).exp()
    common = expected > 5
    chi2 = ((torch.bincount(codes, minlength=64) - expected) ** 2 / expected)[common].sum().item()
    freedom = int(common.sum()) - 1
    assert freedom > 10
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("shape", "small"), [((3, 33, 35), (3, 17, 18)), ((1, 1, 9), (1, 1, 5)), ((3, 32, 32), (3, 16, 16))]
)
def test_any_size(network, shape, small):
    model = tiny(network, shape, 256).float()
    assert model.small.shape == small
    images = torch.randint(0, 256, (2, *shape), generator=seed(), dtype=torch.uint8)
    assert torch.isfinite(model.log_prob(images)).all()
    assert model.smaller(images).shape[1:] == small


def test_what_cannot_be_is_said():
    with pytest.raises(LimnerError, match=r"scales=2: images of 1×1 .* are one pixel"):
        tiny("row", (1, 1, 1))
    model = tiny("diagonal", (1, 4, 4))
    with pytest.raises(LimnerError, match="no classes"):
        model.sample(2, labels=torch.zeros(2, dtype=torch.int64))
    given = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(LimnerError, match="small image first"):
        sample(model, 2, known=given)
