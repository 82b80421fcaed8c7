"""The game's losses against their closed forms; the players: sizes, levels, classes, normalisations."""

import math
from typing import get_args, get_type_hints

import pytest
import torch

from limner.config.settings import with_settings
from limner.errors import LimnerError
from limner.models import Reconstructs, Samples, Scores, family
from limner.models.contracts import Latents
from limner.models.gan import GAN, OBJECTIVES, GANConfig, minimax, non_saturating
from limner.models.recipes import AdversarialConfig, Recipe

LOGITS = torch.linspace(-4, 4, 9, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# For real logit r and fake logit f: what the discriminator loses, what the generator loses, as the papers write it.
CLOSED = {
    "minimax": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: math.log(1 - sigmoid(f)),
    ),
    "non-saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
    "least-squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: math.log(1 + math.exp(f - r)), lambda r, f: math.log(1 + math.exp(r - f))),
}
# The slopes of the same in r and f (discriminator), and in f (generator).
SLOPES = {
    "minimax": (lambda r, f: sigmoid(r) - 1, lambda r, f: sigmoid(f), lambda r, f: -sigmoid(f)),
    "non-saturating": (lambda r, f: sigmoid(r) - 1, lambda r, f: sigmoid(f), lambda r, f: sigmoid(f) - 1),
    "least-squares": (lambda r, f: r - 1, lambda r, f: f, lambda r, f: f - 1),
    "hinge": (lambda r, f: -float(r < 1), lambda r, f: float(f > -1), lambda r, f: -1.0),
    "wasserstein": (lambda r, f: -1.0, lambda r, f: 1.0, lambda r, f: -1.0),
    "relativistic": (lambda r, f: -sigmoid(f - r), lambda r, f: sigmoid(f - r), lambda r, f: -sigmoid(r - f)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_and_slopes_are_those_of_the_equations(name):
    real, fake = (t.flatten().clone().requires_grad_() for t in torch.meshgrid(LOGITS, LOGITS, indexing="ij"))
    losses = OBJECTIVES[name](real, fake)
    pairs = list(zip(real.tolist(), fake.tolist(), strict=True))
    for loss, closed in zip(losses, CLOSED[name], strict=True):
        assert loss.tolist() == pytest.approx([closed(r, f) for r, f in pairs])
    slopes = [*torch.autograd.grad(losses[0].sum(), (real, fake)), torch.autograd.grad(losses[1].sum(), fake)[0]]
    for slope, closed in zip(slopes, SLOPES[name], strict=True):
        assert slope.tolist() == pytest.approx([closed(r, f) for r, f in pairs])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_logit_is_too_large(name):
    for real, fake in ((1e4, -1e4), (-1e4, 1e4)):
        logits = [torch.tensor([x], requires_grad=True) for x in (real, fake)]
        for loss in OBJECTIVES[name](*logits):
            assert loss.isfinite()
            slopes = torch.autograd.grad(loss.sum(), logits, allow_unused=True, retain_graph=True)
            assert all(s is None or s.isfinite() for s in slopes)


def test_the_generator_learns_where_minimax_is_flat():
    """A fake that the discriminator is sure of, D(G(z)) = -10: one slope is e^-10 of the other."""
    fake = torch.tensor([-10.0], requires_grad=True)
    slopes = [torch.autograd.grad(game(fake.detach(), fake)[1].sum(), fake)[0] for game in (minimax, non_saturating)]
    assert float(slopes[0]) == pytest.approx(-math.exp(-10), rel=1e-3)
    assert float(slopes[1]) == pytest.approx(-1, rel=1e-3)


def test_each_objective_can_be_asked_for():
    assert set(get_args(get_type_hints(AdversarialConfig)["objective"])) == set(OBJECTIVES)
    assert AdversarialConfig().objective in OBJECTIVES


# The players


def gan(shape=(1, 8, 8), levels=256, **config):
    torch.manual_seed(0)
    return GAN(GANConfig(**({"latent": 5, "hidden": 8, "features": 4} | config)), shape, levels)


def test_it_samples_and_has_no_likelihood():
    model = gan()
    assert isinstance(model, Samples)
    assert isinstance(model, Latents)
    assert not isinstance(model, Scores)
    assert not isinstance(model, Reconstructs)


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (1, 20, 28), (3, 32, 32), (3, 64, 64), (2, 9, 13), (1, 5, 4), (2, 1, 1)]
)
@pytest.mark.parametrize("network", ["dense", "dcgan", "residual"])
def test_any_size_and_channels(network, shape):
    model = gan(shape, network=network)
    fakes = model.draw(model.latents(3))
    assert fakes.shape == (3, *shape)
    assert fakes.abs().max() <= 1
    assert model.discriminator(fakes).shape == (3,)
    assert model.sample(2).shape == (2, *shape)


def test_images_are_the_nearest_levels():
    model = gan(levels=5)
    model.generator.layers = torch.nn.Unflatten(1, (1, 1, 5))
    wanted = torch.tensor([-1.0, -0.7, -0.2, 0.3, 0.99])
    z = torch.atanh(wanted.clamp(-0.999999, 0.999999))[None]
    assert model.decode(z).flatten().tolist() == [0, 64, 128, 191, 255]  # levels 0, 1, 2, 3, 4 of 0 .. 255


