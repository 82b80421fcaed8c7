"""`limner latent`: pictures of the right size, figures that hold, and what is refused."""

import pytest
import torch
from PIL import Image

from limner import workbench
from limner.errors import LimnerError
from limner.models import Latents


def size(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(("words", "grid"), [
    (("interpolate", "-n", "3", "--steps", "6"), (6, 3)),
    (("interpolate", "test:1", "test:2", "--steps", "5"), (5, 1)),
])  # fmt: skip
def test_interpolation_is_a_grid(home, limner, words, grid):
    said = limner("latent", "vae", *words, "--out", "walk.png", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.record["out"] == "walk.png"
    assert (said.record["steps"], said.record["rows"]) == grid
    width, height = size(home / "walk.png")
    scale, rest = divmod(width, 9 * grid[0] + 1)
    assert (rest, height) == (0, scale * (9 * grid[1] + 1))


def test_interpolation_goes_between_two_pictures(home):
    run = workbench.open_run("vae")
    pair = run.data().split("test").first(2)
    walk = workbench.latent.interpolate(run, list(pair), steps=7)
    assert torch.equal(walk[[0, -1]], run.reconstruct(pair))
    again = workbench.latent.interpolate(run, ["test:0", "test:1"], steps=7)
    assert torch.equal(walk, again)


def test_same_seed_same_walk(home):
    run = workbench.open_run("vae")
    one, same, other = (workbench.latent.interpolate(run, rows=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_arithmetic(home, limner):
    said = limner("latent", "vae", "arithmetic", "8", "3", "5", "-n", "4", "--json")
    assert (said.code, said.err) == (0, "")
    labels = workbench.open_run("vae").data().split("train").labels
    assert said.record["averaged"] == {name: int((labels == k).sum()) for name, k in (("a", 8), ("b", 3), ("c", 5))}
    assert (home / said.record["out"]).name == "arithmetic-8-3-5-0.png"
    assert size(home / said.record["out"])[0] > 100
    found = workbench.latent.analogy(workbench.open_run("vae"), "8", "8", "5")
    assert torch.equal(found.means[2], found.means[3])  # nothing taken away, nothing added
    assert torch.equal(found.before, found.after)


@pytest.mark.parametrize("model", ["vae", "pixelcnn"])  # neighbours need no latents
def test_neighbours(home, limner, model):
    said = limner("latent", model, "neighbours", "-n", "5", "--json")
    assert (said.code, said.err) == (0, "")
    record = said.record
    assert len(record["distances"]) == 5
    assert record["distances"] == sorted(record["distances"])
    assert record["searched"] == len(workbench.open_run(model).data().split("train"))
    assert record["memorised"] is False
    said = limner("latent", model, "neighbours", "--out", "n.png")
    assert "no sign of memorisation" in said.out
    assert said.out.splitlines()[-1] == "n.png"


def test_a_model_that_gives_pictures_back_is_found_out(home, monkeypatch):
    run = workbench.open_run("vae")
    training = run.data().split("train").first(250)
    monkeypatch.setattr(run, "sample", lambda n, **kwargs: training[:n])
    found = workbench.latent.neighbours(run, 6)
    assert found.positions[:, 0].sort().values.tolist() == sorted(found.positions[:, 0].tolist())
    assert torch.equal(found.samples, found.nearest[:, 0])
    assert (found.distances[:, 0] == 0).all()
    assert found.memorised is not None


def test_neighbours_in_features_of_ones_own(home):
    """By mean brightness alone."""

    class Brightness(torch.nn.Module):
        def forward(self, images):
            return images.float().mean((1, 2, 3))[:, None]

    run = workbench.open_run("vae")
    found = workbench.latent.neighbours(run, 5, 2, features=Brightness())
    ours, theirs = Brightness()(found.samples), Brightness()(found.nearest[:, 0])
    torch.testing.assert_close((ours - theirs).abs()[:, 0].double(), found.distances[:, 0], atol=1e-4, rtol=0)
    assert (found.distances[:, 0] <= found.distances[:, 1]).all()


def test_the_plane(home, limner):
    said = limner("latent", "vae", "manifold", "--steps", "12", "--out", "plane.png")
    assert (said.code, said.err, said.out) == (0, "", "plane.png\n")
    width, height = size(home / "plane.png")
    assert width == height
    assert width % (12 * 8) == 0


@pytest.mark.parametrize(("words", "culprit"), [
    (("pixelcnn", "interpolate"), "a pixelcnn has no latents"),
    (("pixelcnn", "manifold"), "a pixelcnn has no latents"),
    (("pixelcnn", "arithmetic", "1", "2", "3"), "a pixelcnn has no latents"),
    (("vae", "arithmetic", "1", "2"), "three classes, as in 8 3 5, not 2"),
    (("vae", "arithmetic", "1", "2", "x"), "class 'x'"),
    (("vae", "arithmetic", "1", "2", "10"), "class '10'"),
    (("vae", "interpolate", "test:1"), "not 1: test:1"),
    (("vae", "interpolate", "test:1", "nowhere.png"), "nowhere.png"),
    (("vae", "interpolate", "--steps", "1"), "not 1"),
    (("vae", "interpolate", "--label", "1"), "label 1"),
    (("vae", "neighbours", "--label", "1"), "label 1"),
    (("vae", "manifold", "test:1"), "no words"),
    (("vae", "walk"), "walk"),
    (("vae",), "WHAT"),
    (("nobody", "interpolate"), "no run 'nobody'"),
    (("vae", "manifold", "--out", "nowhere/plane.png"), "nowhere"),
])  # fmt: skip
def test_bad_use_is_one_line(home, refused, words, culprit):
    assert culprit in refused("latent", *words)


def test_three_dimensions_are_no_plane(tmp_path):
    run = workbench.train(
        "vae", "digits", name="v", runs=tmp_path, epochs=0.1, settings=("network=dense", "hidden=8", "latent=3")
    )
    assert isinstance(run.model, Latents)
    with pytest.raises(LimnerError, match="latent=2"):
        workbench.latent.manifold(run)
