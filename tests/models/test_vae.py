"""VAE: its bounds are bounds, its KL is the KL, its decoder has a mean and a variance."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.models.vae import VAE, VAEConfig, gaussian_kl
from limner.nn.coders import halvings


def tiny(shape=(1, 2, 2), levels=2, seed=0, std=0.6, **config):
    torch.manual_seed(seed)
    settings = {"latent": 2, "network": "dense", "hidden": 8} | config
    model = VAE(VAEConfig(**settings), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval().requires_grad_(False)


def exact_log_prob(model, k):
    """ln ∫ p(x|z) N(z; 0, I) dz by a fine grid over a two-dimensional latent space."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_prior = -0.5 * (z**2).sum(1) - math.log(2 * math.pi) + 2 * math.log(float(axis[1] - axis[0]))
    with torch.no_grad():
        p = model.likelihood(z)
        return torch.stack(
            [
                torch.logsumexp(p.log_prob(x.expand(len(z), *x.shape)).double().flatten(1).sum(1) + log_prior, 0)
                for x in k
            ]
        )


@pytest.mark.parametrize("levels", [2, 3])
def test_importance_bound_meets_the_truth_from_below(levels):
    model = tiny(levels=levels, std=0.4)
    for parameter in model.encoder.parameters():
        parameter.mul_(0.3)  # a posterior near the prior: a proposal that covers the truth
    k = torch.tensor(list(itertools.product(range(levels), repeat=4))).view(-1, 1, 2, 2)
    truth = exact_log_prob(model, k)
    assert float(truth.exp().sum()) == pytest.approx(1.0, abs=1e-6)  # the marginal is a distribution over images
    images = dequantize(k, levels)
    generator = torch.Generator().manual_seed(0)
    means, errors = [], []
    for samples in (1, 10, 100):
        bound = model.importance_bound(images.repeat(400 // samples + 1, 1, 1, 1), samples, generator=generator)
        gaps = bound.log_prob.view(-1, len(truth)) - truth
        means.append(bound.log_prob.mean().item())
        errors.append(gaps.std().item() / gaps.numel() ** 0.5)
    target = truth.mean().item()
    assert means[0] <= means[1] + 3 * errors[0]
    assert means[1] <= means[2] + 3 * errors[1]
    assert all(m <= target + 4 * e for m, e in zip(means, errors, strict=True))
    tight = model.importance_bound(images, 20_000, generator=generator)
    covered = tight.effective_samples > 300  # where few samples carry the weight, 20,000 are too few
    assert covered.float().mean() > 0.2
    difference = (tight.log_prob - truth)[covered].abs()
    assert (difference < 5 / tight.effective_samples[covered].sqrt()).all()
    assert ((tight.effective_samples >= 1) & (tight.effective_samples <= 20_000)).all()


def test_elbo_is_the_mean_log_weight():
    """The closed-form KL and the sampled ln q - ln p agree in the mean: both are the ELBO."""
    model = tiny(shape=(1, 3, 2))
    images = torch.randint(0, 2, (5, 1, 3, 2), dtype=torch.uint8) * 255
    many = images.repeat_interleave(40_000, 0)
    generator = torch.Generator().manual_seed(0)
    sampled = model.importance_bound(many, 1, generator=generator).log_prob.view(5, -1)
    closed = model.importance_bound(images, 40_000, generator=generator).elbo
    error = sampled.std(1) / 40_000**0.5
    assert ((sampled.mean(1) - closed).abs() < 5 * error + 0.02).all()


def test_bound_does_not_depend_on_how_rows_are_cut():
    model = tiny(shape=(1, 3, 2))
    images = torch.randint(0, 2, (8, 1, 3, 2), dtype=torch.uint8) * 255
    whole = model.importance_bound(images, 12, generator=torch.Generator().manual_seed(1), rows=96)
    parts = model.importance_bound(images, 12, generator=torch.Generator().manual_seed(1), rows=32)
    # torch draws normals 16 at a time: pieces of 4 × 8 × 2 numbers continue one stream
    assert whole.log_prob == pytest.approx(parts.log_prob, abs=1e-9)
    assert whole.effective_samples == pytest.approx(parts.effective_samples, abs=1e-9)


def test_loss_terms_are_the_negative_elbo():
    model = tiny(shape=(1, 3, 2))
    images = torch.randint(0, 2, (6, 1, 3, 2), dtype=torch.uint8) * 255
    terms = model.loss_terms(images, torch.Generator().manual_seed(3))
    assert set(terms) == {"reconstruction", "kl"}
    assert all(t.shape == (6,) for t in terms.values())
    assert (terms["kl"] >= 0).all()
    elbo = model.log_prob(images, generator=torch.Generator().manual_seed(3))
    assert (terms["reconstruction"] + terms["kl"]) == pytest.approx(-elbo, abs=1e-9)


def test_kl_matches_torch():
    mean, log_std = torch.randn(2, 4, 3, dtype=torch.float64)
    q = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert gaussian_kl(mean, log_std) == pytest.approx(expected)


def test_decoder_gives_mean_and_variance_and_samples_have_both():
    model = tiny(shape=(1, 3, 3), levels=256, std=0.2)
    z = torch.zeros(4000, 2, dtype=torch.float64)
    p = model.likelihood(z)
    assert p.mean.shape == p.variance.shape == (4000, 1, 3, 3)
    x = p.sample(torch.Generator().manual_seed(0)).double() / 255
    assert x.std(0).min() > 0  # drawn from x|z, not its mean
    probabilities = torch.stack([p.log_prob(torch.full((4000, 1, 3, 3), k))[0] for k in range(256)]).exp()
    levels = (torch.arange(256, dtype=torch.float64) / 255).view(-1, 1, 1, 1)
    assert x.mean(0) == pytest.approx((probabilities * levels).sum(0), abs=0.03)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 20, 28), (3, 5, 9), (1, 8, 8), (1, 1, 2), (3, 37, 13)])
@pytest.mark.parametrize("network", ["dense", "conv"])
def test_any_size_and_channels(shape, network):
    model = VAE(VAEConfig(latent=3, network=network, hidden=8, features=4), shape, 256)
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    assert model.encode(images).shape == (2, 3)
    assert model.decode(model.encode(images)).shape == images.shape
    assert model.sample(3).shape == (3, *shape)
    assert torch.isfinite(model.log_prob(images)).all()


def test_halvings():
    assert halvings(28, 28) == [(28, 28), (14, 14), (7, 7)]
    assert halvings(5, 9) == [(5, 9)]
    assert halvings(37, 13) == [(37, 13), (19, 7)]
