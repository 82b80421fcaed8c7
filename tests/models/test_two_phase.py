"""Two-phase sampling: n decoded samples of K give the sums over all K, in the mean over which are decoded."""

import math

import pytest
import torch

from limner.data import MemoryStore, Split, dequantize
from limner.evaluation import measure_likelihood
from limner.evaluation.likelihood import LOOSEST
from limner.models.two_phase import inclusion, taylor, two_phase
from limner.models.vae import VAE, VAEConfig


def bent(x):
    """No quadratic: (..., 3) → (...)."""
    return torch.sin(2 * x[..., 0]) - 0.5 * x[..., 1] ** 2 + 0.4 * x[..., 0] * x[..., 2] - 0.3 * x[..., 2] ** 4


def small(scale=0.5, seed=0, **config):
    torch.manual_seed(seed)
    settings = {"latent": 2, "network": "dense", "hidden": 8} | config
    model = VAE(VAEConfig(**settings), (1, 3, 3), 2).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    for parameter in model.encoder.parameters():
        parameter.mul_(0.3)  # a posterior near the prior: a proposal that covers the truth
    return model


def pictures(n, seed=0):
    return dequantize(torch.randint(0, 2, (n, 1, 3, 3), generator=torch.Generator().manual_seed(seed)), 2)


def test_taylor():
    at = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value, slope, curvature = taylor(bent, at)
    x, y, z = at.unbind(1)
    zero = torch.zeros_like(x)
    assert torch.allclose(value, bent(at))
    assert torch.allclose(slope, torch.stack([2 * torch.cos(2 * x) + 0.4 * z, -y, 0.4 * x - 1.2 * z**3], 1))
    rows = [[-4 * torch.sin(2 * x), zero, zero + 0.4], [zero, zero - 1, zero], [zero + 0.4, zero, -3.6 * z**2]]
    assert torch.allclose(curvature, torch.stack([torch.stack(row, 1) for row in rows], 1))


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 1000.0])
def test_the_heavier_the_likelier_and_n_in_all(spread):
    log_weights = spread * torch.randn(4, 200, generator=torch.Generator().manual_seed(0))
    chances = inclusion(log_weights, 40)
    assert chances.sum(1) == pytest.approx(40, rel=1e-4)
    assert chances.min() >= 0.3 * 40 / 200 - 1e-6  # some are drawn whatever they weigh
    assert chances.max() <= 1
    sorted_by_weight = chances.gather(1, log_weights.argsort(1))
    assert (sorted_by_weight.diff(dim=1) >= -1e-6).all()
    if spread == 0:
        assert chances == pytest.approx(0.2, rel=1e-5)
    if spread == 10:
        assert (chances == 1).sum() >= 4 * 10


def test_one_sample_that_outweighs_all():
    log_weights = torch.full((1, 50), -3000.0)
    log_weights[0, 7] = 0
    chances = inclusion(log_weights, 10)
    assert chances[0, 7] == 1
    assert chances.sum() == pytest.approx(10, rel=1e-4)


