"""Class-conditional runs from the command line: train, sample a class, measure, resume."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from limner import workbench
from limner.data import ImageSet, MemoryStore, Split
from limner.reports.draw import first_columns
from limner.workbench.classes import class_of

MODELS = (
    "pixelcnn",
    "gated-pixelcnn",
    "pixelcnn++",
    "patch-pixelcnn",
    "diagonal-bilstm",
    "row-lstm",
    "multi-scale-pixelrnn",
    "vae",
    "ladder-vae",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """32 black and 32 white images of 4×4 pixels, in a folder each."""
    parent = tmp_path_factory.mktemp("tones")
    for name, tone in (("black", 0), ("white", 255)):
        (parent / name).mkdir()
        for i in range(32):
            image = Image.new("L", (4, 4), tone)
            image.putpixel((i % 4, i // 4 % 4), 255 - tone)  # no two neighbours alike
            image.save(parent / name / f"{i}.png")
    return parent


@pytest.fixture(scope="module")
def runs(folder, tiny, tmp_path_factory):
    """A conditional run of each model on the tones, long enough to tell the classes."""
    parent = tmp_path_factory.mktemp("conditional")
    for model in MODELS:
        settings = [*tiny[model], "epochs=40", "batch_size=16", "learning_rate=0.02", "warmup_steps=5"]
        workbench.train(model, folder, name=model, runs=parent, levels=2, conditional=True, settings=settings)
    return parent


@pytest.mark.parametrize("model", MODELS)
def test_a_class_can_be_asked_for(runs, model, limner, tmp_path):
    run = workbench.open_run(runs / model)
    assert run.config.recipe.network.classes == 2
    black, white = (run.sample(200, label=label).float().mean() for label in (0, 1))
    assert black < 100
    assert white > 155
    assert not torch.equal(run.sample(20), run.sample(20, label=0))
    said = limner("sample", runs / model, "-n", "4", "--label", "1", "--out", tmp_path / "white.png", "--quiet")
    assert (said.code, said.err) == (0, "")


def test_evaluation_says_both_figures(runs, limner):
    record = limner("evaluate", runs / "gated-pixelcnn", "--split", "train", "--json").record
    assert record["classes"] == 2
    assert record["bound"] == "exact"
    # ln p(x) is the mean over two classes: at most ln 2 below ln p(x|y), and that much where the classes are apart.
    gap = record["nats_per_image"] - record["conditional_nats_per_image"]
    assert 0.2 < gap <= 0.6931472
    said = limner("evaluate", runs / "gated-pixelcnn")
    assert "exact ln p(x), the mean of p(x|y) over 2 classes; -ln p(x|y) " in said.out


def test_pages_say_what_the_figures_are(runs, limner):
    limner("evaluate", runs / "pixelcnn++")
    report = workbench.open_run(runs / "pixelcnn++").report().read_text(encoding="utf-8")
    assert "samples, class by class" in report
    assert "over 2 classes; given the class" in report
    assert "given the class) at step" in report


def test_sheets_on_the_way_show_a_class_a_row(runs):
    (*_, last) = sorted((runs / "pixelcnn" / "samples").glob("*.png"))
    with Image.open(last) as sheet:  # sample_images=4: two rows of two
        images = first_columns(sheet, (4, 4), 2, scale=1)
        assert images.size == (11, 11)
        black, white = np.asarray(images, dtype=float)[1:].reshape(2, -1).mean(1)
    assert white - black > 60


@pytest.mark.parametrize("model", ["patch-pixelcnn", "vae"])  # that labels go on is the loop's affair
def test_a_conditional_run_goes_on(runs, model, tmp_path, folder, tiny):
    settings = [*tiny[model], "batch_size=16"]
    workbench.train(model, folder, name="whole", runs=tmp_path, conditional=True, epochs=4, settings=settings)
    workbench.train(model, folder, name="parts", runs=tmp_path, conditional=True, epochs=2, settings=settings)
    workbench.resume(tmp_path / "parts", epochs=4)
    header = json.loads((tmp_path / "parts" / "state.json").read_text())
    assert header["step"] == json.loads((tmp_path / "whole" / "state.json").read_text())["step"]
    images = workbench.open_run(tmp_path / "whole").data().split("train").first(4)
    assert torch.isfinite(workbench.open_run(tmp_path / "parts").log_prob(images)).all()


def test_what_cannot_be(home, refused, tiny, folder, tmp_path):
    settings = ("--quiet", "--epochs", "0.2", "--set", *tiny["gated-pixelcnn"])
    for i in range(30):
        Image.new("L", (4, 4), 8 * i).save(tmp_path / f"{i}.png")
    assert "an autoencoder has no classes" in refused("train", "autoencoder", "--conditional")
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(30):
        (tmp_path / f"{i}.png").rename(plain / f"{i}.png")
    assert "has no labels" in refused("train", "gated-pixelcnn", "--conditional", "--data", plain, *settings)
    assert "no labels, so no classes" in refused("train", "gated-pixelcnn", "--data", plain, *settings, "classes=2")
    assert "has 10 classes" in refused("train", "gated-pixelcnn", *settings, "classes=3")
    assert "blocks=0" in refused("train", "gated-pixelcnn", "--conditional", "--set", "blocks=0")
    assert "trained without --conditional" in refused("sample", "pixelcnn", "--label", "0")
    assert "trained without --conditional" in refused("sample", "vae", "--label", "0")
    assert {p.name for p in (home / "runs").iterdir()} == set(tiny)


def test_labels_out_of_range(runs, refused):
    run = runs / "pixelcnn"
    assert "label 2: the classes of run 'pixelcnn' are 0 to 1" in refused("sample", run, "--label", "2", "--quiet")
    assert "label -1: run 'pixelcnn' has no class of that name; choose one of" in refused(
        "sample", run, "--label", "-1"
    )
    assert "label whit: run 'pixelcnn' has no class of that name; did you mean 'white'?" in refused(
        "sample", run, "--label", "whit"
    )


def test_a_class_has_a_name_and_a_number(runs):
    run = workbench.open_run(runs / "pixelcnn")
    assert [run.class_of(word) for word in (None, 1, "1", "black", "white")] == [None, 1, 1, 0, 1]
    assert torch.equal(run.sample(5, label="white"), run.sample(5, label=1))
    named = lambda *names: class_of("1", "x", 3, lambda: names)  # noqa: E731
    assert (named("7", "1", "0"), named("a", "b", "c")) == (1, 1)  # a name comes before a number
    assert class_of("1", "x", 3, lambda: ("1", "7", "9")) == 0


def test_a_run_that_wrote_no_names_down_reads_them(runs):
    run = workbench.open_run(runs / "pixelcnn")
    run.config = replace(run.config, data=replace(run.config.data, label_names=()))
    assert run.class_of("white") == 1


def test_images_without_labels_are_measured_too(runs):
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    empty = Split(MemoryStore(images[:0]))
    data = ImageSet("here", (1, 4, 4), 2, {"train": empty, "validation": empty, "test": Split(MemoryStore(images))})
    record = workbench.open_run(runs / "pixelcnn").evaluate(data)
    assert record["classes"] == 2
    assert "conditional_nats_per_image" not in record
