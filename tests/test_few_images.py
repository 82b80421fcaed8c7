"""Sets of 1, 2 and 12 images: every family trains, is measured and reported, or is refused in one line."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from limner import workbench
from limner.errors import LimnerError
from limner.files import read_json_lines
from limner.models import families, family
from limner.training.checkpoints import read_header

COMMON = ("sample_images=2", "precision=float32", "evaluations=2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of 1, 2 and 12 different grey images of 6×5, by their number."""
    parent, random = tmp_path_factory.mktemp("few"), np.random.default_rng(0)
    for n in (1, 2, 12):
        folder = parent / str(n)
        folder.mkdir()
        for i in range(n):
            Image.fromarray(random.integers(0, 256, (5, 6), dtype=np.uint8)).save(folder / f"{i}.png")
    return {n: parent / str(n) for n in (1, 2, 12)}


def or_refused(work):
    """What it gives, or what it is refused with: any other error fails the test."""
    try:
        return work()
    except LimnerError as error:
        return str(error)


@pytest.mark.parametrize("name", list(families()))
@pytest.mark.parametrize("n", [1, 2, 12])
def test_few_images_are_trained_on_measured_and_reported_or_refused(name, n, photos, tmp_path):
    settings = [s for s in family(name).tiny if s != "keep=last"]
    run = or_refused(
        lambda: workbench.train(name, photos[n], name="x", runs=tmp_path, epochs=2, settings=[*settings, *COMMON])
    )
    if isinstance(run, str):
        assert (name, n) == ("gan", 1)
        assert run == "a gan compares images: it needs 2 to train on, and there is 1"
        return
    lines = read_json_lines(run.folder / "metrics.jsonl")
    assert any("validation" in line for line in lines) == (n == 12)
    assert any("training_images" in line for line in lines) == (n < 12)
    found = [or_refused(lambda split=split: run.evaluate(split=split)) for split in ("test", "train")]
    assert isinstance(found[0], str) == (n < 12 or name == "gan")
    assert isinstance(found[1], str) == (name == "gan")
    page = tmp_path / "comparison.html"
    compared = or_refused(lambda: workbench.compare([run], out=page))
    assert isinstance(compared, str) != page.is_file()
    pages = [
        run.folder / "report.html",
        run.folder / "README.md",
        run.folder / "metrics.jsonl",
        *([page] if page.is_file() else []),
    ]
    for path in pages:
        text = re.sub(r"base64,[^\"]*", "", path.read_text("utf-8"))
        assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE), path.name
        told = text.partition(">Configuration<")[0]
        assert n == 12 or "validation" not in told, path.name


@pytest.mark.parametrize(
    ("n", "chosen"), [(2, "all 2 images of the training split"), (12, "1 image of the validation split")]
)
def test_it_is_said_which_images_chose_the_weights(n, chosen, photos, tmp_path, monkeypatch, limner):
    monkeypatch.chdir(tmp_path)
    words = ("--name", "x", "--set", *family("vae").tiny, *COMMON)
    said = limner("train", "vae", "--data", photos[n], *words)
    assert f"20 passes over {10 if n == 12 else n} images are 20 steps" in said.err
    assert (said.code, "validation ≤" in said.err, "training images ≤" in said.err) == (0, n == 12, n == 2)
    assert chosen in (tmp_path / "runs/x/README.md").read_text("utf-8")
    row = json.loads(limner("runs", "--json").out)[0]
    assert ("validation_nats" in row) == (n == 12)


def test_a_gan_without_two_held_out_images_keeps_its_last_weights(photos, tmp_path, monkeypatch, limner):
    monkeypatch.chdir(tmp_path)
    words = ("--epochs", 3, "--name", "x", "--set", "network=dense", "hidden=16", "latent=4", *COMMON)
    said = limner("train", "gan", "--data", photos[12], *words)
    assert "no distance chooses the weights, as that needs two held-out images: the last are kept" in said.err
    assert read_header(tmp_path / "runs/x/model.safetensors")["step"] == 3
    assert "memorisation cannot be told with 1 held-out images" in (tmp_path / "runs/x/report.html").read_text("utf-8")


