"""`limner latent`: images of the right size, figures that hold, and what is refused."""

import math

import pytest
import torch
from PIL import Image

from limner import workbench
from limner.data import from_arrays
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


def test_interpolation_goes_between_two_images(home):
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


def test_a_model_that_gives_images_back_is_found_out(home, monkeypatch):
    run = workbench.open_run("vae")
    training = run.data().split("train").first(250)
    monkeypatch.setattr(run, "sample", lambda n, **kwargs: training[:n])
    found = workbench.latent.neighbours(run, 6)
    assert found.positions[:, 0].sort().values.tolist() == sorted(found.positions[:, 0].tolist())
    assert torch.equal(found.samples, found.nearest[:, 0])
    assert (found.distances[:, 0] == 0).all()
    assert found.memorised is not None


def test_copies_of_large_images_are_found():
    """On 64 pixels a side, where noise of their own keeps unseen images apart."""
    images = torch.randint(0, 256, (150, 3, 70, 130), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = from_arrays(images)
    compare = workbench.latent.compare_with_held_out(data)
    copies, unseen = compare(data.split("train").first(20)), compare(data.split("test").first(10))
    assert (copies.samples, copies.share) == (0.0, 1.0)
    assert unseen.samples > 0.9
    assert unseen.share < 0.3


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


@pytest.mark.parametrize("model", ["vae", "autoencoder", "ladder-vae", "gan"])
def test_each_latent_is_traversed(home, limner, model):
    said = limner("latent", model, "traversal", "-n", "3", "--steps", "5", "--json")
    assert (said.code, said.err) == (0, "")
    record = said.record
    dimensions = record["dimensions"]
    assert len(dimensions) == len(set(dimensions)) == (2 if model == "vae" else 3)
    assert size(home / record["out"])[0] > 5 * 8
    if model == "gan":
        assert dimensions == [0, 1, 2]
        assert "activity" not in record
        return
    run = workbench.open_run(model)
    activity = run.model.encode(run.data().split("validation").first(2000)).var(0)
    expected = activity.sort(descending=True).values[:3]
    assert record["activity"] == pytest.approx(expected.tolist(), rel=1e-4)
    assert record["latents"] == len(activity)
    assert record.get("active_units") == (None if model == "autoencoder" else int((activity > 0.01).sum()))


def test_a_traversal_from_a_image_holds_its_code(home):
    """Row i differs from the image's reconstruction by latent i alone: some value of it gives the image back."""
    run = workbench.open_run("vae")
    found = workbench.latent.traversal(run, "test:3", steps=601)
    original = run.reconstruct(run.data().split("test").first(4)[3:])[0].int()
    rows = found.images.view(len(found.dimensions), 601, -1).int()
    nearest = (rows - original.flatten()).abs().amax(2).amin(1)
    assert nearest.max() <= 1
    assert (rows.amax(1) - rows.amin(1)).amax() > 4  # and it is not all the same image


def test_a_traversal_spans_three_deviations(home):
    """Of an autoencoder's codes, about their mean."""
    run = workbench.open_run("autoencoder")
    codes = run.model.encode(run.data().split("validation").first(2000)).cpu()
    found = workbench.latent.traversal(run, most=1, steps=3)
    d = int(found.dimensions[0])
    z = codes.mean(0).repeat(3, 1)
    z[:, d] += codes[:, d].std() * torch.tensor([-3.0, 0.0, 3.0])
    assert (found.images.int() - run.model.decode(z).cpu().int()).abs().max() <= 1


@pytest.mark.parametrize("model", ["vae", "autoencoder", "ladder-vae"])
def test_a_users_own_image_beside_its_reconstruction(home, limner, model):
    """A photograph of another size and colour is brought to the model's; the error is that of what is shown."""
    Image.new("RGB", (60, 40), (200, 30, 90)).save(home / "mine.jpg")
    said = limner("latent", model, "reconstruct", "mine.jpg", "test:5", "--json")
    assert (said.code, said.err) == (0, "")
    mine, other = said.record["images"]
    assert (mine["image"], other["image"]) == ("mine.jpg", "test:5")
    run = workbench.open_run(model)
    original = run.data().split("test").first(6)[5:]
    error = ((original.double() - run.reconstruct(original).double()) / 255).square().mean().item()
    assert other["mse"] == pytest.approx(error)
    assert other["psnr"] == pytest.approx(-10 * math.log10(error))
    width, height = size(home / said.record["out"])
    scale, rest = divmod(width, 2 * 9 + 1)
    assert (rest, height) == (0, scale * (2 * 9 + 1))
    assert f"test:5: MSE {error:.4f}" in limner("latent", model, "reconstruct", "test:5", "--out", "r.png").out


@pytest.mark.parametrize("model", ["vae", "autoencoder", "ladder-vae"])
def test_a_map_of_the_codes(home, limner, model):
    said = limner("latent", model, "map", "-n", "150", "--json")
    assert (said.code, said.err) == (0, "")
    record = said.record
    assert (record["split"], record["n"]) == ("validation", 150)
    assert ("explained" in record) == (model != "vae")  # whose two latents are the map
    assert ("active_units" in record) == (model != "autoencoder")
    said = limner("latent", model, "map", "--out", "map.png")
    assert ("latents are active" in said.out) == (model != "autoencoder")
    assert said.out.splitlines()[-1] == "map.png"
    assert min(size(home / "map.png")) > 500
    run = workbench.open_run(model)
    found = workbench.latent.latent_map(run, 150)
    split = run.data().split("validation")
    assert torch.equal(found.codes.codes, run.model.encode(split.first(150)).cpu())
    assert torch.equal(found.codes.labels, split.labels[:150])


def test_codes_without_a_prior(home, limner, refused):
    """Two images of an autoencoder are joined, and classes averaged; nothing is drawn, no cell has a mass."""
    said = limner("latent", "autoencoder", "interpolate", "test:0", "test:1", "--json")
    assert (said.code, said.record["rows"]) == (0, 1)
    run = workbench.open_run("autoencoder")
    walk = workbench.latent.interpolate(run, ["test:0", "test:1"], steps=3)
    middle = run.model.encode(run.data().split("test").first(2)).mean(0, keepdim=True)
    assert (walk[1].int() - run.model.decode(middle)[0].cpu().int()).abs().max() <= 1
    assert limner("latent", "autoencoder", "arithmetic", "8", "3", "5", "--json").code == 0
    assert "an autoencoder has no prior to draw from" in refused("latent", "autoencoder", "interpolate")
    assert "an autoencoder has no prior" in refused("latent", "autoencoder", "manifold")


def test_a_model_of_classes_is_told_them(tmp_path):
    """By --label, by the data's label, or it takes the most probable; each class has a plane."""
    settings = ("network=dense", "hidden=16", "latent=2", "precision=float32")
    run = workbench.train("vae", "digits", name="v", runs=tmp_path, epochs=1, conditional=True, settings=settings)
    split = run.data().split("test")
    image, label = split.first(3)[2:], split.labels[2:3]
    for word, told, expected in (
        ("test:2", None, label),
        ("test:2", 7, torch.tensor([7])),
        (image[0], None, run.model.likeliest(image)),
    ):
        found = workbench.latent.reconstruct(run, [word], label=told)
        assert torch.equal(found.images, run.model.reconstruct(image, expected).cpu())
    planes = [workbench.latent.manifold(run, 4, label=k) for k in (0, 1)]
    assert not torch.equal(*planes)
    same, other = (int((split.labels == k).nonzero()[0]) for k in (int(label), (int(label) + 1) % 10))
    walk = workbench.latent.interpolate(run, ["test:2", f"test:{same}"], steps=2)
    assert torch.equal(walk[0], run.model.reconstruct(image, label)[0])
    assert workbench.latent.traversal(run, "test:2", steps=2).images.shape == (4, 1, 8, 8)
    assert len(workbench.latent.latent_map(run, 50).codes.codes) == 50
    for call, culprit in (
        (lambda: workbench.latent.manifold(run), "choose with label"),
        (lambda: workbench.latent.interpolate(run, ["test:2", f"test:{other}"]), "say with label"),
        (lambda: workbench.latent.analogy(run, "1", "2", "3"), "without conditional=True"),
        (lambda: workbench.latent.reconstruct(run, ["test:2"], label=10), "label 10"),
    ):
        with pytest.raises(LimnerError, match=culprit):
            call()


def test_a_learned_prior_has_no_plane_of_equal_mass(tmp_path):
    settings = ("network=dense", "hidden=16", "latent=2", "prior=mixture", "precision=float32")
    run = workbench.train("vae", "digits", name="v", runs=tmp_path, epochs=0.1, settings=settings)
    assert "The latent plane" not in (run.folder / "report.html").read_text(encoding="utf-8")
    with pytest.raises(LimnerError, match="learned"):
        workbench.latent.manifold(run)


@pytest.mark.parametrize(("words", "culprit"), [
    (("pixelcnn", "interpolate"), "a pixelcnn has no latents"),
    (("pixelcnn", "traversal"), "a pixelcnn has no latents"),
    (("pixelcnn", "reconstruct", "test:1"), "a pixelcnn has no encoder"),
    (("gan", "reconstruct", "test:1"), "a gan has no encoder"),
    (("gan", "map"), "a gan has no encoder"),
    (("gan", "traversal", "test:1"), "a gan has no encoder"),
    (("gan", "interpolate", "test:1", "test:2"), "a gan has no encoder"),
    (("vae", "reconstruct"), "one image or more, not 0"),
    (("vae", "reconstruct", "nowhere.png"), "nowhere.png"),
    (("vae", "reconstruct", "test:100000"), "test:100000"),
    (("vae", "traversal", "test:1", "test:2"), "not 2"),
    (("vae", "traversal", "--steps", "1"), "2 steps or more"),
    (("vae", "map", "test:1"), "no words"),
    (("ladder-vae", "manifold"), "2 dimensions"),
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
    with pytest.raises(LimnerError, match='"latent": 2'):
        workbench.latent.manifold(run)
