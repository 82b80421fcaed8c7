"""A training step of a dense VAE by compiled loops: the numbers of torch's own, from the same random numbers."""

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.vae import VAE, VAEConfig

compiled = pytest.importorskip("limner.nn.compiled_elbo")
DENSE = {"latent": 3, "network": "dense", "hidden": 20}


@pytest.fixture
def steps(monkeypatch):
    """Whether bfloat16, of each step by loops."""
    seen, elbo_terms = [], compiled.elbo_terms
    monkeypatch.setattr(compiled, "elbo_terms", lambda *a, **k: seen.append(k["bf16"]) or elbo_terms(*a, **k))
    return seen


def made(levels=2, **settings):
    torch.manual_seed(0)
    model = VAE(VAEConfig(**DENSE | settings), (1, 5, 7), levels).train()
    if model.config.network == "dense":
        with torch.no_grad():
            model.decoder.linears[-1].weight.normal_(std=0.1)  # it begins with zeros
    labels = torch.arange(9) % model.classes if model.classes else None
    return model, dequantize(torch.randint(0, levels, (9, 1, 5, 7)), levels), labels


def step(model, images, labels=None, bf16=False):
    torch.manual_seed(5)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        terms = model(images, torch.Generator().manual_seed(7), labels)
    torch.stack([t.mean() for t in terms.values()]).sum().backward()
    return terms, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("gradient", ["doubly-reparameterized", "reparameterized"])
@pytest.mark.parametrize(
    "more", [{}, {"activation": "tanh", "output_scale": True, "input_dropout": 0.3}, {"beta": 0.5}], ids=str
)
def test_the_terms_and_gradients_of_torch(gradient, more, steps, monkeypatch):
    model, images, _ = made(gradient=gradient, **more)
    loops, found = step(model, images)
    assert steps == [False]
    monkeypatch.setattr("limner.models.vae.terms_by_loops", lambda *_: None)
    plain, wanted = step(model, images)
    assert loops.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(loops[name], plain[name], rtol=1e-5, atol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not compiled.BF16, reason="no such instructions")
def test_under_autocast_in_bfloat16(steps):
    model, images, _ = made()
    exact, _ = step(model, images)
    near, _ = step(model, images, bf16=True)
    assert steps == [False, True]
    for name in exact:
        torch.testing.assert_close(near[name], exact[name], rtol=0.02, atol=0.02)
        assert not torch.equal(near[name], exact[name])


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": 2},
        {"free_bits": 0.1},
        {"prior": "mixture"},
        {"importance_samples": 5},
        {"levels": 4},
        {"network": "conv", "features": 4},
    ],
    ids=str,
)
def test_what_the_loops_do_not_know_is_left_to_torch(settings, steps):
    step(*made(**settings))
    assert steps == []


def test_validation_has_no_gradient_and_needs_no_loops(steps):
    model, images, _ = made()
    model.eval()(images)
    with torch.no_grad():
        model.train()(images)
    assert steps == []


def test_a_grey_pixel_is_named():
    model, images, _ = made()
    images[3, 0, 2, 2] = 77
    with pytest.raises(LimnerError, match="77"):
        model(images)
    with pytest.raises(LimnerError, match="this model was made for"):
        model(images[:, :, :4])
