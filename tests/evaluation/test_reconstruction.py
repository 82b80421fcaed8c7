import math

import pytest
import torch

from limner.data.imageset import MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation import measure_reconstruction, psnr, squared_error
from limner.models.autoencoder import Autoencoder, AutoencoderConfig


def made(levels=256, **config):
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig(latent=2, network="dense", hidden=8, **config), (1, 4, 4), levels)
    images = torch.randint(0, levels, (23, 1, 4, 4), dtype=torch.uint8)
    return model.eval(), images * (255 if levels == 2 else 1)


def measure(model, images, **words):
    return measure_reconstruction(model, Split(MemoryStore(images)), **words)


def test_squared_error_and_its_ratio():
    images = torch.full((2, 3, 4, 5), 100, dtype=torch.uint8)
    again = images.clone()
    again[1] += 51  # a fifth of the range
    assert squared_error(images, again) == pytest.approx(torch.tensor([0, 0.04], dtype=torch.float64))
    assert psnr(0.04) == pytest.approx(10 * math.log10(25))
    assert psnr(0.0) == math.inf


def test_it_is_the_mean_over_all_images():
    model, images = made()
    found = measure(model, images, batch_size=5)
    alone = squared_error(images, model.reconstruct(images))
    assert found.n == 23
    assert found.mse == pytest.approx(float(alone.mean()), abs=2e-3)  # reconstructions are rounded to 1/255
    assert found.mse_standard_error == pytest.approx(float(alone.std()) / 23**0.5, rel=1e-2)
    assert found.psnr == pytest.approx(-10 * math.log10(found.mse))
    assert (found.cross_entropy, found.corrupted_mse, found.denoised_mse) == (None, None, None)
    again = measure(model, images, batch_size=23)
    assert again.mse == pytest.approx(found.mse, rel=1e-6)
    first = measure(model, images, limit=1)
    assert (first.n, first.mse_standard_error) == (1, None)
    assert first.mse == pytest.approx(float(alone[0]), abs=2e-3)


def test_cross_entropy_of_binary_images():
    model, images = made(levels=2)
    found = measure(model, images)
    assert found.cross_entropy == pytest.approx(float(model(images)["cross_entropy"].mean().detach()) / 16, rel=1e-5)


def test_a_denoiser_is_measured_with_and_without_noise():
    model, images = made(corruption="masking", corruption_level=0.5)
    found = measure(model, images)
    clean = measure(made()[0], images)
    assert found.mse == clean.mse  # the same weights
    x = images / 255
    assert found.corrupted_mse == pytest.approx(0.5 * float(x.square().mean()), rel=0.2)
    assert found.denoised_mse != found.mse
    assert measure(model, images).denoised_mse == found.denoised_mse
    assert measure(model, images, seed=1).denoised_mse != found.denoised_mse


def test_what_cannot_be_measured():
    model, images = made()
    with pytest.raises(LimnerError, match="limit of images must be 1 or more"):
        measure(model, images, limit=0)
    torch.nn.init.constant_(model.encoder[1].weight, math.nan)
    with pytest.raises(LimnerError, match="image 0 has an error of nan"):
        measure(model, images)
