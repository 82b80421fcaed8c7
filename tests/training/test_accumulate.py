"""A batch in parts has the gradient of the whole batch, from the same random numbers; what cannot be cut is named."""

import copy

import pytest
import torch
from lightning_fabric import Fabric

from limner.config.settings import with_settings
from limner.data import Batch
from limner.models import families
from limner.models.gan import GAN, GANConfig
from limner.models.recipes import AdversarialConfig
from limner.models.vae import VAE, VAEConfig
from limner.noise import drawn_whole, part_of_batch
from limner.training.adversarial import Adversarial
from limner.training.objectives import SingleLoss

IMAGES = 7
DRAWN = {  # what else draws while it learns
    "vae": ["importance_samples=3"],
    "ladder-vae": ["dropout=0.5"],
    "pixelcnn++": ["dropout=0.5"],
    "autoencoder": ["corruption=masking", "corruption_level=0.5"],
}


def gradients(model, config, parts, step=0):
    """Of each optimizer's step, by name, and the states of the generators afterwards."""
    images = torch.randint(0, 2, (IMAGES, 1, 8, 8), generator=torch.Generator().manual_seed(0)) * 255
    kind = Adversarial if isinstance(config, AdversarialConfig) else SingleLoss
    kept = copy.deepcopy(model).to(memory_format=torch.channels_last)
    objective = kind(kept, with_parts(config, parts), Fabric(accelerator="cpu", devices=1))
    found, names = {}, {id(p): n for n, p in kept.named_parameters()}
    for name, optimizer in objective.optimizers.items():
        optimizer.step = lambda factor, name=name, optimizer=optimizer: found.update(
            {(name, names[id(p)]): p.grad.clone() for p in optimizer.names.values() if p.grad is not None}
        )
    metrics = objective.step(Batch(images.to(torch.uint8)), 1.0, step)
    return found, metrics, (objective.random.get_state(), objective.dropout.get_state())


def with_parts(config, parts):
    return type(config)(**{**vars(config), "accumulate": parts, "clip_norm": 0.0})


def assert_alike(model, config):
    whole, metrics, states = gradients(model, config, 1)
    parts, in_parts, after = gradients(model, config, 3)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        scale = max(1.0, float(gradient.abs().max()))
        assert float((gradient - parts[name]).abs().max()) < 1e-5 * scale, name
    assert in_parts == pytest.approx(metrics, rel=1e-4, abs=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(states, after, strict=True))


@pytest.mark.parametrize("name", families())
def test_the_gradient_of_parts_is_that_of_the_whole(name, tiny):
    family = families()[name]
    recipe = with_settings(family.recipe("default", (1, 8, 8)), [*tiny[name], *DRAWN.get(name, [])], name)
    torch.manual_seed(0)
    model = family.model(recipe.network, (1, 8, 8), 2)
    with torch.no_grad():  # what starts at zero hides what lies behind it
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    assert_alike(model, recipe.training)


@pytest.mark.parametrize("objective", ["wasserstein", "relativistic", "minimax"])
def test_both_players_learn_from_parts_as_from_the_whole(objective):
    torch.manual_seed(0)
    model = GAN(GANConfig(network="dense", hidden=16, latent=4), (1, 8, 8), 2)
    assert_alike(model, AdversarialConfig(objective=objective))


def test_doubly_reparameterized_parts():
    torch.manual_seed(0)
    sizes = VAEConfig(network="dense", hidden=16, latent=3, importance_samples=4, gradient="doubly-reparameterized")
    assert_alike(VAE(sizes, (1, 8, 8), 2), families()["vae"].recipe("default", (1, 8, 8)).training)


def test_noise_of_a_part_is_cut_from_that_of_the_batch():
    def draw(shape):
        return torch.randn(shape, generator=torch.Generator().manual_seed(3))

    whole = draw((2, 5, 3))
    with part_of_batch(1, 4, 5):
        assert torch.equal(drawn_whole(draw, (2, 3, 3), images=1), whole[:, 1:4])
        assert drawn_whole(draw, (6,)).shape == (6,)  # of something else than the images
    assert torch.equal(drawn_whole(draw, (2, 5, 3), images=1), whole)


def test_what_is_of_the_whole_batch_is_named():
    assert GAN(GANConfig(network="dcgan"), (1, 8, 8), 2).statistics_of_batch == ["BatchNorm's moments"]
    assert VAE(VAEConfig(free_bits=0.5), (1, 8, 8), 2).statistics_of_batch == ["free_bits' mean KL"]
    assert VAE(VAEConfig(), (1, 8, 8), 2).statistics_of_batch == []
