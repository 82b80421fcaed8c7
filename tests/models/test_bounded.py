"""Bounds of ln p(x): against the closed form of a linear Gaussian model, against Monte Carlo, against themselves."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from limner.data import MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation import active_units, measure_likelihood
from limner.models import bounded
from limner.models.vae import VAE, VAEConfig

STD, SHAPE, LATENT = 0.3, (1, 2, 3), 2
BINS = math.log(255.0) * math.prod(SHAPE)  # from a density over [0, 1] to the probability of a level, ln for all pixels


@pytest.fixture(scope="module")
def linear():
    """A VAE with x = W z + ½ + σ ε, whose levels are so fine that p is the density times the bins' width.

    W has orthogonal columns, so that p(z|x) = N(S W^T (x - ½) / σ², S) has a diagonal covariance S, and the encoder,
    which is linear as well, is that posterior.
    """
    config = VAEConfig(latent=LATENT, network="dense", covariance="fixed", std=STD)
    model = VAE(config, SHAPE, 256).double()
    d = math.prod(SHAPE)
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(d, LATENT, dtype=torch.float64))[0] * torch.tensor([0.25, 0.15]).double()
    variance = 1 / (1 + (w**2).sum(0) / STD**2)  # (latent,)
    decoder, encoder = torch.nn.Linear(LATENT, d).double(), torch.nn.Linear(d, 2 * LATENT).double()
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.zero_()
        encoder.weight[:LATENT] = variance[:, None] * w.T / STD**2 / 2  # of intensities 2 (x - ½)
        encoder.weight[LATENT:] = 0
        encoder.bias[:LATENT] = 0
        encoder.bias[LATENT:] = 7 * torch.atanh(0.5 * variance.log() / 7)
    model.decoder = torch.nn.Sequential(decoder, torch.nn.Unflatten(1, SHAPE))
    model.encoder = torch.nn.Sequential(torch.nn.Flatten(), encoder)
    return model.eval().requires_grad_(False), w, variance


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    x = 0.5 + 0.1 * torch.randn(40, math.prod(SHAPE), generator=generator, dtype=torch.float64)
    return (x * 255).round().clamp(20, 235).to(torch.uint8).view(-1, *SHAPE)


def exact(w, images):
    """ln N(x; ½, W W^T + σ² I) + ln of the bins' volume."""
    x = images.flatten(1).double() / 255
    covariance = w @ w.T + STD**2 * torch.eye(len(w), dtype=torch.float64)
    centre = torch.full((len(w),), 0.5, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(centre, covariance).log_prob(x) - BINS


def test_with_the_true_posterior_every_bound_is_the_likelihood(linear, images):
    model, w, _ = linear
    truth = exact(w, images)
    for samples in (2, 7, 200):
        bound = model.importance_bound(images, samples)
        assert bound.log_prob == pytest.approx(truth, abs=2e-3)
        assert bound.effective_samples == pytest.approx(torch.full_like(truth, samples), rel=1e-3)
    many = model.importance_bound(images, 20_000).elbo  # ln p(x|z) of 20,000 z
    assert many == pytest.approx(truth, abs=0.05)


def test_the_gap_is_the_divergence_from_the_true_posterior_and_closes_with_k(linear, images):
    model, w, variance = linear
    truth = exact(w, images)
    encoder, shift, scale = model.encoder[1], 0.4, 1.3
    before = encoder.bias.clone()
    encoder.bias[:LATENT] += shift
    encoder.bias[LATENT:] = 7 * torch.atanh((0.5 * variance.log() + math.log(scale)) / 7)
    gap = (0.5 * (scale**2 + shift**2 / variance - 1) - math.log(scale)).sum()  # KL(q ‖ p(z|x))
    elbo = model.importance_bound(images, 20_000)
    assert (truth - elbo.elbo).mean() == pytest.approx(float(gap), abs=0.02)
    means = [(truth - model.importance_bound(images, k).log_prob).mean().item() for k in (2, 10, 100, 2000)]
    assert means == sorted(means, reverse=True)
    assert means[0] < gap
    assert means[-1] == pytest.approx(0, abs=0.01)
    encoder.bias.copy_(before)


def binary(shape=(1, 4, 4), **config):
    torch.manual_seed(0)
    model = VAE(VAEConfig(**({"latent": 3, "network": "dense", "hidden": 8} | config)), shape, 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    images = torch.randint(0, 2, (60, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)) * 255
    return model, images


def test_elbo_is_the_mean_log_weight():
    """The closed-form KL and the sampled ln q - ln p agree in the mean: both are the ELBO."""
    model, images = binary()
    many = images[:5].repeat_interleave(20_000, 0)
    k = model.checked_levels(many)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        w = model.weights(
            k, model.infer(k, None), None, 1, lambda s, d: torch.randn(s, len(k), *d, generator=generator)
        )
    sampled = (w.log_x + w.log_ratio)[0].double().view(5, -1)
    closed = model.importance_bound(images[:5], 20_000).elbo
    assert ((sampled.mean(1) - closed).abs() < 8 * sampled.std(1) / 20_000**0.5).all()


@pytest.mark.parametrize("config", [{}, {"classes": 2}, {"prior": "vamp", "prior_components": 3}], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=str)
def test_figures_do_not_depend_on_the_batch_nor_on_memory(config, dtype, tolerance, monkeypatch):
    """In float32 but for its rounding: a figure is of hundreds of nats."""
    model, images = binary(**config)
    model.to(dtype)
    split = Split(MemoryStore(images))
    for samples in (1, 130):
        whole = measure_likelihood(model, split, importance_samples=samples, batch_size=60)
        parts = measure_likelihood(model, split, importance_samples=samples, batch_size=7)
        monkeypatch.setitem(bounded.DECODED_BYTES, "cpu", 120 * model.decoded_values * dtype.itemsize)
        small = measure_likelihood(model, split, importance_samples=samples, batch_size=7)
        monkeypatch.undo()
        assert whole.nats_per_image == pytest.approx(parts.nats_per_image, abs=tolerance)
        assert whole.nats_per_image == pytest.approx(small.nats_per_image, abs=tolerance)
        other = measure_likelihood(model, split, importance_samples=samples, seed=1)
        assert other.nats_per_image != pytest.approx(whole.nats_per_image, abs=1e-3)


def test_a_images_noise_is_its_own():
    model, images = binary()
    alike = images[:1].expand(3, -1, -1, -1)
    bounds = model.importance_bound(alike, 3).log_prob
    assert bounds.unique().numel() == 3
    assert model.importance_bound(alike[:2], 3, first=1).log_prob == pytest.approx(bounds[1:], abs=1e-5)


def test_loss_terms_are_the_negative_elbo():
    model, images = binary()
    model.double()  # float32 numbers of thousands of nats are right to a thousandth
    terms = model.loss_terms(images, torch.Generator().manual_seed(3))
    assert set(terms) == {"reconstruction", "kl"}
    assert (terms["kl"] >= 0).all()
    elbo = model.log_prob(images, generator=torch.Generator().manual_seed(3))
    assert (terms["reconstruction"] + terms["kl"]).detach() == pytest.approx(-elbo.detach(), abs=1e-9)


def test_beta_and_free_bits_are_of_training_only_and_are_named():
    model, images = binary(beta=0.5, free_bits=6.0)
    assert model.loss_note == "beta=0.5 and free_bits=6: the training loss is no bound of -ln p(x)"
    assert binary()[0].loss_note is None
    plain = model.eval().loss_terms(images, torch.Generator().manual_seed(0))
    assert set(plain) == {"reconstruction", "kl"}
    terms = model.train().loss_terms(images, torch.Generator().manual_seed(0))
    assert set(terms) == {"reconstruction", "kl", "beta", "free_bits"}
    k = model.checked_levels(images)
    kl = model.weights(k, model.infer(k, None), None, 1, lambda s, d: torch.zeros(s, len(k), *d)).kl.flatten(1).mean(1)
    assert (kl < 6).any()  # both sides of max(λ, KL)
    assert (kl > 6).any()
    expected = plain["reconstruction"].mean() + 0.5 * kl.clamp_min(6).sum()
    assert sum(t.mean() for t in terms.values()).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(LimnerError, match="importance_samples=5"):
        VAEConfig(importance_samples=5, beta=2.0)


def test_the_gradient_of_k_samples_is_that_of_their_normalised_weights():
    """1509.00519, equation 13, in float64."""
    model, images = binary(importance_samples=5, gradient="reparameterized")
    model = model.double()
    k = model.checked_levels(images[:1])
    model.loss_terms(images[:1], torch.Generator().manual_seed(0))["nll"].sum().backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    generator = torch.Generator().manual_seed(0)
    w = model.weights(k, model.infer(k, None), None, 5, lambda s, d: torch.randn(s, 1, *d, generator=generator))
    log = w.log_x + w.log_ratio
    (torch.softmax(log.detach(), 0) * -log).sum().backward()
    for name, p in model.named_parameters():
        assert ours[name] == pytest.approx(p.grad, abs=1e-9), name


def gradients(model, images, seed, labels=None):
    """The loss of each image's terms in training and its gradient, by name of the weight."""
    model.zero_grad()
    loss = sum(t.mean() for t in model.loss_terms(images, torch.Generator().manual_seed(seed), labels).values())
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("samples", [1, 6])
def test_at_the_true_posterior_the_doubly_reparameterized_gradient_has_no_noise(linear, images, samples):
    """1703.09194 and 1810.04152: where ln w is the same for all z the encoder's gradient is 0 for every draw."""
    model, _, _ = linear
    encoder = {}
    for gradient in ("reparameterized", "doubly-reparameterized"):
        other = VAE(replace(model.config, importance_samples=samples, gradient=gradient), SHAPE, 256).double()
        other.encoder, other.decoder = copy.deepcopy(model.encoder), copy.deepcopy(model.decoder)
        _, found = gradients(other.requires_grad_(True).train(), images, seed=0)
        encoder[gradient] = found["encoder.1.weight"].norm().item()
    assert encoder["doubly-reparameterized"] < 0.01 * encoder["reparameterized"]


@pytest.mark.parametrize(
    "config",
    [{}, {"beta": 0.5, "free_bits": 6.0}, {"prior": "vamp", "prior_components": 3}, {"importance_samples": 4},
     {"importance_samples": 3, "prior": "mixture", "classes": 2}],
    ids=str,
)  # fmt: skip
def test_both_gradients_are_the_same_in_the_mean(config):
    """Of a tiny model in float64, over 100 draws for each of 30 copies of the images; the losses are the same."""
    draws, copies, found = 100, 30, {}
    labels = torch.arange(8).repeat(copies) % 2 if "classes" in config else None
    for gradient in ("reparameterized", "doubly-reparameterized"):
        model, images = binary(gradient=gradient, **config)
        model, images = model.double().train(), images[:8].repeat(copies, 1, 1, 1)
        each = [gradients(model, images, seed, labels) for seed in range(draws)]
        names = sorted(each[0][1])
        found[gradient] = torch.stack([torch.cat([g[name].flatten() for name in names]) for _, g in each])
        losses = [loss for loss, _ in each]
        if gradient == "reparameterized":
            expected = losses
    assert losses == pytest.approx(expected, rel=1e-6)
    plain, doubly = found["reparameterized"], found["doubly-reparameterized"]
    error = ((plain.var(0) + doubly.var(0)) / draws).sqrt()
    off = ((plain.mean(0) - doubly.mean(0)).abs() / (error + 1e-9)).sort().values
    assert off[int(0.99 * len(off))] < 3.7
    assert off.square().mean() < 1.3  # 1 were they normal and independent
    assert not torch.equal(plain, doubly)


def test_active_units():
    codes = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 3
    assert active_units(codes).tolist() == [True, True, False, False]
    with pytest.raises(LimnerError, match="two of them"):
        active_units(codes[:1])
