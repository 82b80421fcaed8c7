"""The yardstick itself: units, standard error, all images counted."""

import math

import pytest
import torch

from limner.data import MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation import bits_per_dim, measure_likelihood
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.vae import VAE, VAEConfig


def split(n, shape=(1, 4, 4)):
    images = torch.randint(0, 2, (n, *shape), generator=torch.Generator().manual_seed(0)) * 255
    return Split(MemoryStore(images.to(torch.uint8)))


def pixelcnn(spread=0.0):
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(features=8, blocks=1, head_features=8), (1, 4, 4), 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return model


def test_a_uniform_model_costs_one_bit_a_binary_pixel():
    measured = measure_likelihood(pixelcnn(), split(10))
    assert measured.nats_per_image == pytest.approx(16 * math.log(2))
    assert measured.bits_per_dim == pytest.approx(1.0)
    assert measured.nats_standard_error == pytest.approx(0.0, abs=1e-6)
    assert measured.bound == "exact"


def test_bits_per_dim():
    assert bits_per_dim(100.0, 784) == pytest.approx(100 / math.log(2) / 784)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 10, 100])
def test_every_image_counts_whatever_the_batch(batch_size):
    model, images = pixelcnn(0.5), split(10)
    measured = measure_likelihood(model, images, batch_size=batch_size)
    scores = -model.log_prob(images.take(torch.arange(10))).detach()
    assert measured.n == 10
    assert measured.nats_per_image == pytest.approx(scores.mean().item(), rel=1e-5)
    assert measured.nats_standard_error == pytest.approx(scores.std().item() / 10**0.5, rel=1e-4)


def test_limit_and_progress():
    seen = []
    measured = measure_likelihood(
        pixelcnn(0.5), split(10), batch_size=4, limit=7, on_progress=lambda done, total: seen.append((done, total))
    )
    assert measured.n == 7
    assert seen == [(4, 7), (7, 7)]


def test_vae_bound_says_what_it_is():
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent=2, network="dense", hidden=8), (1, 4, 4), 2)
    elbo = measure_likelihood(model, split(50))
    tight = measure_likelihood(model, split(50), importance_samples=64)
    assert elbo.bound == tight.bound == "lower"
    assert elbo.importance_samples is None
    assert tight.importance_samples == 64
    assert 1 <= tight.effective_samples <= 64
    # lower is better: the importance bound is never worse than the ELBO of the same samples
    assert tight.nats_per_image <= tight.elbo_nats_per_image + 1e-6
    assert tight.nats_per_image <= elbo.nats_per_image + 3 * elbo.nats_standard_error


def test_importance_samples_are_refused_where_nothing_is_bounded():
    with pytest.raises(LimnerError, match="exact already"):
        measure_likelihood(pixelcnn(), split(3), importance_samples=5)
    with pytest.raises(LimnerError, match="1 or more"):
        measure_likelihood(pixelcnn(), split(3), importance_samples=0)


def test_weights_that_are_no_numbers_are_named():
    model = pixelcnn()
    torch.nn.init.constant_(model.head_2.bias, math.nan)
    with pytest.raises(LimnerError, match="image 0"):
        measure_likelihood(model, split(3))