def test_a_class_moves_the_logit_by_its_projection():
    model = gan(classes=3).eval()
    x = model.draw(model.latents(4), torch.tensor([0, 1, 2, 0]))
    features = torch.nn.functional.leaky_relu(model.discriminator.layers(x), 0.2)
    with torch.no_grad():
        for y in range(3):
            gain = model.discriminator(x, torch.full((4,), y)) - model.discriminator(x)
            assert torch.allclose(gain, features @ model.discriminator.classes.weight[y], atol=1e-6)


def test_a_class_changes_the_image_and_must_be_known():
    model = gan(classes=3).eval()
    z = model.latents(1)
    assert not torch.equal(model.draw(z, torch.tensor([0])), model.draw(z, torch.tensor([1])))
    assert model.sample(4, labels=torch.arange(4) % 3).shape == (4, 1, 8, 8)
    with pytest.raises(LimnerError, match="give labels"):
        model.draw(z)
    with pytest.raises(LimnerError, match="classes are 0 to 2"):
        model.draw(z, torch.tensor([3]))
    with pytest.raises(LimnerError, match="no classes"):
        gan().sample(1, labels=torch.tensor([0]))


@pytest.mark.parametrize("network", ["dense", "dcgan", "residual"])
def test_spectral_norm_bounds_every_layer_of_the_discriminator_alone(network):
    model = gan(network=network, classes=2, discriminator_norm="spectral")
    x = torch.randn(4, 1, 8, 8)
    for _ in range(60):  # power iterations
        model.discriminator(x, torch.tensor([0, 1, 0, 1]))
    weights = [m.weight for m in model.discriminator.modules() if isinstance(getattr(m, "weight", None), torch.Tensor)]
    assert len(weights) >= 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    assert not any("parametrizations" in name for name, _ in model.generator.named_parameters())


def test_only_a_dcgan_has_batchnorm_and_the_discriminator_only_where_asked():
    kinds = torch.nn.modules.batchnorm._BatchNorm

    def counts(**config):
        model = gan((1, 28, 28), **config)
        return [sum(isinstance(m, kinds) for m in part.modules()) for part in (model.generator, model.discriminator)]

    assert counts(network="residual") == counts(network="dense") == [0, 0]
    assert counts(network="dcgan") == [2, 0]
    assert counts(network="dcgan", discriminator_norm="batch") == [2, 1]
    with pytest.raises(LimnerError, match="network=dcgan"):
        GANConfig(network="residual", discriminator_norm="batch")


@pytest.mark.parametrize("classes", [0, 3])
def test_standing_statistics_are_those_of_the_weights(classes):
    """The first BatchNorm sees W z: mean 0 and variance |w|², whatever training has left; G is a function of z."""
    torch.manual_seed(0)
    gan = GAN(GANConfig(latent=6, features=4, classes=classes), (3, 16, 16), 256).eval()
    first = gan.generator.layers.layers[0]
    first.running_mean.fill_(50.0)
    gan.take_standing_statistics(64, 16)
    z = gan.latents(4096, generator=torch.Generator().manual_seed(1))
    y = torch.arange(4096) % classes if classes else None
    seen = []
    first.register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    image = gan.draw(z, y)
    if not classes:
        start = gan.generator.layers.start.weight.square().sum(1).unflatten(0, (first.num_features, -1)).mean(1)
        assert torch.allclose(first.running_var, start, rtol=0.2)
    assert torch.allclose(first.running_var, seen[0].var((0, 2, 3)), rtol=0.2)
    assert first.running_mean.abs().max() < 0.3
    assert torch.equal(gan.draw(z[:5], y[:5] if classes else None), image[:5])
    before = [b.clone() for b in gan.buffers()]
    gan.take_standing_statistics(64, 16)
    assert all(torch.equal(a, b) for a, b in zip(before, gan.buffers(), strict=True))
    assert not gan.generator.training
    assert first.momentum == torch.nn.BatchNorm2d(1).momentum


def test_a_penalty_a_image_needs_logits_a_image():
    recipe = family("gan").recipe("default", (1, 28, 28))
    with pytest.raises(LimnerError, match=r"penalty=r1\+r2: with BatchNorm"):
        with_settings(recipe, ["discriminator_norm=batch", "objective=relativistic"])
    kept = with_settings(recipe, ["discriminator_norm=batch", "objective=non-saturating"])
    assert kept.training.chosen_penalty == "none"
    assert isinstance(kept, Recipe)
    assert isinstance(kept.training, AdversarialConfig)


def test_colour_has_a_weaker_penalty_and_smaller_batches():
    grey, colour = (family("gan").recipe("default", shape).training for shape in ((1, 28, 28), (3, 32, 32)))
    assert (grey.zero_penalty, grey.batch_size, grey.learning_rate) == (1.0, 64, 5e-4)
    assert (colour.zero_penalty, colour.batch_size, colour.learning_rate) == (0.1, 32, 1e-3)
