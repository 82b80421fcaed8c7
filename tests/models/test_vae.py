"""VAE: its decoders are likelihoods, its priors are distributions, its bounds are bounds of the model that it is."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.importance import gaussian_kl
from limner.models.priors import GaussianMixture
from limner.models.vae import VAE, VAEConfig
from limner.nn.coders import halvings


def tiny(shape=(1, 2, 2), levels=2, scale=0.6, **config):
    torch.manual_seed(0)
    settings = {"latent": 2, "network": "dense", "hidden": 8, "prior_components": 3} | config
    model = VAE(VAEConfig(**settings), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return model.eval().requires_grad_(False)


def all_levels(shape, levels):
    return torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)


def exact_log_prob(model, k, labels=None):
    """ln ∫ p(x|z) p(z) dz by a fine grid over a two-dimensional latent space."""
    axis = torch.linspace(-8, 8, 161, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    prior = model.prior()
    log_prior = -0.5 * (z**2).sum(1) - math.log(2 * math.pi) if prior is None else prior.log_prob(z)
    log_prior = log_prior + 2 * math.log(float(axis[1] - axis[0]))
    p = model.likelihood(z, None if labels is None else torch.full((len(z),), labels))
    each = [p.log_prob(x.expand(len(z), *x.shape)).double().flatten(1).sum(1) for x in k]
    return torch.stack([torch.logsumexp(log_x + log_prior, 0) for log_x in each])


@pytest.mark.parametrize(
    ("levels", "config"),
    [
        (2, {}),
        (3, {}),
        (3, {"covariance": "shared"}),
        (3, {"covariance": "fixed", "std": 0.3}),
        (3, {"head": "logistic", "components": 2}),
        (2, {"prior": "mixture"}),
        (2, {"prior": "vamp"}),
    ],
    ids=str,
)
def test_importance_bound_meets_the_truth_from_below(levels, config):
    shape = (1, 2, 2) if levels == 2 else (1, 1, 3)
    model = tiny(shape, levels, scale=0.4, **config)
    for parameter in model.encoder.parameters():
        parameter.mul_(0.3)  # a posterior near the prior: a proposal that covers the truth
    k = all_levels(shape, levels)
    truth = exact_log_prob(model, k)
    assert float(truth.exp().sum()) == pytest.approx(1.0, abs=1e-6)  # the marginal is a distribution over images
    images = dequantize(k, levels)
    means, errors = [], []
    for samples in (1, 10, 100):
        bound = model.importance_bound(images.repeat(400 // samples + 1, 1, 1, 1), samples, seed=1)
        gaps = bound.log_prob.view(-1, len(truth)) - truth
        means.append(gaps.mean().item())
        errors.append(gaps.std().item() / gaps.numel() ** 0.5)
    assert means[0] <= means[1] + 3 * errors[0]
    assert means[1] <= means[2] + 3 * errors[1]
    assert all(m <= 4 * e for m, e in zip(means, errors, strict=True))
    tight = model.importance_bound(images, 20_000)
    covered = tight.effective_samples > 300  # where few samples carry the weight, 20,000 are too few
    assert covered.float().mean() > 0.2
    difference = (tight.log_prob - truth)[covered].abs()
    assert (difference < 5 / tight.effective_samples[covered].sqrt()).all()
    assert ((tight.effective_samples >= 1) & (tight.effective_samples <= 20_000)).all()


@pytest.mark.parametrize("network", ["dense", "conv"])
def test_a_conditional_model_is_a_distribution_of_each_class(network):
    model = tiny(classes=2, network=network, features=3, scale=0.4)
    for parameter in model.encoder.parameters():
        parameter.mul_(0.3)
    k = all_levels((1, 2, 2), 2)
    truth = torch.stack([exact_log_prob(model, k, y) for y in range(2)], 1)
    assert truth.exp().sum(0) == pytest.approx(torch.ones(2).double(), abs=1e-6)
    assert (truth[:, 0] - truth[:, 1]).abs().max() > 0.05
    images = dequantize(k, 2)
    bound = model.importance_bound(images, 5_000)
    assert bound.class_log_probs == pytest.approx(truth, abs=0.15)
    assert bound.log_prob == pytest.approx(torch.logsumexp(truth, 1) - math.log(2), abs=0.15)
    for y in range(2):
        given = model.log_prob(images, labels=torch.full((len(k),), y), generator=torch.Generator().manual_seed(0))
        assert given.shape == (len(k),)
        assert (given <= truth[:, y] + 3).all()
    unknown = model.importance_bound(images, 1)
    assert unknown.log_prob == pytest.approx(torch.logsumexp(unknown.class_log_probs, 1) - math.log(2))
    assert (unknown.log_prob == unknown.elbo).all()


def test_the_likeliest_class_is_the_encoders_when_none_is_given():
    model = tiny(classes=2, shape=(1, 2, 2), scale=0.1)
    model.decoder[0].weight[:, -2:] = torch.tensor([-9.0, 9.0])
    model.decoder[2].weight.fill_(1.0)
    model.decoder[-2].weight.fill_(1.0)  # class 1 draws white, class 0 black
    model.decoder[-2].bias.fill_(-1.0)
    images = torch.stack([torch.full((1, 2, 2), v, dtype=torch.uint8) for v in (255, 0, 255)])
    labels = model.likeliest(images)
    assert labels.tolist() == [1, 0, 1]
    assert torch.equal(model.encode(images), model.encode(images, labels))
    assert torch.equal(model.reconstruct(images), model.decode(model.encode(images), labels))
    with pytest.raises(LimnerError, match="give labels"):
        model.decode(model.encode(images))


def test_learned_priors_are_what_is_drawn():
    for prior in ("mixture", "vamp"):
        model = tiny(prior=prior, scale=0.8)
        z = model.latents(20_000, generator=torch.Generator().manual_seed(0))
        p = model.prior()
        weights = p.log_weights.exp().unsqueeze(1)
        mean = (weights * p.mean).sum(0)
        second = (weights * (p.mean**2 + torch.exp(2 * p.log_std))).sum(0)
        assert z.mean(0) == pytest.approx(mean, abs=0.05)
        assert (z**2).mean(0) == pytest.approx(second, rel=0.06)


def test_mixture_density_matches_torch():
    weights, mean, log_std = torch.randn(4), torch.randn(4, 3), torch.randn(4, 3)
    z = torch.randn(2, 5, 3)
    parts = torch.distributions.Independent(torch.distributions.Normal(mean.double(), log_std.double().exp()), 1)
    mixture = torch.distributions.Categorical(logits=weights.double())
    expected = torch.distributions.MixtureSameFamily(mixture, parts).log_prob(z.double())
    assert GaussianMixture(weights.log_softmax(0), mean, log_std).log_prob(z) == pytest.approx(expected, abs=1e-5)


def test_kl_matches_torch_and_monte_carlo():
    mean, log_std = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, p = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    closed = gaussian_kl(mean, log_std)
    assert closed == pytest.approx(torch.distributions.kl_divergence(q, p))
    torch.manual_seed(0)
    z = q.sample((100_000,))
    drawn = q.log_prob(z) - p.log_prob(z)
    assert ((drawn.mean(0) - closed).abs() < 5 * drawn.std(0) / 100_000**0.5).all()


def test_decoder_gives_mean_and_variance_and_samples_have_both():
    model = tiny(shape=(1, 3, 3), levels=256, scale=0.2)
    z = torch.zeros(4000, 2, dtype=torch.float64)
    p = model.likelihood(z)
    assert p.mean.shape == p.variance.shape == (4000, 1, 3, 3)
    x = p.sample(torch.Generator().manual_seed(0)).double() / 255
    assert x.std(0).min() > 0  # drawn from x|z, not its mean
    probabilities = torch.stack([p.log_prob(torch.full((4000, 1, 3, 3), k))[0] for k in range(256)]).exp()
    levels = (torch.arange(256, dtype=torch.float64) / 255).view(-1, 1, 1, 1)
    assert x.mean(0) == pytest.approx((probabilities * levels).sum(0), abs=0.03)


def test_covariance_is_of_each_pixel_or_shared_or_fixed():
    z = torch.randn(5, 2, dtype=torch.float64)
    shape = (3, 2, 2)
    each = tiny(shape, 256).likelihood(z).variance
    shared = tiny(shape, 256, covariance="shared")
    fixed = tiny(shape, 256, covariance="fixed", std=0.07).likelihood(z).variance
    assert (each[0] != each[1]).any()
    assert shared.likelihood(z).variance == pytest.approx(shared.likelihood(z[:1]).variance.expand(5, *shape))
    assert shared.likelihood(z).variance[0, :, 0, 0].unique().numel() == 3
    assert fixed.sqrt() == pytest.approx(torch.full((5, *shape), 0.07).double())
    with pytest.raises(LimnerError, match="covariance=shared: that of head=gaussian; this head is sigmoid"):
        VAE(VAEConfig(covariance="shared"), (1, 4, 4), 2)


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


def test_every_code_begins_with_the_same_image():
    """The last layer of the dense decoder starts at zero: no pixel has noise to unlearn."""
    model = VAE(VAEConfig(latent=3, network="dense", hidden=8), (1, 4, 5), 2)
    z = torch.randn(6, 3)
    image = model.likelihood(z).mean
    assert torch.allclose(image, image[:1].expand_as(image), rtol=1e-5)
    (gradient,) = torch.autograd.grad(model.likelihood(z).mean[:, 0, 0, 0].sum(), model.decoder[-2].weight)
    assert gradient.any()  # which it learns from


@pytest.mark.parametrize("prior", ["normal", "mixture", "vamp"])
@pytest.mark.parametrize("network", ["dense", "conv"])
def test_muon_takes_the_inner_weights_of_both_coders_and_nothing_else(network, prior):
    model = VAE(VAEConfig(network=network, prior=prior, classes=3, features=4, hidden=8, latent=3), (1, 9, 9), 2)
    taken = list(model.muon_parameters())
    coders = [n for n, p in model.named_parameters() if p.dim() >= 2 and n.split(".")[0] in ("encoder", "decoder")]
    assert taken == coders[1:-1]
    assert any(n.startswith("encoder") for n in taken)
    assert any(n.startswith("decoder") for n in taken)
