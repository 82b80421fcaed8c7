"""Compiled quadratic polynomials are those of float64, to the rounding of float32."""

import pytest
import torch

pytest.importorskip("numba")

from limner.models.two_phase import two_phase
from limner.nn.compiled_quadratic import quadratics


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("polynomials", "points", "d"), [(3, 100, 50), (1, 1, 1), (5, 48, 16), (2, 49, 17), (4, 7, 100)]
)
def test_they_are_those_of_float64(polynomials, points, d, threads, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    torch.manual_seed(0)
    x, a = torch.randn(polynomials, points, d), torch.randn(polynomials, d, d)
    b, c = torch.randn(polynomials, d), torch.randn(polynomials)
    exact = c[:, None] + torch.einsum("pki,pi->pk", x.double(), b.double())
    exact += torch.einsum("pki,pij,pkj->pk", x.double(), a.double(), x.double())
    assert quadratics(x, a, b, c) == pytest.approx(exact, rel=1e-5, abs=3e-6 * d)
    apart = x.transpose(0, 1).contiguous().transpose(0, 1)  # of another order in memory
    assert torch.equal(quadratics(apart, a, b, c), quadratics(x, a, b, c))


def test_two_phases_are_the_same_without_them(monkeypatch):
    torch.manual_seed(0)
    noise, uniforms = torch.randn(300, 4, 3), torch.rand(4, 1, dtype=torch.float64)

    def function(x):
        return torch.sin(x[..., 0]) - 0.5 * x[..., 1] ** 2 + 0.4 * x[..., 0] * x[..., 2] - 0.3 * x[..., 2] ** 4

    compiled = two_phase(function, noise, 60, uniforms)
    monkeypatch.setattr("limner.kernels.available", lambda: False)
    assert compiled == pytest.approx(two_phase(function, noise, 60, uniforms), rel=1e-4)
