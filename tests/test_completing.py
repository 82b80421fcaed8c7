"""`limner complete`: what is missing, what is drawn, what is said about it, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import limner as library
from limner import workbench
from limner.data import nearest_level
from limner.data.fitting import fit_image
from limner.reports.completion_grid import HATCH, hatched
from limner.reports.draw import completion_sheet
from limner.workbench.inputs import image_of, missing_part

EXACT = {"run", "model", "image", "mask", "missing", "pixels", "n", "exact", "conditional", "seed", "seconds", "out"}
PARTICLES = {"particles", "effective_samples", "lowest_effective_samples", "distinct", "gibbs"}


def save(path, pixels):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path


def where(missing):
    """The missing pixels as lines of text."""
    return ["".join("?" if pixel else "." for pixel in row) for row in missing.tolist()]


@pytest.mark.parametrize(("mask", "said"), [
    ("top-half", ["????", "....", "...."]),
    ("bottom-half", ["....", "????", "????"]),
    ("left-half", ["??..", "??..", "??.."]),
    ("right-half", ["..??", "..??", "..??"]),
    ("box=0,1,2,4", [".???", ".???", "...."]),
    ("box=2, 0, 3, 1", ["....", "....", "?..."]),
])  # fmt: skip
def test_the_mask_names_the_missing_part(mask, said):
    assert where(missing_part(mask, (3, 4))) == said


def test_white_is_missing_in_a_mask_file(tmp_path):
    path = save(tmp_path / "mask.png", [[0, 255, 127], [128, 0, 0]])
    assert where(missing_part(path, (2, 3))) == [".?.", "?.."]
    colour = save(tmp_path / "colour.png", [[[255, 255, 255], [0, 0, 0], [200, 0, 0]]])
    assert where(missing_part(colour, (1, 3))) == ["?.."]


def test_a_image_file_becomes_the_models_kind(home):
    run = workbench.open_run("pixelcnn")  # 1×8×8, 17 levels
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    for pixels in (noise, noise[..., 0]):
        image = image_of(save(home / "x.png", pixels), run.model, run.data, "crop")
        assert image.shape == (1, 8, 8)
        grey = np.asarray(Image.open(home / "x.png").convert("L"), dtype=float)
        assert np.abs(image[0].numpy() - grey).max() <= 8  # half a level
        run.log_prob(image[None])  # refuses what is no level
    assert torch.equal(image_of("test:3", run.model, run.data, "crop"), run.data().split("test").first(4)[3])


@pytest.mark.parametrize("model", ["pixelcnn", "gated-pixelcnn"])
def test_an_exact_completion(home, limner, model):
    said = limner("complete", model, "test:3", "--mask", "bottom-half", "-n", "3", "--json")
    assert (said.code, said.err) == (0, "")
    assert set(said.record) == EXACT
    assert (said.record["exact"], said.record["missing"], said.record["pixels"], said.record["n"]) == (True, 32, 64, 3)
    assert said.record["conditional"].startswith("exact draws from p(missing | given)")
    assert (home / said.record["out"]).name == "completion-test-3-bottom-half-0.png"
    assert (home / said.record["out"]).is_file()


def test_an_approximate_completion_says_so(home, limner):
    words = ("complete", "pixelcnn", "test:3", "--mask", "top-half", "--particles", "40")
    said = limner(*words, "--gibbs", "1", "--json")
    assert set(said.record) == EXACT | PARTICLES
    assert said.record["exact"] is False
    assert 1 <= said.record["lowest_effective_samples"] <= said.record["effective_samples"] <= 40
    assert 1 <= said.record["distinct"] <= 40
    assert said.record["gibbs"] == 1
    assert "approximated by sequential Monte Carlo with 40 particles" in said.record["conditional"]
    assert "1 Gibbs pass " in said.record["conditional"]
    said = limner(*words, "--out", "out.png")
    assert (said.code, said.err) == (0, "")
    first, second, third, last = said.out.splitlines()
    assert first == "pixelcnn (pixelcnn), test:3: 32 of 64 pixels are missing"
    assert "approximated" in second
    assert "effective sample size" in third
    assert last == "out.png"


def test_same_seed_same_completions(home, limner):
    def drawn(*words):
        assert limner("complete", "pixelcnn", "test:3", "--mask", "box=2,2,6,6", "--out", "a.png", *words).code == 0
        return (home / "a.png").read_bytes()

    assert drawn("--particles", "20") == drawn("--particles", "20")
    assert drawn("--particles", "20") != drawn("--particles", "20", "--seed", "1")


def test_a_file_is_completed_in_python(home):
    run = library.open_run("pixelcnn")
    original = run.data().split("test").first(1)[0]
    path = save(home / "digit.png", original[0].numpy())
    mask = save(home / "mask.png", np.eye(8) * 255)
    done = run.complete(path, mask, 4, particles=30)
    assert torch.equal(done.original, original)
    assert done.missing.diagonal().all()
    assert done.missing.sum() == 8
    assert done.images.shape == (4, 1, 8, 8)
    assert (done.images[:, :, ~done.missing] == original[:, ~done.missing]).all()
    same = run.complete(original, torch.eye(8, dtype=torch.bool), 4, particles=30)
    assert torch.equal(same.images, done.images)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_image_and_mask_of_another_size_are_fitted_like_the_data(home, fit):
    left = np.zeros((32, 48))
    left[:, :24] = 255  # the left half, at any fit that keeps the middle in the middle
    run = workbench.open_run("pixelcnn")
    run.config = replace(run.config, data=replace(run.config.data, fit=fit))
    done = run.complete(save(home / "photo.png", left), save(home / "mask.png", left), 2, particles=10)
    whole = fit_image(Image.fromarray(left.astype(np.uint8)), (8, 8), fit)
    assert torch.equal(done.original[0], nearest_level(torch.from_numpy(np.array(whole)), 17))
    assert torch.equal(done.missing, torch.from_numpy(np.array(whole) >= 128))
    assert not done.missing[:, 4:].any()


@pytest.mark.parametrize(("mask", "culprit"), [
    ("topp-half", "'topp-half'"),
    ("", "''"),
    ("box=1,2,3", "box=y0,x0,y1,x1"),
    ("box=0,0,9,8", "0 ≤ y0 < y1 ≤ 8"),
    ("box=3,3,3,5", "0 ≤ y0 < y1 ≤ 8"),
    ("box=a,0,1,1", "box=a,0,1,1"),
    ("box=-1,0,1,1", "box=-1,0,1,1"),
    ("mask.png", "mask.png: No such file"),
    ("black.png", "nothing is missing"),
    ("text.png", "text.png: not an image"),
])  # fmt: skip
def test_a_bad_mask_is_named(home, refused, mask, culprit):
    save(home / "black.png", np.zeros((8, 8)))
    (home / "text.png").write_text("hello")
    assert culprit in refused("complete", "pixelcnn", "test:0", "--mask", mask)


@pytest.mark.parametrize(("image", "culprit"), [
    ("nothing.png", "nothing.png: No such file"),
    ("text.png", "text.png: not an image"),
    ("test:250", "test:250: test has 250 images, 0 to 249"),
    ("test:x", "test:x"),
    ("runs", "runs: Is a directory"),
])  # fmt: skip
def test_a_bad_image_is_named(home, refused, image, culprit):
    (home / "text.png").write_text("hello")
    assert culprit in refused("complete", "pixelcnn", image, "--mask", "top-half")


@pytest.mark.parametrize(("words", "culprit"), [
    (("vae", "test:0", "--mask", "top-half"), "a vae cannot complete images: that takes an autoregr"),
    (("multi-scale-pixelrnn", "test:0", "--mask", "top-half"), "a multi-scale-pixelrnn cannot complete images"),
    (("nothing", "test:0", "--mask", "top-half"), "no run 'nothing'"),
    (("pixelcnn", "test:0"), "complete needs --mask"),
    (("pixelcnn", "--mask", "top-half"), "complete needs IMAGE"),
    (("pixelcnn", "test:0", "--mask"), "--mask needs a value"),
    (("pixelcnn", "test:0", "--mask", "top-half", "--particles", "3"), "8 completions cannot be drawn from 3"),
    (("pixelcnn", "test:0", "--mask", "top-half", "-n", "0"), "-n"),
    (("pixelcnn", "test:0", "--mask", "top-half", "--gibbs", "-1"), "--gibbs"),
    (("pixelcnn", "test:0", "--mask", "top-half", "--label", "1"), "has no classes"),
    (("pixelcnn", "test:0", "--mask", "top-half", "--out", "nowhere/a.png"), "nowhere"),
])  # fmt: skip
def test_bad_words_are_named(home, refused, words, culprit):
    assert culprit in refused("complete", *words)


def test_the_sheet_hatches_what_is_missing():
    original = torch.full((1, 4, 6), 200, dtype=torch.uint8)
    missing = torch.zeros(4, 6, dtype=torch.bool)
    missing[2:] = True
    shown = hatched(original, missing)
    assert (shown[:, :2] == 200).all()
    assert {tuple(pixel) for pixel in shown[:, 2:].flatten(1).T.tolist()} == set(HATCH)
    assert torch.equal(hatched(original.expand(3, 4, 6), missing), shown)

    completions = torch.zeros(3, 1, 4, 6, dtype=torch.uint8)
    completions[0] = 90
    sheet = np.asarray(completion_sheet(original, missing, completions))
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3)[:, :].tolist()}
    assert {(200,) * 3, (90,) * 3, (0,) * 3, (30,) * 3, *HATCH} <= colours  # 30 is the mean
