"""AdamW and the moving average by compiled loops, beside torch's."""

import copy

import pytest
import torch
from torch import nn

from limner.training import compiled
from limner.training.config import TrainingConfig
from limner.training.ema import MovingAverage
from limner.training.optimizers import Optimizers

pytest.importorskip("numba")


def network():
    """Sizes that are no multiples of a vector, a single number, a kernel in channels_last, one that has no gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Conv2d(1, 3, 3), nn.Linear(37, 11), nn.PReLU(), nn.Linear(3, 3))
    return net.to(memory_format=torch.channels_last)


def gradients(net, step, turned=False):
    """Of all but the last layer, of growing size; ``turned``: in another order of memory than their parameters."""
    generator = torch.Generator().manual_seed(step)
    for parameter in list(net.parameters())[:-2]:
        gradient = torch.randn(parameter.shape, generator=generator) * (step + 1)
        parameter.grad = gradient if turned else torch.empty_like(parameter).copy_(gradient)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1000.0])
def test_steps_are_those_of_torch(clip_norm, threads, monkeypatch):
    config = TrainingConfig(learning_rate=0.01, weight_decay=0.1, beta2=0.99)
    nets = [network(), network()]
    both = [Optimizers(net, config) for net in nets]
    ran = []
    run = compiled._run
    for step in range(12):
        norms = []
        for net, optimizer, by_loops in zip(nets, both, (True, False), strict=True):
            gradients(net, step, turned=by_loops and step % 2 == 1)  # which torch's fused step would mistake
            monkeypatch.setattr(compiled, "_run", lambda *a: (ran.append(1), run(*a)))
            monkeypatch.setattr(compiled, "_ready", lambda by_loops=by_loops: by_loops)
            norms.append(optimizer.clipped_step(1 / (step + 1), clip_norm))
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert len(ran) == 11  # torch makes the state
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    states = [optimizer.state() for optimizer in both]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-5, atol=1e-6)
    assert float(states[0]["0.weight.step"]) == 12


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nothing_is_changed_by_what_is_no_number(bad, threads):
    net = network()
    optimizer = Optimizers(net, TrainingConfig())
    gradients(net, 0)
    optimizer.clipped_step(1.0, 1.0)
    before = copy.deepcopy((net.state_dict(), optimizer.state()))
    gradients(net, 1)
    net[2].weight.grad[10, 36] = bad
    norm = optimizer.clipped_step(1.0, 1.0)
    assert not torch.isfinite(torch.tensor(norm))
    for was, now in zip(before, (net.state_dict(), optimizer.state()), strict=True):
        assert all(torch.equal(was[name], now[name]) for name in was)


@pytest.mark.parametrize("decay", [0.0, 0.9999])
def test_averages_are_those_of_torch(decay, threads, monkeypatch):
    net = network()
    both = [MovingAverage(net, decay) for _ in range(2)]
    for step in range(20):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn_like(parameter)
        for average, by_loops in zip(both, (True, False), strict=True):
            monkeypatch.setattr(compiled, "_ready", lambda by_loops=by_loops: by_loops)
            average.update(step)
    for one, other, last in zip(*(a.averaged.parameters() for a in both), net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        assert torch.equal(one, last) == (decay == 0)


def test_torch_is_told_what_has_changed():
    """Who keeps something made of the weights looks at their versions."""
    net = network()
    optimizer, average = Optimizers(net, TrainingConfig()), MovingAverage(net, 0.9)
    kept = list(net.parameters())[:-2]
    gradients(net, 0)
    optimizer.clipped_step(1.0, 1.0)  # torch's own fused step tells nobody
    for step in range(3):
        gradients(net, step)
        before = [p._version for p in (*kept, *average.averaged.parameters())]
        optimizer.clipped_step(1.0, 1.0)
        average.update(step)
        after = [p._version for p in (*kept, *average.averaged.parameters())]
        assert all(now > was for was, now in zip(before, after, strict=True))


def test_doubles_are_left_to_torch():
    net = network().double()
    optimizer = Optimizers(net, TrainingConfig())
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        assert compiled.adamw_step(optimizer.adamw, 0.1, 0.0) is None
        optimizer.clipped_step(1.0, 1.0)
