"""One step of training: what AdamW, clipping and the moving average do to the weights."""

import math

import pytest
import torch
from lightning_fabric import Fabric

from limner.data import Batch
from limner.errors import LimnerError
from limner.models.recipes import TrainingConfig
from limner.models.vae import VAE, VAEConfig
from limner.training.ema import MovingAverage
from limner.training.objectives import GENERATOR_BYTES, SingleLoss


def objective(**config):
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent=2, network="dense", hidden=8), (1, 4, 4), 2)
    return SingleLoss(model, TrainingConfig(**config), Fabric(accelerator="cpu", devices=1))


def batch(n=8):
    images = torch.randint(0, 2, (n, 1, 4, 4), generator=torch.Generator().manual_seed(0)) * 255
    return Batch(images.to(torch.uint8), None)


def test_first_step_moves_every_weight_by_the_learning_rate():
    """Adam's first step is lr · sign(gradient), whatever the gradient's size (arXiv 1412.6980, section 2.1)."""
    trained = objective(learning_rate=1e-3, weight_decay=0.0)
    before = [p.detach().clone() for p in trained.model.parameters()]
    trained.step(batch(), factor=0.5, step=0)
    for old, new in zip(before, trained.model.parameters(), strict=True):
        moved = (new - old).detach().abs()[new.grad.abs() > 1e-4]
        assert moved == pytest.approx(torch.full_like(moved, 5e-4), rel=1e-2)


def test_weight_decay_spares_biases():
    trained = objective(learning_rate=1e-3, weight_decay=0.1)
    decays = {id(p): g["weight_decay"] for g in trained.optimizers["optimizer"].adamw.param_groups for p in g["params"]}
    for name, parameter in trained.model.named_parameters():
        assert decays[id(parameter)] == (0.0 if name.endswith("bias") else 0.1), name


def test_clipping_bounds_the_gradient():
    trained = objective(clip_norm=0.01)
    losses = trained.step(batch(), 1.0, 0)
    norm = torch.stack([p.grad.norm() for p in trained.model.parameters()]).norm()
    assert losses["gradient_norm"] > 0.01
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_moving_average_follows_the_formula():
    model = torch.nn.Linear(1, 1)
    average = MovingAverage(model, decay=0.9)
    expected = model.weight.detach().clone()
    for step in range(200):
        torch.nn.init.constant_(model.weight, float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.averaged.weight.detach() == pytest.approx(expected, rel=1e-5)
    assert not average.averaged.weight.requires_grad


def test_a_term_that_is_no_number_stops_before_any_weight_changes():
    trained = objective()
    terms = trained.model.loss_terms
    trained.model.loss_terms = lambda *words: terms(*words) | {"kl": torch.tensor([math.nan])}
    before = [p.detach().clone() for p in trained.model.parameters()]
    with pytest.raises(LimnerError, match=r"step 7: the term 'kl' became nan"):
        trained.step(batch(), 1.0, 7)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.model.parameters(), strict=True))


def test_an_infinite_gradient_is_named():
    trained = objective()
    trained.model.decoder[0].weight.register_hook(lambda g: g * math.inf)
    before = [p.detach().clone() for p in trained.model.parameters()]
    for step in range(trained.most_skipped):
        assert trained.step(batch(), 1.0, step)["skipped"] == 1
    with pytest.raises(LimnerError, match=r"step 3: the gradient of decoder\.0\.weight"):
        trained.step(batch(), 1.0, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_gradient_that_overflows_now_and_then_is_skipped(optimizer):
    trained = objective(optimizer=optimizer)
    hooked = trained.model.decoder[0].weight
    for step in range(12):
        before = {k: v.clone() for k, v in trained.state().items() if k.startswith(("weights", "optimizer"))}
        hook = hooked.register_hook(lambda g: g * 1e30) if step % 3 else None  # finite, and its norm is not
        figures = trained.step(batch(), 1.0, step)
        if hook:
            hook.remove()
        assert ("skipped" in figures) == bool(step % 3) == ("gradient_norm" not in figures)
        still = [torch.equal(v, trained.state()[k]) for k, v in before.items()]
        assert all(still) == bool(step % 3)
    assert trained.skipped == 2


def test_state_restores_and_a_missing_piece_is_an_error(tmp_path):
    first, second = objective(), objective(seed=1)
    for step in range(3):
        first.step(batch(), 1.0, step)
    state = {k: v.clone() for k, v in first.state().items()}
    second.restore(state, tmp_path)
    for step in range(3, 6):
        a, b = first.step(batch(), 1.0, step), second.step(batch(), 1.0, step)
        assert {k: float(v) for k, v in a.items()} == {k: float(v) for k, v in b.items()}
    for key, value in first.state().items():
        assert torch.equal(value, second.state()[key]), key
    for missing in (
        "generator",
        "dropout_generator",
        "optimizer.decoder.0.weight.exp_avg",
        "ema.decoder.0.weight",
        "weights.encoder.1.bias",
    ):
        with pytest.raises(LimnerError):
            objective().restore({k: v for k, v in state.items() if k != missing}, tmp_path)


def test_an_older_run_goes_on_with_its_dropout(tmp_path):
    """Which drew from torch's global generator."""
    first = objective()
    first.step(batch(), 1.0, 0)
    older = first.state()
    older["global_generator"] = torch.Generator().manual_seed(11).get_state()
    del older["dropout_generator"]
    trained = objective()
    trained.restore(older, tmp_path)
    assert torch.equal(trained.dropout.get_state(), older["global_generator"])


def test_a_run_of_a_gpu_goes_on_here(tmp_path):
    """But for the noise, which its generator does not draw here."""
    first, second = objective(), objective(seed=1)
    first.step(batch(), 1.0, 0)
    assert len(first.state()["generator"]) == GENERATOR_BYTES["cpu"]
    noise = torch.zeros(GENERATOR_BYTES["cuda"], dtype=torch.uint8)
    second.restore(first.state() | {"generator": noise, "dropout_generator": noise}, tmp_path)
    for key, value in first.state().items():
        assert torch.equal(value, second.state()[key]) == (key not in ("generator", "dropout_generator")), key
    with pytest.raises(LimnerError, match="lacks a piece"):
        objective().restore(first.state() | {"generator": noise[:7]}, tmp_path)


def test_validation_is_the_same_twice_and_counts_every_image():
    trained = objective()
    images = batch(7)
    parts = [Batch(images.images[:4], None), Batch(images.images[4:], None)]
    assert trained.validate(parts) == trained.validate(parts)
    means = trained.validate([images])
    assert means["nats"] == pytest.approx(means["reconstruction"] + means["kl"])
