"""Two players in turn: penalties, the toys of each objective against their data, and what one step does."""

import math
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric

from limner.data import Batch, MemoryStore, Split, load
from limner.data.batches import Batches
from limner.errors import LimnerError, LimnerWarning
from limner.files import read_json_lines
from limner.models import family
from limner.models.gan import GAN, OBJECTIVES, GANConfig
from limner.models.recipes import AdversarialConfig
from limner.training.adversarial import Adversarial, gradient_penalty, zero_centred_penalty
from limner.training.checkpoints import read_header
from limner.training.loop import train


def test_penalties_of_a_discriminator_whose_slope_is_known():
    """D(x) = |x|² / 2 has the slope x."""
    x = torch.randn(5, 2, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    norms = x.detach().flatten(1).norm(dim=1)
    logits = x.square().flatten(1).sum(1) / 2
    assert torch.allclose(gradient_penalty(logits, x), (norms - 1) ** 2)
    assert torch.allclose(zero_centred_penalty(logits, x), norms**2 / 2)
    (slope,) = torch.autograd.grad(zero_centred_penalty(logits, x).sum(), x)  # it is itself differentiable
    assert torch.allclose(slope, x)


def test_penalty_auto_is_what_the_objective_was_published_with():
    chosen = {name: AdversarialConfig(objective=name).chosen_penalty for name in OBJECTIVES}
    assert {k: v for k, v in chosen.items() if v != "none"} == {"wasserstein": "gradient", "relativistic": "r1+r2"}
    assert AdversarialConfig(objective="hinge", penalty="r1").chosen_penalty == "r1"


# Toys: points in [-1, 1] as images of one pixel, 256 levels a coordinate.


def points(kind, n, generator):
    if kind == "gaussian":
        x = 0.1 + 0.25 * torch.randn(n, 1, generator=generator)
    else:
        angle = torch.randint(8, (n,), generator=generator) * math.pi / 4
        x = 0.7 * torch.stack([angle.cos(), angle.sin()], 1) + 0.06 * torch.randn(n, 2, generator=generator)
    return torch.round((x.clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8)[:, :, None, None]


def players(dimensions=1, hidden=64, latent=4, classes=0, **config):
    torch.manual_seed(0)
    model = GAN(GANConfig(network="dense", hidden=hidden, latent=latent, classes=classes), (dimensions, 1, 1), 256)
    return Adversarial(model, AdversarialConfig(**config), Fabric(accelerator="cpu", devices=1))


def energy_test(a, b, permutations=199):
    """p of the energy distance of two samples ``(n, d)`` being that large by chance (Székely and Rizzo 2004)."""
    distances = torch.cdist(torch.cat([a, b]), torch.cat([a, b]))
    n = len(a)

    def statistic(order):
        d = distances[order][:, order]
        return 2 * d[:n, n:].mean() - d[:n, :n].mean() - d[n:, n:].mean()

    generator = torch.Generator().manual_seed(0)
    observed = statistic(torch.arange(2 * n))
    larger = sum(bool(statistic(torch.randperm(2 * n, generator=generator)) >= observed) for _ in range(permutations))
    return (1 + larger) / (1 + permutations)


def test_the_two_sample_test_tells_a_missing_mode_and_a_wrong_width():
    generator = torch.Generator().manual_seed(3)
    data = [points("eight gaussians", 500, generator).flatten(1).float() for _ in range(2)]
    assert energy_test(*data) > 0.05
    seven = data[1][(data[1][:, 0] < 200)]  # without the one at angle 0
    assert energy_test(data[0][: len(seven)], seven) < 0.01
    line = [points("gaussian", 500, generator).flatten(1).float() for _ in range(2)]
    assert energy_test(*line) > 0.05
    assert energy_test(line[0], (line[1] - line[1].mean()) * 1.5 + line[1].mean()) < 0.01


@pytest.mark.parametrize(
    ("name", "kind", "dimensions", "rate"),
    [("relativistic", "gaussian", 1, 5e-4), *((name, "eight gaussians", 2, 1e-3) for name in OBJECTIVES)],
)
def test_the_generator_comes_to_match_the_data(name, kind, dimensions, rate):
    steps = 800
    rates = {"learning_rate": rate, "discriminator_learning_rate": 2e-3, "ema_decay": 0.99}
    # λ = 0.1 as WGAN-GP's authors have it for toys: at 10 a slope in one dimension cannot change its sign.
    game = players(dimensions, objective=name, batch_size=256, gradient_penalty=0.1, **rates)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        game.step(Batch(points(kind, 256, generator)), min(1.0, 2 * (1 - step / steps)), step)
    samples = game.average.averaged.sample(500, generator=generator).flatten(1).float()
    assert energy_test(samples, points(kind, 500, generator).flatten(1).float()) > 0.01
    if dimensions == 2:
        modes = (torch.atan2(*(samples / 127.5 - 1).T.flip(0)) / (math.pi / 4)).round().long() % 8
        assert len(modes.unique()) == 8


# One step


def batch(n=16, labels=None, seed=0):
    return Batch(points("gaussian", n, torch.Generator().manual_seed(seed)), labels)


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def moved(before, module):
    return any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_k_steps_of_the_discriminator_for_one_of_the_generator():
    game = players(discriminator_steps=3, ema_decay=0.5)
    for step in range(7):
        generator, discriminator = weights(game.model.generator), weights(game.model.discriminator)
        average = weights(game.average.averaged.generator)
        figures = game.step(batch(seed=step), 1.0, step)
        last = step % 3 == 2
        assert moved(discriminator, game.model.discriminator)
        assert moved(generator, game.model.generator) == last
        assert moved(average, game.average.averaged.generator) == last
        assert ("generator" in figures) == ("sample_diversity" in figures) == last


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_reports_what_it_says_and_moves_each_player_by_its_rate(objective):
    game = players(objective=objective, learning_rate=1e-3, discriminator_learning_rate=4e-3, hidden=8)
    generator, discriminator = weights(game.model.generator), weights(game.model.discriminator)
    figures = game.step(batch(), 0.5, 0)
    named = {"discriminator", "generator", "real_logit", "fake_logit", "accuracy", "sample_diversity"}
    named |= {"discriminator_gradient_norm", "generator_gradient_norm"}
    penalised = objective in ("wasserstein", "relativistic")
    assert set(figures) == named | ({"penalty"} if penalised else set())
    assert all(math.isfinite(value) for value in figures.values())
    for before, module, rate in (
        (generator, game.model.generator, 5e-4),
        (discriminator, game.model.discriminator, 2e-3),
    ):  # Adam's first step is the rate itself, whatever the gradient
        steps = torch.cat([(a - b).abs().flatten() for a, b in zip(before, module.parameters(), strict=True)])
        assert float(steps.detach().max()) == pytest.approx(rate, rel=1e-2)


def test_the_step_is_the_gradient_of_the_equations():
    """-ln σ(D(x)) - ln(1 - σ(D(G(z)))) for the one, -ln σ(D(G(z))) for the other, each with noise of its own."""
    twin = players(hidden=8).model
    objective = players(objective="non-saturating", hidden=8)
    noise = torch.Generator().manual_seed(0)
    x = twin.intensities(twin.checked_levels(batch().images))
    fake = twin.generator(twin.latents(16, generator=noise)).detach()
    real, drawn = torch.sigmoid(twin.discriminator(x)), torch.sigmoid(twin.discriminator(fake))
    loss = -real.log().mean() - (1 - drawn).log().mean()
    expected = torch.autograd.grad(loss, list(twin.discriminator.parameters()))
    figures = objective.step(batch(), 1.0, 0)
    norm = torch.cat([g.flatten() for g in expected]).norm()
    assert figures["discriminator"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["discriminator_gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    twin.discriminator.load_state_dict(objective.model.discriminator.state_dict())
    fake = twin.generator(twin.latents(16, generator=noise))
    loss = -torch.sigmoid(twin.discriminator(fake)).log().mean()
    expected = torch.autograd.grad(loss, list(twin.generator.parameters()))
    assert figures["generator"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["generator_gradient_norm"] == pytest.approx(torch.cat([g.flatten() for g in expected]).norm().item())


def test_a_lazy_penalty_counts_as_often_as_it_is_left_out():
    lazy, heavy, free = (
        players(hidden=8, **c) for c in ({"penalty_every": 4}, {"zero_penalty": 4}, {"penalty": "none"})
    )
    due, same = (game.step(batch(), 1.0, 4) for game in (lazy, heavy))
    assert due["discriminator_gradient_norm"] == pytest.approx(same["discriminator_gradient_norm"], rel=1e-6)
    assert due["penalty"] == pytest.approx(same["penalty"] / 4)
    left, none = (game.step(batch(), 1.0, 5) for game in (players(hidden=8, penalty_every=4), free))
    assert left == none
    assert "penalty" not in left


def test_diversity_is_that_of_the_samples_over_that_of_the_data():
    game = players()
    torch.nn.init.zeros_(game.model.generator.layers[-2].weight)  # every z gives the same image
    assert game.step(batch(), 1.0, 0)["sample_diversity"] == 0


def test_residual_players_of_their_recipe_tell_one_latent_from_another():
    digits = load("digits")
    torch.manual_seed(0)
    recipe = family("gan").recipe("residual", digits.shape)
    model = GAN(replace(recipe.network, features=4, generator_features=4, hidden=32), digits.shape, digits.levels)
    game = Adversarial(model, recipe.training, Fabric(accelerator="cpu", devices=1))
    for step, images in zip(range(40), Batches(digits.split("train"), 32, 0).from_step(0), strict=False):
        figures = game.step(images, 1.0, step)
    assert 0.5 < figures["sample_diversity"] < 1.5  # with PyTorch's own initial weights about 0.1


def test_the_average_follows_the_generator_and_takes_batchnorm_along():
    torch.manual_seed(0)
    model = GAN(GANConfig(latent=3, features=2, hidden=4), (1, 8, 8), 256)
    game = Adversarial(model, AdversarialConfig(ema_decay=0.9), Fabric(accelerator="cpu", devices=1))
    images = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    average = game.average.averaged.generator.layers.start.weight.detach().clone()
    for step in range(3):
        game.step(Batch(images), 1.0, step)
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * model.generator.layers.start.weight.detach()
    assert torch.allclose(game.average.averaged.generator.layers.start.weight, average, atol=1e-6)
    ours, theirs = (list(m.buffers()) for m in (model, game.average.averaged))
    assert len(ours) >= 3
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert (ours[0] != 0).any()
    game.validate([Batch(images)])
    kept = [b.clone() for b in game.average.averaged.generator.buffers()]
    assert not torch.equal(kept[0], ours[0])  # of the averaged weights, not of the last ones
    game.average.averaged.take_standing_statistics(64, 3)  # as many as steps were made
    assert all(torch.equal(a, b) for a, b in zip(kept, game.average.averaged.generator.buffers(), strict=True))


@pytest.mark.parametrize("objective", ["wasserstein", "relativistic"])
def test_going_on_from_a_state_is_as_if_it_never_stopped(objective, tmp_path):
    labels = torch.arange(16) % 2
    options = {"objective": objective, "classes": 2, "discriminator_steps": 2, "hidden": 8}
    first, second = players(**options), players(seed=1, **options)
    for step in range(3):
        first.step(batch(labels=labels, seed=step), 1.0, step)
    state = {k: v.clone() for k, v in first.state().items()}
    second.restore(state, tmp_path)
    for step in range(3, 7):
        a, b = (game.step(batch(labels=labels, seed=step), 1.0, step) for game in (first, second))
        assert a == b
    for key, value in first.state().items():
        assert torch.equal(value, second.state()[key]), key
    for missing in (
        "generator",
        "generator_optimizer.layers.0.weight.exp_avg",
        "discriminator_optimizer.out.bias.step",
        "weights.discriminator.out.weight",
        "ema.generator.classes.weight",
    ):
        with pytest.raises(LimnerError):
            players(**options).restore({k: v for k, v in state.items() if k != missing}, tmp_path)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_loss_that_is_no_number_stops_before_its_player_moves(player):
    game = players()
    losses = game.losses
    place = 0 if player == "discriminator" else 1
    game.losses = lambda r, f: tuple(t * math.nan if i == place else t for i, t in enumerate(losses(r, f)))
    before = weights(getattr(game.model, player))
    with pytest.raises(LimnerError, match=rf"step 7: the term '{player}' became nan.*learning_rate"):
        game.step(batch(), 1.0, 7)
    assert not moved(before, getattr(game.model, player))


def test_an_infinite_gradient_is_named():
    game = players()
    game.model.generator.layers[0].weight.register_hook(lambda g: g * math.inf)
    with pytest.raises(LimnerError, match=r"gradient of generator\.layers\.0\.weight"):
        game.step(batch(), 1.0, 3)


def test_labels_reach_both_players():
    game = players(classes=2)
    with pytest.raises(LimnerError, match="labels"):
        game.step(batch(), 1.0, 0)
    before = game.model.discriminator.classes.weight.detach().clone()
    game.step(batch(labels=torch.zeros(16, dtype=torch.int64)), 1.0, 0)
    changed = (game.model.discriminator.classes.weight != before).any(1)
    assert changed.tolist() == [True, False]


def test_validation_is_the_same_twice_and_a_measure_chooses():
    game = players()
    game.step(batch(), 1.0, 0)
    parts = [batch(5), batch(6, seed=1)]
    figures = game.validate(parts)
    assert game.validate(parts) == figures
    assert set(figures) == {"real_logit", "fake_logit", "accuracy"}
    assert game.metric is None
    assert game.model.discriminator.training
    measured = Adversarial(
        game.model,
        game.config,
        game.fabric,
        lambda gan, batches: {"distance": float(sum(len(b.images) for b in batches))},
    )
    assert measured.metric == "distance"
    assert measured.validate(parts)["distance"] == 11


def test_kept_are_the_latest_weights_within_the_tolerance_of_the_smallest_distance(tmp_path):
    seen = iter([1.0, 0.5, 0.59, 0.61, 0.58, 0.7])  # a fifth above the smallest is no worse, and does not creep up
    game = players(evaluations=6, epochs=6.0, sample_images=0)
    measured = Adversarial(game.model, game.config, game.fabric, lambda gan, batches: {"distance": next(seen)})
    split = Split(MemoryStore(batch(32).images))
    train(measured, split, split, tmp_path)
    lines = [r for r in read_json_lines(tmp_path / "metrics.jsonl") if "validation" in r]
    assert [r["kept"] for r in lines] == [True, True, True, False, True, False]
    header = read_header(tmp_path / "model.safetensors")
    assert (header["step"], header["validation_distance"], header["smallest"]) == (lines[4]["step"], 0.58, 0.5)


def test_distances_of_other_features_choose_no_weights(tmp_path):
    split = Split(MemoryStore(batch(32).images))

    def trained(yardstick, epochs, distances, **more):
        seen = iter(distances)
        game = players(evaluations=int(epochs), epochs=epochs, sample_images=0)
        measured = Adversarial(
            game.model, game.config, game.fabric, lambda gan, batches: {"distance": next(seen)}, yardstick
        )
        train(measured, split, split, tmp_path, **more)
        return read_header(tmp_path / "model.safetensors")

    assert trained("features 1", 2.0, [0.5, 0.6])["smallest"] == 0.5
    with pytest.warns(LimnerWarning, match="distances so far are of other features"):
        header = trained("features 2", 4.0, [9.0, 8.0], resume=True)
    assert (header["smallest"], header["yardstick"]) == (8.0, "features 2")
    assert trained("features 2", 6.0, [9.8, 9.9], resume=True)["smallest"] == 8.0


def test_the_doctor_is_told_of_blurred_images():
    game = players()
    measured = Adversarial(
        game.model, game.config, game.fabric, lambda gan, batches: {"distance": 4.0, "blurred_distance": 3.0}
    )
    assert measured.validate([batch()])["blurred_distance"] == 3.0
    assert [d.name for d in measured.diagnoses] == ["worse than blurred images"]


def test_bf16_trains_the_same_game():
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    game = Adversarial(GAN(GANConfig(network="dense", hidden=16), (1, 1, 1), 256), AdversarialConfig(), fabric)
    exact = players(hidden=16, latent=64)
    ours, theirs = game.step(batch(), 1.0, 0), exact.step(batch(), 1.0, 0)
    for name in ("discriminator", "generator", "penalty"):
        assert ours[name] == pytest.approx(theirs[name], rel=0.05), name
