"""Autoencoder: its errors are those of their equations, its corruptions are what they are called."""

import math

import pytest
import torch

from limner.data import dequantize
from limner.models import Features, Latents, Reconstructs, Samples, Scores
from limner.models.autoencoder import Autoencoder, AutoencoderConfig


def tiny(shape=(1, 3, 2), levels=2, **config):
    torch.manual_seed(0)
    settings = {"latent": 2, "network": "dense", "hidden": 8} | config
    return Autoencoder(AutoencoderConfig(**settings), shape, levels).double().eval()


def random_images(n, shape, levels):
    k = torch.randint(0, levels, (n, *shape), generator=torch.Generator().manual_seed(1))
    return k, dequantize(k, levels)


@pytest.mark.parametrize(("levels", "error"), [(2, "auto"), (17, "auto"), (2, "squared"), (17, "cross-entropy")])
def test_errors_are_those_of_their_equations(levels, error):
    model = tiny(levels=levels, error=error).requires_grad_(False)
    k, images = random_images(5, (1, 3, 2), levels)
    x = (k.double() / (levels - 1)).flatten(1)
    again = torch.sigmoid(model.decoder(model.encoder(2 * x.view(k.shape) - 1))).flatten(1)
    ((name, found),) = model(images).items()
    if name == "squared_error":
        assert found == pytest.approx((x - again).square().sum(1), abs=1e-12)
    else:
        assert found == pytest.approx(-(x * again.log() + (1 - x) * (-again).log1p()).sum(1), abs=1e-9)
    assert name == ("squared_error" if error == "squared" or (error, levels) == ("auto", 17) else "cross_entropy")
    assert (model.decode(model.encode(images)) / 255).flatten(1) == pytest.approx(again, abs=0.5 / 255 + 1e-6)


def test_it_has_codes_and_nothing_else():
    model = tiny()
    assert isinstance(model, Reconstructs)
    assert isinstance(model, Features)
    for capability in (Scores, Samples, Latents):
        assert not isinstance(model, capability)
    _, images = random_images(4, (1, 3, 2), 2)
    assert torch.equal(model.reconstruct(images), model.decode(model.encode(images)))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 5, 9), (1, 1, 2), (3, 37, 13)])
@pytest.mark.parametrize("network", ["dense", "conv"])
@pytest.mark.parametrize("corruption", ["none", "affine"])
def test_any_size_and_channels(shape, network, corruption):
    config = AutoencoderConfig(latent=3, network=network, hidden=8, features=4, corruption=corruption)
    model = Autoencoder(config, shape, 256)
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    assert model.encode(images).shape == (2, 3)
    assert model.reconstruct(images).shape == images.shape
    assert torch.isfinite(model(images)["squared_error"]).all()


def corrupted(kind, x, level=0.3, seed=0):
    model = tiny(x.shape[1:], corruption=kind, corruption_level=level)
    return model.corrupted(x, torch.Generator().manual_seed(seed))


def test_masking_and_salt_and_pepper_destroy_a_part():
    x = torch.full((50, 1, 20, 20), 0.4, dtype=torch.float64)
    deviation = math.sqrt(0.3 * 0.7 / x.numel())
    masked = corrupted("masking", x)
    assert set(masked.unique().tolist()) == {0.0, 0.4}
    assert float((masked == 0).double().mean()) == pytest.approx(0.3, abs=4 * deviation)
    salted = corrupted("salt-and-pepper", x)
    assert set(salted.unique().tolist()) == {0.0, 0.4, 1.0}
    for value in (0.0, 1.0):
        assert float((salted == value).double().mean()) == pytest.approx(0.15, abs=4 * deviation)
    assert not torch.equal(masked, corrupted("masking", x, seed=1))
    assert torch.equal(corrupted("none", x), x)


def test_gaussian_noise_has_its_deviation():
    noise = corrupted("gaussian", torch.zeros(50, 1, 20, 20, dtype=torch.float64))
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert abs(float(noise.mean())) < 4 * 0.3 / math.sqrt(noise.numel())


def test_affine_maps_move_each_image_its_own_way():
    x = torch.zeros(400, 1, 15, 15, dtype=torch.float64)
    x[:, :, 7, 7] = 1.0
    assert corrupted("affine", x, level=0.0) == pytest.approx(x, abs=1e-12)
    moved = corrupted("affine", x, level=0.4)
    place = torch.arange(15, dtype=torch.float64) - 7
    mass = moved.sum((1, 2, 3))
    seen = mass > 0.1
    across = ((moved.sum((1, 2)) * place).sum(1) / mass)[seen]  # where the point has come to
    assert seen.double().mean() > 0.9
    assert across.abs().max() <= 0.4 * 7.5 / 0.2 + 0.5  # a shift of 0.4 half sides, through a map that shrinks to 0.2
    assert across.std() > 1
    assert moved.unique(dim=0).shape[0] > 300
    grey = torch.full((4, 3, 6, 5), 0.7, dtype=torch.float64)
    assert corrupted("affine", grey) == pytest.approx(grey)  # no black comes in at the borders


def test_a_denoiser_comes_near_the_posterior_mean_and_no_nearer():
    """Of two images a and b in noise N(0, σ²) the least squared error is that of E[x | x̃], known in closed form."""
    k = torch.tensor([[0, 1, 2, 1], [0, 2, 1, 2]]).view(2, 1, 2, 2)  # of 5 levels
    sigma, images = 0.4, dequantize(k, 5)
    model = tiny((1, 2, 2), 5, hidden=16, corruption="gaussian", corruption_level=sigma, error="squared").float()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        loss = model(images.repeat(200, 1, 1, 1), generator)["squared_error"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = model.unit_intensities(images.repeat(20_000, 1, 1, 1))
    given = model.corrupted(x, generator)
    a, b = x[0].flatten(), x[1].flatten()
    logit = (given.flatten(1) @ (a - b) - (a @ a - b @ b) / 2) / sigma**2
    best = torch.sigmoid(logit)[:, None] * a + torch.sigmoid(-logit)[:, None] * b
    truth = (best - x.flatten(1)).square().sum(1)
    with torch.no_grad():
        reached = model.errors(x, given)["squared_error"].flatten(1).sum(1)
    assert float(reached.mean()) < 1.1 * float(truth.mean())
    excess = (reached - truth).double()
    assert float(excess.mean()) > -4 * float(excess.std()) / math.sqrt(len(x))