def test_few_images_of_a_gan_are_changed_unless_one_says_no(photos, tmp_path, monkeypatch, limner):
    monkeypatch.chdir(tmp_path)
    words = ("--data", photos[12], "--minutes", 0.003, "--set", "network=dense", "hidden=16", *COMMON)
    said = limner("train", "gan", "--name", "x", *words)
    assert "augment=color,translation,cutout: the discriminator sees the 10 training images" in said.err
    assert workbench.open_run("x").config.recipe.training.augment == "color,translation,cutout"
    said = limner("train", "gan", "--name", "y", "--augment", "none", *words)
    assert "augment" not in said.err
    assert workbench.open_run("y").config.recipe.training.augment == "none"
    said = limner("train", "gan", "--name", "z", *words, "epochs=2")  # the discriminator knows none by heart so soon
    assert "augment" not in said.err
    assert workbench.open_run("z").config.recipe.training.augment == "none"


def test_augmentations_are_named(refused, limner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'flip'?" in refused("train", "vae", "--augment", "flop")
    assert "choose one of none, flip, shift, elastic" in refused("train", "vae", "--augment", "cutout")
    assert "shift takes a whole number" in refused("train", "vae", "--augment", "flip,shift=0.5")
    assert "flip takes no number" in refused("train", "vae", "--augment", "flip=2")
    assert "elastic takes a number" in refused("train", "gan", "--augment", "elastic=nan")
    assert "patience=3" in refused("train", "gan", "--set", "patience=3")


def test_runs_of_older_versions_open_with_their_moves(home):
    config = home / "runs" / "vae" / "config.toml"
    text = config.read_text("utf-8")
    for moves, augment in (("shift = 0\nelastic = 0.0", "none"), ("shift = 2\nelastic = 0.5", "shift=2,elastic=0.5")):
        older = text.replace('augment = "none"', moves).replace("patience = 5\n", "")
        config.write_text(older, "utf-8")
        training = workbench.open_run("vae").config.recipe.training
        assert (training.augment, training.patience) == (augment, 0)


def test_training_stops_where_validation_gets_worse_and_says_which_weights_are_kept(tmp_path, monkeypatch, limner):
    """A few images learnt by heart: the best weights are early ones."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    np.save("few.npy", random.integers(0, 2, (12, 4, 4, 1), dtype=np.uint8) * 255)
    words = ("network=dense", "hidden=32", "latent=8", "learning_rate=0.02", "ema_decay=0", "warmup_steps=0")
    words = (*words, "evaluations=40", "patience=4", "sample_images=0", "precision=float32")
    said = limner("train", "autoencoder", "--data", "few.npy", "--name", "x", "--epochs", 120, "--set", *words)
    assert said.code == 0
    step, kept = map(int, re.search(r"step (\d+) .*the weights of step (\d+) are kept", said.err).groups())
    assert "stopped early, as the last 4 evaluations were no better (patience=4)" in said.err
    values = {
        r["step"]: r["validation"]["error"] for r in read_json_lines(tmp_path / "runs/x/metrics.jsonl") if "kept" in r
    }
    assert max(values) == step < 120
    assert kept == min(values, key=values.get) == read_header(tmp_path / "runs/x/model.safetensors")["step"]
    assert len([s for s in values if s > kept]) == 4
    assert json.loads(limner("runs", "--json").out)[0]["status"] == "finished"
    assert "stopped early" in (line := limner("resume", "x").err)
    assert "--set patience=0 goes on" in line
    said = limner("resume", "x", "--set", "patience=0")
    assert (said.code, json.loads((tmp_path / "runs/x/state.json").read_text())["step"]) == (0, 120)


def test_memorisation_is_not_denied_where_it_cannot_be_told(photos, tmp_path, monkeypatch, limner):
    monkeypatch.chdir(tmp_path)
    settings = [*family("vae").tiny, *COMMON]
    workbench.train("vae", photos[12], name="x", runs="runs", epochs=1, settings=settings)
    said = limner("latent", "x", "neighbours", "--quiet")
    assert "too few unseen images to tell" in said.out + said.err
    assert "no sign" not in said.out + said.err
