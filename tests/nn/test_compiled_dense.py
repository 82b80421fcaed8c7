"""The compiled dense decoder gives the likelihood of the plain one, to the rounding of float32."""

import pytest
import torch

pytest.importorskip("numba")

from limner.kernels.tile import BF16
from limner.models.vae import VAE, VAEConfig

SIZES = [((1, 28, 28), 200, 50, 0), ((3, 5, 7), 19, 3, 0), ((1, 6, 7), 5, 1, 2)]


def case(shape, hidden, latent, classes, activation, **more):
    """A model, 7 pictures, 11 codes of each, and their labels."""
    torch.manual_seed(0)
    config = VAEConfig(latent=latent, network="dense", hidden=hidden, activation=activation, classes=classes, **more)
    model = VAE(config, shape, 2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.5 / hidden**0.5)
    labels = torch.arange(7) % 2 if classes else None
    return model, torch.randint(0, 2, (7, *shape)), torch.randn(11, 7, latent), labels


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize(("shape", "hidden", "latent", "classes"), SIZES)
def test_it_is_the_plain_likelihood(shape, hidden, latent, classes, activation, threads, monkeypatch):
    model, k, z, labels = case(shape, hidden, latent, classes, activation)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    with torch.no_grad():
        compiled = model.log_likelihood(k, z, labels)
        monkeypatch.setattr("limner.kernels.available", lambda: False)
        plain = model.log_likelihood(k, z, labels)
        exact = model.double().log_likelihood(k, z.double(), labels)
    assert compiled.dtype == torch.float64
    assert compiled == pytest.approx(exact, rel=3e-6, abs=2e-4)
    assert (compiled - exact).abs().mean() < 3 * (plain - exact).abs().mean() + 1e-6


@pytest.mark.skipif(not BF16, reason="this processor has no bfloat16 products")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize(("shape", "hidden", "latent", "classes"), SIZES)
def test_under_autocast_it_rounds_weights_and_outputs_and_nothing_else(
    shape, hidden, latent, classes, activation, threads, monkeypatch
):
    model, k, z, labels = case(shape, hidden, latent, classes, activation)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)

    def rounded(x):
        return x.bfloat16().double()

    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            compiled = model.log_likelihood(k, z, labels)
        floats = model.log_likelihood(k, z, labels)
        (first, *rest), activate = model.decoder.linears, model.decoder.activation()
        y = None if labels is None else labels.repeat(11)
        x = activate(first(model._with_class(z.flatten(0, 1), y)))
        for layer in rest:
            x = rounded(x if layer is rest[0] else activate(x)) @ rounded(layer.weight).T
            x = x + layer.bias.double()
        x = x.view(11, 7, -1)
        expected = (k.flatten(1) * x - torch.nn.functional.softplus(x)).sum(2)
    own, other = (compiled - expected).abs(), (compiled - floats).abs()
    assert own.median() < 1e-4 * expected.abs().mean()  # a number may be rounded the other way, after its last digit
    assert own.mean() < 0.1 * other.mean()


@pytest.mark.parametrize("bf16", [False, True])
def test_it_scales_what_the_decoder_gives(bf16):
    model, k, z, _ = case((1, 6, 7), 5, 2, 0, "tanh", output_scale=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        before = model.log_likelihood(k, z)
        model.log_scale.fill_(0.7)
        compiled, exact = model.log_likelihood(k, z), model.double().log_likelihood(k, z.double())
    assert compiled == pytest.approx(exact, rel=1e-2 if bf16 and BF16 else 3e-6)
    assert (compiled - before).abs().mean() > 1


def test_far_logits_are_finite():
    model = VAE(VAEConfig(latent=2, network="dense", hidden=4), (1, 3, 3), 2).eval()
    for parameter in model.decoder.parameters():
        torch.nn.init.constant_(parameter, 30.0)
    k, z = torch.zeros(2, 1, 3, 3, dtype=torch.int64), torch.ones(3, 2, 2)
    with torch.no_grad():
        compiled, exact = model.log_likelihood(k, z), model.double().log_likelihood(k, z.double())
    assert compiled == pytest.approx(exact, rel=1e-6)
