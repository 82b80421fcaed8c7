"""GELU by compiled loops beside the one of torch in float64, over all numbers that bfloat16 has."""

import pytest
import torch
import torch.nn.functional as F

from limner.nn import activations

pytest.importorskip("numba")
BF16 = pytest.importorskip("limner.kernels.tile").BF16
pytestmark = pytest.mark.skipif(not BF16, reason="no such instructions")


@pytest.fixture
def loops(monkeypatch):
    """How often they ran."""
    ran, by_loops = [], activations._by_loops
    monkeypatch.setattr(activations, "_by_loops", lambda *a: ran.append(1) or by_loops(*a))
    return ran


def all_numbers():
    """Of bfloat16, all that are finite."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return x[x.isfinite()]


def near(found, wanted):
    """Within a unit of bfloat16's last place, and 2e-7 of float32's error function times what it is multiplied by."""
    far = (found.double() - wanted).abs()
    return bool((far <= 2**-8 * wanted.abs() + 4e-7).all())


def test_all_numbers(threads, loops):
    x = all_numbers().requires_grad_()
    y = activations.gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert len(loops) == 2
    exact = x.detach().double().requires_grad_()
    wanted = F.gelu(exact)
    (wanted_slope,) = torch.autograd.grad(wanted.sum(), exact)
    assert y.dtype == slope.dtype == torch.bfloat16
    small = exact.abs() < 8  # beyond, the error of Φ is multiplied by x
    assert near(y[small], wanted[small])
    assert near(slope[small], wanted_slope[small])
    assert torch.equal(y[exact >= 8], x[exact >= 8])
    assert float(y.detach()[exact <= -8].abs().max()) < 1e-5
    assert torch.equal(slope[exact >= 8], torch.ones_like(slope[exact >= 8]))


@pytest.mark.parametrize("more", [0, 1, 15, 17])
def test_any_number_of_numbers_and_nothing_beyond(more, threads, loops):
    n = activations.MANY + more
    x = torch.randn(n).bfloat16()
    room = torch.full((n + 64,), 7.0).bfloat16()
    found = activations.gelu(x)
    room[:n] = found
    assert len(loops) == 1
    assert near(found, F.gelu(x.double()))
    assert torch.equal(room[n:], torch.full((64,), 7.0).bfloat16())


def test_layouts_of_memory(threads, loops):
    x = torch.randn(4, 32, 16, 15).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    given = torch.randn(4, 32, 16, 15).bfloat16()  # in another layout
    y = activations.gelu(x)
    assert y.stride() == x.stride()
    (slope,) = torch.autograd.grad(y, x, given)
    exact = x.detach().double().requires_grad_()
    wanted = F.gelu(exact)
    assert near(y, wanted)
    (wanted_slope,) = torch.autograd.grad(wanted, exact, given.double())
    far = (slope.double() - wanted_slope).abs()
    assert bool((far <= 2**-7 * wanted_slope.abs() + 1e-5).all())
    assert len(loops) == 2
    activations.gelu(x.detach()[:, ::2])  # with gaps: torch's
    assert len(loops) == 2


def test_the_gradients_gradient():
    x = torch.randn(activations.MANY).bfloat16().requires_grad_()
    (slope,) = torch.autograd.grad(activations.gelu(x).sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), x)
    (wanted_slope,) = torch.autograd.grad(F.gelu(x).sum(), x, create_graph=True)
    (wanted,) = torch.autograd.grad(wanted_slope.sum(), x)
    assert torch.equal(curve, wanted)


def test_what_is_no_number_stays_none():
    x = torch.zeros(activations.MANY).bfloat16()
    x[5] = torch.nan
    assert bool(activations.gelu(x)[5].isnan())
    assert int(activations.gelu(x).isnan().sum()) == 1


@pytest.mark.parametrize("x", [torch.randn(100_000), torch.randn(100).bfloat16(), torch.randn(9, 9).double()])
def test_other_numbers_are_left_to_torch(x, loops):
    assert torch.equal(activations.gelu(x), F.gelu(x))
    assert torch.equal(activations.GELU()(x), F.gelu(x))
    assert loops == []