def test_the_mean_over_choices_is_the_sum_over_all():
    noise = torch.randn(60, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    log_w = bent(noise)[:, 0]
    choices = (torch.arange(4000, dtype=torch.float64).unsqueeze(1) + 0.5) / 4000  # all, evenly
    log_sum, log_squares, elbo, decoded, variance = two_phase(bent, noise.expand(-1, 4000, -1), 20, choices)
    assert (decoded == 20).all()
    assert log_sum.std() > 0.01  # no choice is all of it
    assert log_sum.exp().mean().item() == pytest.approx(log_w.exp().sum().item(), rel=1e-3)
    assert log_squares.exp().mean().item() == pytest.approx((2 * log_w).exp().sum().item(), rel=1e-3)
    value, _, curvature = taylor(bent, torch.zeros(1, 3, dtype=torch.float64))
    slope = torch.tensor([2.0, 0, 0], dtype=torch.float64)
    polynomial = value + noise[:, 0] @ slope + 0.5 * ((noise[:, 0] @ curvature[0]) * noise[:, 0]).sum(1)
    expected = value + 0.5 * curvature[0].trace() + (log_w - polynomial).mean()  # its own mean in closed form
    assert elbo.mean().item() == pytest.approx(expected.item(), abs=2e-3)
    actual = (log_sum.exp() / log_sum.exp().mean()).var()
    assert (
        0.5 * actual < variance.mean() < 5 * actual
    )  # it is that of independent choices; evenly spread ones vary less


def test_of_a_quadratic_it_is_nearly_exact():
    def quadratic(x):
        return 1 - 0.7 * x[..., 0] ** 2 + 0.5 * x[..., 0] * x[..., 1] + x[..., 2]

    noise = torch.randn(2000, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    log_sum, _, elbo, _, variance = two_phase(quadratic, noise, 400, torch.full((3, 1), 0.4, dtype=torch.float64))
    assert log_sum == pytest.approx(torch.logsumexp(quadratic(noise), 0), abs=0.02)
    assert elbo == pytest.approx(1 - 0.7, abs=1e-9)  # its mean over the normal distribution
    assert variance.max() < 5e-3


@pytest.mark.parametrize(
    "config", [{}, {"prior": "mixture", "prior_components": 3}, {"classes": 2}, {"activation": "tanh"}], ids=str
)
@pytest.mark.parametrize("one_in", LOOSEST)
def test_a_vae_decodes_a_part_and_says_nearly_the_same(config, one_in):
    model, images = small(**config), pictures(60)
    assert model.decodes(5000, one_in) == 5000 // one_in
    every = model.importance_bound(images, 5000)
    some = model.importance_bound(images, 5000, one_in=one_in)
    assert (every.decoded == 5000).all()
    assert (every.variance == 0).all()
    assert (some.decoded == 5000 // one_in).all()
    assert 0 < some.variance.mean() < (1e-2 if one_in == 5 else 2e-2)
    ratio = torch.exp(some.log_prob - every.log_prob)  # of the same noise: 1 in the mean, and as variable as is said
    assert (ratio.mean() - 1).abs() < 4 * (some.variance.mean() / 60).sqrt()
    assert 0.1 * some.variance.mean() < ratio.var() < 3 * some.variance.mean()
    elbo = some.elbo - every.elbo
    assert elbo.mean().abs() < 4 * elbo.std() / 60**0.5
    assert elbo.std() < 0.5
    effective = torch.log(some.effective_samples / every.effective_samples)  # a mixture is far from a polynomial
    assert effective.abs().mean() < (1.0 if "prior" in config else 0.05)


def test_few_samples_and_convolutions_are_decoded_whole():
    images = pictures(3)
    for model, k in ((small(), 999), (small(network="conv", features=2), 1000)):
        assert model.decodes(k, 5) == k
        every, asked = (model.importance_bound(images, k, one_in=n) for n in (1, 5))
        assert torch.equal(every.log_prob, asked.log_prob)
        assert (asked.decoded == k).all()


def test_the_figure_does_not_depend_on_the_batch():
    model, images = small(), pictures(9)
    together = model.importance_bound(images, 1000, one_in=5)
    model.rows = 600  # three at a time
    apart = [model.importance_bound(images[i : i + 1], 1000, first=i, one_in=5).log_prob for i in range(9)]
    for other in (torch.cat(apart), model.importance_bound(images, 1000, one_in=5).log_prob):
        assert together.log_prob == pytest.approx(other, abs=1e-5)


def test_a_measurement_says_what_it_decoded():
    model, split = small(), Split(MemoryStore(pictures(130)))
    some = measure_likelihood(model, split, importance_samples=2000)
    every = measure_likelihood(model, split, importance_samples=2000, decode_all=True)
    assert (some.decoded_samples, every.decoded_samples, every.decoding_nats) == (400, None, None)
    assert 0 < some.decoding_nats < 5e-3
    assert some.nats_per_image == pytest.approx(every.nats_per_image, abs=5e-3)
    assert measure_likelihood(model, split, importance_samples=100).decoded_samples is None


def test_where_a_polynomial_is_worthless_all_is_decoded():
    model, split = small(scale=6.0, latent=9, hidden=30), Split(MemoryStore(pictures(40)))
    asked = model.importance_bound(split.first(40), 1000, one_in=5)
    assert asked.variance.mean() / 2 > 0.005
    some = measure_likelihood(model, split, importance_samples=1000)
    every = measure_likelihood(model, split, importance_samples=1000, decode_all=True)
    assert some.decoded_samples is None
    assert math.isclose(some.nats_per_image, every.nats_per_image)


@pytest.mark.parametrize(("loosest", "decoded"), [((1, 1), 200), ((0, 1), 400), ((0, 0), None)])
def test_as_many_are_decoded_as_it_takes(loosest, decoded, monkeypatch):
    """A part that costs too much gives way to a larger one, from the first picture on."""
    monkeypatch.setattr("limner.evaluation.likelihood.LOOSEST", dict(zip(LOOSEST, loosest, strict=True)))
    model, images = small(), pictures(30)
    found = measure_likelihood(model, Split(MemoryStore(images)), importance_samples=2000)
    assert found.decoded_samples == decoded
    bound = model.importance_bound(images, 2000, one_in=2000 // decoded if decoded else 1)
    assert found.nats_per_image == pytest.approx(-float(bound.log_prob.mean()))
