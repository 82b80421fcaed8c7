"""Muon in batches beside torch's own, which takes one matrix after the other."""

from functools import partial

import pytest
import torch
from torch.optim import Muon

from limner.training.optimizers import BatchedMuon, orthogonalized

SHAPES = [(8, 8), (8, 24), (24, 8), (8, 24), (1, 5), (24, 8), (5, 1)]


def moved(optimizer_of, steps=3):
    """Parameters after a few steps, and their state; the first has a gradient in the first step only."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(shape, generator=generator) for shape in SHAPES]
    optimizer = optimizer_of(parameters, lr=0.02, weight_decay=0.1)
    for step in range(steps):
        for i, p in enumerate(parameters):
            p.grad = torch.randn(p.shape, generator=generator) if i or not step else None
        optimizer.step()
    return parameters, [optimizer.state[p]["momentum_buffer"] for p in parameters]


@pytest.mark.parametrize("bf16", [False, True])
def test_it_moves_as_torch_does(bf16):
    ours, theirs = moved(partial(BatchedMuon, bf16=bf16)), moved(Muon)
    for a, momentum, b, its in zip(*ours, *theirs, strict=True):
        assert torch.allclose(a, b, atol=2e-3), (a - b).abs().max()  # of moves of 0.02 and more, in bfloat16
        assert torch.equal(momentum, its)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 10, 30), (6, 30, 10), (6, 12, 12)])
def test_nearly_orthogonal_and_each_by_itself(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    x[2] *= 1e4  # it would drown the others in a common norm
    found = orthogonalized(x)
    assert found.dtype == dtype
    values = torch.linalg.svdvals(found.float())
    assert float(values.max()) < 1.3
    assert float(values[:, 0].min()) > 0.6
    for one, alone in zip(found, x, strict=True):
        assert torch.allclose(one.float(), orthogonalized(alone[None])[0].float(), atol=2e-2)
    u, _, v = torch.linalg.svd(x.double(), full_matrices=False)
    nearest = u @ v
    cosine = (found.double() * nearest).sum((1, 2)) / (found.double().norm(dim=(1, 2)) * nearest.norm(dim=(1, 2)))
    assert float(cosine.min()) > 0.9


def test_zero_stays_zero():
    assert not orthogonalized(torch.zeros(2, 3, 4)).any()


def test_without_gradients_nothing_moves():
    p = torch.ones(2, 3)
    BatchedMuon([p], lr=0.02, weight_decay=0.1).step()
    assert torch.equal(p, torch.ones(2, 3))
