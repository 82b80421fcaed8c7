"""Ladder VAE: its bounds are bounds, ε is a code of standard normal numbers, layers know those above them."""

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models import family
from limner.models.ladder_vae import LadderVAE, LadderVAEConfig


def tiny(shape=(1, 2, 2), levels=2, std=0.5, **config):
    torch.manual_seed(0)
    model = LadderVAE(LadderVAEConfig(**({"features": 4, "latent": 1} | config)), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval().requires_grad_(False)


def random_images(*shape, levels=2):
    k = torch.randint(levels, shape, generator=torch.Generator().manual_seed(1))
    return dequantize(k, levels)


def every_image(levels):
    return torch.tensor(list(itertools.product(range(levels), repeat=4))).view(-1, 1, 2, 2)


def exact_log_prob(model, k, labels=None):
    """ln ∫ p(x|ε) N(ε; 0, I) dε by a fine grid over two numbers, one of each of two layers."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    code = torch.cartesian_prod(axis, axis)
    log_prior = -0.5 * (code**2).sum(1) - math.log(2 * math.pi) + 2 * math.log(float(axis[1] - axis[0]))
    p = model.likelihood(code, None if labels is None else labels.expand(len(code)))
    return torch.stack(
        [torch.logsumexp(p.log_prob(x.expand(len(code), *x.shape)).flatten(1).sum(1) + log_prior, 0) for x in k]
    )


def normals(model, images, samples=3):
    """Of one pass down for each of S·B: p(z_l | z_<l), q(z_l | z_<l, x) and z_l of each layer; and the weights."""
    found = {"prior": [], "posterior": [], "z": []}
    layers = model.stochastic_layers
    hooks = [layer.prior.register_forward_hook(lambda m, i, o: found["prior"].append(o)) for layer in layers]
    hooks += [layer.posterior.register_forward_hook(lambda m, i, o: found["posterior"].append(o)) for layer in layers]
    hooks += [layer.join.register_forward_hook(lambda m, i, o: found["z"].append(i[0])) for layer in layers]
    generator = torch.Generator().manual_seed(3)
    k = model.checked_levels(images)

    def draw(s, shape):
        return torch.randn(s, len(k), *shape, generator=generator)

    weights = model.weights(k, model.infer(k, None), None, samples, draw)
    for hook in hooks:
        hook.remove()
    layers = []
    for prior, posterior, z in zip(found["prior"], found["posterior"], found["z"], strict=True):
        (mean, log_std), (shift, log_scale) = (x.chunk(2, 1) for x in (prior, posterior))
        std, scale = (torch.exp(7 * torch.tanh(x / 7)) for x in (log_std, log_scale))
        layers.append((Normal(mean, std), Normal(mean + std * shift, std * scale), z))
    return layers, weights


@pytest.mark.parametrize(("levels", "layer_norm"), [(2, False), (3, False), (3, True)])
def test_importance_bound_meets_the_truth_from_below(levels, layer_norm):
    model = tiny(levels=levels, layer_norm=layer_norm)
    k = every_image(levels)
    truth = exact_log_prob(model, k)
    assert truth.exp().sum().item() == pytest.approx(1, abs=1e-6)  # the marginal is a distribution over images
    images = dequantize(k, levels)
    means, errors = [], []
    for samples in (1, 10, 100):
        bound = model.importance_bound(images.repeat(600 // samples, 1, 1, 1), samples).log_prob
        gaps = bound.view(-1, len(truth)) - truth
        means.append(gaps.mean().item())
        errors.append(gaps.std().item() / gaps.numel() ** 0.5)
    assert means[0] < means[1] + 3 * errors[0]
    assert means[1] < means[2] + 3 * errors[1]
    assert all(mean < 4 * error for mean, error in zip(means, errors, strict=True))
    tight = model.importance_bound(images, 3000)
    covered = tight.effective_samples > 300
    assert covered.float().mean() > 0.5
    assert ((tight.log_prob - truth)[covered].abs() < 5 / tight.effective_samples[covered].sqrt()).all()


def test_each_class_is_a_distribution():
    model = tiny(classes=2)
    k = every_image(2)
    of_class = torch.stack([exact_log_prob(model, k, torch.tensor([y])) for y in range(2)])
    assert of_class.exp().sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert (of_class[0] - of_class[1]).abs().max() > 1e-3
    bound = model.importance_bound(dequantize(k, 2), 3000)
    assert bound.log_prob == pytest.approx(of_class.exp().mean(0).log(), abs=0.3)


def test_terms_are_those_of_z_itself():
    """KL and ln p(z) - ln q(z|x), computed of ε, are those of the normals that z has."""
    model = tiny(shape=(1, 11, 17), features=3, latent=2, std=0.3)
    images = random_images(2, 1, 11, 17)
    layers, weights = normals(model, images)
    assert [z.shape[2:] for _, _, z in layers] == [(1, 1), (1, 1), (6, 9), (6, 9)]
    kl = torch.stack([kl_divergence(q, p).flatten(1).sum(1) for p, q, _ in layers])
    assert weights.kl.flatten(1) == pytest.approx(kl)
    log_ratio = sum((p.log_prob(z) - q.log_prob(z)).flatten(1).sum(1) for p, q, z in layers)
    assert weights.log_ratio.flatten() == pytest.approx(log_ratio)


def test_elbo_is_the_mean_log_weight():
    model = tiny(shape=(1, 4, 3), std=0.4)
    images = random_images(4, 1, 4, 3)
    single = model.importance_bound(images.repeat_interleave(3000, 0), 1).log_prob.view(4, -1)
    closed = model.importance_bound(images, 3000).elbo
    assert ((single.mean(1) - closed).abs() < 5 * single.std(1) / 3000**0.5 + 0.02).all()


def test_loss_is_the_negative_elbo_and_training_adds_what_it_names():
    model = tiny(shape=(1, 4, 3), free_bits=2.0)
    images = random_images(5, 1, 4, 3)
    terms = model.loss_terms(images, torch.Generator().manual_seed(0))
    assert set(terms) == {"reconstruction", "kl"}
    assert sum(terms.values()) == pytest.approx(-model.log_prob(images, generator=torch.Generator().manual_seed(0)))
    more = model.train().loss_terms(images, torch.Generator().manual_seed(0))
    assert more["kl"] == pytest.approx(terms["kl"])
    assert (more["free_bits"] >= 0).all()
    assert "no bound" in model.loss_note


def test_a_code_is_what_the_layers_share_without_noise():
    model = tiny(shape=(2, 7, 5), levels=5, features=3)
    images = random_images(3, 2, 7, 5, levels=5)
    k = model.checked_levels(images)
    code = model.encode(images)
    assert code.shape == model.latents(3).shape == (3, sum(math.prod(layer.shape) for layer in model.stochastic_layers))
    still = model.weights(k, model.infer(k, None), None, 1, lambda s, shape: torch.zeros(s, 3, *shape))
    assert still.log_x[0] == pytest.approx(model.likelihood(code).log_prob(k).flatten(1).sum(1))
    assert torch.equal(model.decode(code), model.reconstruct(images))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_layers_know_those_above_and_none_below(layer_norm):
    model = tiny(shape=(1, 11, 11), features=3, layer_norm=layer_norm)
    images = random_images(1, 1, 11, 11)
    seen = model.infer(model.checked_levels(images), None)
    code = model.encode(images)
    sizes = [math.prod(layer.shape) for layer in model.stochastic_layers]
    for moved in range(len(sizes)):
        other = list(code.split(sizes, 1))
        other[moved] = other[moved] + 1
        parts, posteriors = iter(zip(other, seen, strict=True)), []

        def choose(layer, h):
            part, below = next(parts)  # noqa: B023
            posteriors.append(layer.relative_posterior(h, below)[0].flatten(1))  # noqa: B023
            return part.unflatten(1, layer.shape)

        model.descend(choose, 1, None)
        changed = [not torch.allclose(a, b) for a, b in zip(posteriors, code.split(sizes, 1), strict=True)]
        assert changed == [i > moved for i in range(len(sizes))]


def test_a_new_model_says_nothing_of_a_image():
    """The posterior begins at the prior."""
    model = LadderVAE(LadderVAEConfig(features=4), (1, 9, 9), 2)
    assert model.loss_terms(random_images(2, 1, 9, 9))["kl"].tolist() == [0, 0]


def test_conditional_models_need_the_class_to_decode():
    model = tiny(classes=3)
    with pytest.raises(LimnerError, match="one of 3 classes"):
        model.decode(model.latents(2))
    with pytest.raises(LimnerError, match="label 3"):
        model.decode(model.latents(2), torch.tensor([0, 3]))
    images = random_images(6, 1, 2, 2)
    assert torch.equal(model.encode(images), model.encode(images, model.likeliest(images)))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 20, 28), (3, 5, 9), (1, 8, 8), (1, 1, 2), (3, 37, 13)])
@pytest.mark.parametrize("config", [{}, {"patch": 1, "layers": 1, "head": "softmax"}, {"patch": 3, "dropout": 0.2}])
def test_any_size_and_channels(shape, config):
    model = LadderVAE(LadderVAEConfig(features=3, latent=1, **config), shape, 256)
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    assert model.reconstruct(images).shape == images.shape
    assert model.sample(3).shape == (3, *shape)
    assert torch.isfinite(model.log_prob(images)).all()


@pytest.mark.parametrize("layer_norm", [False, True])
def test_what_lies_far_out_in_one_layer_is_multiplied_by_those_below_it_unless_they_normalise(layer_norm):
    """A ln σ of 7 at the top, as a young posterior may have: the maps of the finest size, in float32."""
    torch.manual_seed(0)
    model = LadderVAE(LadderVAEConfig(features=4, layer_norm=layer_norm), (3, 32, 32), 256)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.orthogonal_(parameter, 2.0)
    maps = []
    model.out.register_forward_hook(lambda module, inputs, output: maps.append(inputs[0].abs().max().item()))
    noise = torch.randn(2, model.codes(None)(1).shape[1], generator=torch.Generator().manual_seed(0))
    top = math.prod(model.stochastic_layers[0].shape)
    with torch.no_grad():
        for first in (1.0, math.exp(7)):
            model.likelihood(torch.cat([first * noise[:, :top], noise[:, top:]], 1), None)
    assert (maps[1] < 10 * maps[0]) == layer_norm
    assert math.isfinite(maps[1]) or not layer_norm


def test_larger_images_are_normalised():
    recipes = [
        family("ladder-vae").recipe("default", shape).network for shape in ((1, 28, 28), (3, 32, 32), (1, 64, 64))
    ]
    assert [network.layer_norm for network in recipes] == [False, True, True]
    assert family("ladder-vae").recipe("strong", (3, 32, 32)).network.layer_norm


def test_the_strong_recipe_is_the_more_regularised():
    default, strong = (family("ladder-vae").recipe(name, (1, 28, 28)) for name in ("default", "strong"))
    assert strong.network.dropout > default.network.dropout
    assert strong.network.features > default.network.features
    model = LadderVAE(strong.network, (1, 28, 28), 2)
    assert all(dict(model.named_parameters())[name].dim() >= 2 for name in model.muon_parameters())
    with pytest.raises(LimnerError, match="ladder-vae has default, strong"):
        family("ladder-vae").recipe("small", (1, 28, 28))
