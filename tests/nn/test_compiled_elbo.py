"""The ELBO of dense networks by compiled loops: its terms and gradients beside torch's in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.nn.coders import DenseDecoder, DenseEncoder

compiled = pytest.importorskip("limner.nn.compiled_elbo")

# Shape, pictures, hidden units, latents: whole vectors, and none of these numbers a multiple of a vector.
SIZES = [((1, 8, 8), 64, 32, 16), ((1, 7, 9), 13, 31, 3), ((3, 4, 5), 37, 70, 2), ((1, 3, 3), 1, 5, 1)]
PRECISIONS = [
    pytest.param(False, id="float32"),
    pytest.param(True, id="bf16", marks=pytest.mark.skipif(not compiled.BF16, reason="no such instructions")),
]


def made(size, activation, seed=0):
    """Networks, pictures, noise, and what is kept of the encoder's input."""
    shape, pictures, hidden, latent = size
    torch.manual_seed(seed)
    encoder = DenseEncoder(shape, hidden, 2 * latent, activation)
    decoder = DenseDecoder(latent, hidden, shape, activation)
    images = 255 * (torch.rand(pictures, *shape) < 0.3).to(torch.uint8)
    return encoder, decoder, images, torch.randn(pictures, latent), F.dropout(torch.ones(images.shape), 0.2)


def written_down(encoder, decoder, images, noise, keep, scale, doubly):
    """The terms as in the papers, in float64."""
    x = (images > 0).double()
    mean, raw = encoder((2 * x - 1) * keep.double()).chunk(2, 1)
    log_std = 7 * torch.tanh(raw / 7)
    z = mean + torch.exp(log_std) * noise.double()
    logits = scale.double() * decoder(z)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    kl = (0.5 * (mean**2 + torch.exp(2 * log_std) - 1) - log_std).sum(1)
    if doubly:  # ln q(z|x) - ln p(z) with μ and σ held, 1703.09194
        log_q = -0.5 * ((z - mean.detach()) * torch.exp(-log_std.detach())) ** 2 - log_std.detach()
        path = (log_q + 0.5 * z**2).sum(1)
        kl = kl.detach() + path - path.detach()
    return reconstruction, kl


@pytest.mark.parametrize("bf16", PRECISIONS)
@pytest.mark.parametrize("doubly", [False, True])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
@pytest.mark.parametrize("size", SIZES)
def test_terms_and_gradients(size, activation, doubly, bf16, threads):
    encoder, decoder, images, noise, keep = made(size, activation)
    scale = torch.tensor(1.3, requires_grad=True)
    parameters = [*encoder.parameters(), *decoder.parameters(), scale]
    weights = torch.rand(2, len(images), generator=torch.Generator().manual_seed(1))
    more = {"keep": keep, "scale": scale, "doubly": doubly, "bf16": bf16}
    *terms, binary = compiled.elbo_terms(encoder, decoder, images, noise, **more)
    assert binary
    found = torch.autograd.grad(sum((w * t).sum() for w, t in zip(weights, terms, strict=True)), parameters)
    encoder.double(), decoder.double()
    right = written_down(encoder, decoder, images, noise, keep, scale, doubly)
    total = sum((w * t).sum() for w, t in zip(weights.double(), right, strict=True))
    wanted = torch.autograd.grad(total, [*encoder.parameters(), *decoder.parameters(), scale])
    near = 0.02 if bf16 else 2e-6 if activation is nn.Tanh else 1e-5  # the error function of GELU is right to 1.5e-7
    for one, other in zip((*terms, *found), (*right, *wanted), strict=True):
        assert one.dtype == torch.float32
        far, size = float((one - other).detach().abs().max()), float(other.detach().abs().max())
        assert far <= near * max(1e-2, size)


def test_a_step_knows_nothing_of_the_one_before(threads):
    """Their arrays are the same."""
    encoder, decoder, images, noise, _ = made(SIZES[1], nn.Tanh)
    parameters = list(encoder.parameters())

    def step(images, noise):
        reconstruction, kl, _ = compiled.elbo_terms(encoder, decoder, images, noise)
        return torch.autograd.grad((reconstruction + kl).sum(), parameters)

    first = step(images, noise)
    other = step(255 - images, -noise)
    assert not torch.equal(first[0], other[0])
    assert all(torch.equal(x, y) for x, y in zip(first, step(images, noise), strict=True))


def test_two_steps_at_once():
    encoder, decoder, images, noise, _ = made(SIZES[1], nn.Tanh)
    parameters = list(encoder.parameters())
    both = [compiled.elbo_terms(encoder, decoder, x, noise)[:2] for x in (images, 255 - images)]
    second, first = (torch.autograd.grad(sum(terms).sum(), parameters) for terms in both[::-1])
    for x, found in ((images, first), (255 - images, second)):
        alone = torch.autograd.grad(sum(compiled.elbo_terms(encoder, decoder, x, noise)[:2]).sum(), parameters)
        assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))


def test_a_gradient_is_taken_once():
    encoder, decoder, images, noise, _ = made(SIZES[1], nn.Tanh)
    total = sum(compiled.elbo_terms(encoder, decoder, images, noise)[:2]).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute them again"):
        total.backward()


def test_grey_pixels_are_told(threads):
    encoder, decoder, images, noise, _ = made(SIZES[2], nn.Tanh)
    images[-1, -1, -1, -1] = 254
    assert not compiled.elbo_terms(encoder, decoder, images, noise)[2]


def test_weights_that_are_no_numbers_show(threads):
    """A run that diverges must stop."""
    encoder, decoder, images, noise, _ = made(SIZES[1], nn.GELU)
    with torch.no_grad():
        decoder.linears[0].weight[0, 0] = torch.nan
    assert compiled.elbo_terms(encoder, decoder, images, noise)[0].isnan().all()
