"""Drawing step by step: the same draws as whole samples, probabilities that sum to one, two players by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from limner import display, workbench
from limner.errors import LimnerError
from limner.models import families
from limner.models.autoregressive import Autoregressive
from limner.models.multiscale import MultiScalePixelRNN
from limner.workbench.duel import Duel, ring
from limner.workbench.inside import look_inside
from limner.workbench.stepping import draw_values, places

EXACT = [name for name, f in families().items() if issubclass(f.model, Autoregressive | MultiScalePixelRNN)]


@pytest.mark.parametrize("model", EXACT)
def test_values_drawn_one_by_one_are_a_sample(home, model):
    run = workbench.open_run(model)
    whole = run.sample(1, seed=5)[0]
    state = draw_values(run, steps=3, seed=5, seconds=60)
    assert state.drawn == len(state.just) == 3
    assert sum(state.probabilities) == pytest.approx(1, abs=1e-4)
    first = places(run)[:3]
    assert [(d.channel, d.row, d.column) for d in state.just] == first
    state = draw_values(run, state.values, 3, 61, seed=5, seconds=60)
    assert (state.drawn, state.place, state.probabilities) == (64, None, None)
    assert torch.equal(state.image, whole)
    exact = -float(run.log_prob(state.image[None]))
    assert state.nats == pytest.approx(exact, rel=1e-4)


def test_a_value_can_be_set_and_what_is_not_drawn_says_nothing(home):
    run = workbench.open_run("pixelcnn")
    free = draw_values(run, [16] + [0] * 63, 1)
    noise = draw_values(run, [16] + [9] * 63, 1)
    other = draw_values(run, [3] + [0] * 63, 1)
    assert free.probabilities == noise.probabilities
    assert free.probabilities != other.probabilities


@pytest.mark.parametrize(
    "bad",
    [
        {"values": [1, 2], "drawn": 1},
        {"drawn": 1},
        {"values": [99] * 64, "drawn": 1},
        {"values": [0] * 64, "drawn": 65},
    ],
)
def test_bad_states_are_refused(home, bad):
    with pytest.raises(LimnerError):
        draw_values(workbench.open_run("made"), **bad)


def test_only_models_that_draw_values_have_them(home):
    with pytest.raises(LimnerError, match="does not draw a value after the other"):
        draw_values(workbench.open_run("vae"))
    with pytest.raises(LimnerError, match="no variational autoencoder"):
        look_inside(workbench.open_run("gan"))


def test_the_inside_of_a_vae(home):
    run = workbench.open_run("vae")
    seen = look_inside(run, [0.5, -0.5])
    assert torch.equal(seen.mean, run.decode([[0.5, -0.5]])[0])
    assert seen.deviation.shape == (1, 8, 8)
    assert (seen.deviation > 0).all()
    assert seen.posterior is seen.kl is seen.original is None
    with_image = look_inside(run, image="test:3", seed=1)
    mean, deviation = with_image.posterior
    assert torch.allclose(mean, run.encode("test:3")[0])
    kl = 0.5 * (mean**2 + deviation**2 - 1) - deviation.log()
    assert torch.allclose(torch.tensor(with_image.kl), kl, atol=1e-4)
    assert with_image.reconstruction > 0
    assert not torch.equal(with_image.z, look_inside(run, image="test:3", seed=2).z)
    assert len(look_inside(workbench.open_run("ladder-vae"), image="test:3").kl) > 0


def test_latents_are_ordered_by_what_they_carry(home):
    spread = workbench.latent.latent_spread(workbench.open_run("vae"))
    assert spread.split == "validation"
    assert spread.order.tolist() == spread.activity.argsort(descending=True).tolist()
    gan = workbench.latent.latent_spread(workbench.open_run("gan"))
    assert gan.activity is None
    assert gan.order.tolist() == list(range(len(gan.start)))


def test_a_walk_has_its_codes(home):
    run = workbench.open_run("vae")
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    codes, images = run.walk(a, b, steps=3)
    assert torch.allclose(codes[[0, 2]], torch.stack([a, b]), atol=1e-6)
    assert codes[1].norm() == pytest.approx(1.5)  # on a great circle
    assert torch.equal(images, run.decode(codes))
    with pytest.raises(LimnerError, match="finite"):
        run.decode([[float("nan"), 0.0]])


def test_a_mask_may_be_an_image(home):
    run = workbench.open_run("pixelcnn")
    white = np.zeros((8, 8), np.uint8)
    white[4:] = 255
    given = run.complete("test:0", Image.fromarray(white), 2)
    assert given.exact
    assert torch.equal(given.images, run.complete("test:0", "bottom-half", 2).images)


def test_rows_and_progress_are_told(home):
    run = workbench.open_run("pixelcnn")
    rows, said = [], []
    with display.told(lambda name, fraction, progress: said.append((name, fraction))):
        images = run.sample(2, on_row=lambda row, images: rows.append((row, images[:, :, row].clone())), quiet=True)
    assert [row for row, _ in rows] == list(range(8))
    assert all(torch.equal(images[:, :, row], drawn) for row, drawn in rows)
    assert said[-1] == ("sampling rows", 1.0)

    def stop(row, images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.complete("test:0", "bottom-half", 2, on_row=stop)


def test_two_players_by_hand():
    game = Duel("ring", seed=1)
    before = {name: p.clone() for name, p in game.model.named_parameters()}
    game.play("discriminator", 2)
    moved = {name for name, p in game.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith("discriminator") for name in moved)
    drawn, judged = game.samples()
    assert drawn.shape == (128, 1, 1, 2)
    assert game.play("generator")["generator"] == game.history["generator"][-1][1]
    assert not torch.equal(game.samples()[0], drawn)
    assert (judged > 0).all()
    assert game.moves == {"discriminator": 2, "generator": 1}
    assert game.field(5).values.shape == (5, 5)
    again = Duel("ring", seed=1)
    again.play("discriminator", 2)
    again.play("generator")
    assert torch.equal(again.samples()[0], game.samples()[0])
    with pytest.raises(LimnerError, match="choose one of"):
        game.play("nobody")
    with pytest.raises(LimnerError, match="ring or digits"):
        Duel("mnist")


def test_each_player_gains_by_its_steps():
    game = Duel("ring")
    game.play("discriminator", 60)
    assert game.metrics["accuracy"] > 0.8  # it was a guess
    before = game.samples()[1].mean()
    game.play("generator", 30)
    assert game.samples()[1].mean() > 1.1 * before
    assert ring().shape == (2048, 1, 1, 2)
