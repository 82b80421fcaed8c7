"""Families describe themselves: what the command line says of them, and those that another package adds."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from limner.errors import LimnerError
from limner.models import Family, families, family, register
from limner.noise import seeded

ROOT = Path(__file__).resolve().parent.parent


def test_every_family_says_what_it_is():
    for name, f in families().items():
        assert f.name == name
        assert f.summary.endswith(".")
        assert len(f.summary) < 120
        assert f.paper
        assert f.likelihood in ("exact", "lower", "none")
        for recipe in f.recipes:
            assert f.about(recipe).endswith("."), (name, recipe)
            assert isinstance(f.recipe(recipe, (1, 28, 28)).training, f.training)
            assert isinstance(f.recipe(recipe, (1, 28, 28)).network, f.config)
        assert isinstance(f.demo((1, 8, 8)).network, f.config)


@pytest.mark.parametrize("shape", [(3, 50, 66), (1, 2, 49), (3, 64, 1)])
@pytest.mark.parametrize("name", ["gan", "ladder-vae", "pixelcnn++"])
def test_the_recipe_for_large_images_takes_odd_sizes(name, shape):
    large = family(name).recipe("default", shape).network
    with seeded(0):
        model = family(name).model(replace(large, features=4), shape, 256).train()
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    terms = model(images, torch.Generator().manual_seed(2), None)
    assert all(term.shape == (2,) and term.isfinite().all() for term in terms.values())


def test_large_images_have_cheaper_steps():
    def recipe(name, side):
        return family(name).recipe("default", (3, side, side))

    assert recipe("ladder-vae", 64).network.patch > recipe("ladder-vae", 32).network.patch
    assert recipe("pixelcnn++", 64).network.features < recipe("pixelcnn++", 32).network.features
    for name in ("pixelcnn++", "vae"):
        assert recipe(name, 64).training.batch_size < recipe(name, 32).training.batch_size
    default, strong = (family("gan").recipe(name, (3, 64, 64)).network for name in ("default", "strong"))
    assert strong.generator_features > default.generator_features


def test_the_list_names_all_and_one_family_explains_its_settings(limner):
    said = limner("models")
    assert said.code == 0
    assert [f["name"] for f in limner("models", "--json").record] == list(families())
    for name, f in families().items():
        assert f"\n{name} " in f"\n{said.out}"
        assert f.summary in said.out
        one = limner("models", name).out
        for field in (*fields(f.config), *fields(f.training)):
            assert f"\n  {field.name} = " in one
    settings = limner("models", "vae", "--json").record["settings"]
    assert all(s["meaning"] for part in settings.values() for s in part)


def test_an_unknown_key_points_to_the_list(refused):
    assert "did you mean 'features'?; `limner models gan` explains all" in refused("train", "gan", "--set", "featurs=3")
    assert "did you mean 'vae'" in refused("models", "vea")


def test_a_name_is_taken_once():
    with pytest.raises(LimnerError, match="there is a family 'vae' already"):
        register(Family(**{f.name: getattr(family("vae"), f.name) for f in fields(Family)}))
    assert register(family("vae")) is family("vae")


def plugged(tmp_path, *entries: str) -> dict[str, str]:
    """The environment of a Python that has a package with these entry points installed."""
    info = tmp_path / "site" / "plugged-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[limner.families]", *entries]) + "\n")
    paths = [str(tmp_path / "site"), str(ROOT / "examples" / "own_family"), str(ROOT)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "LIMNER_RUNS": str(tmp_path / "runs")}


def call(environment, cwd, *words):
    return subprocess.run(
        [sys.executable, "-m", "limner", *words], env=environment, cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("entry", ["broken = nowhere.at_all:FAMILY", "broken = json:dumps"])
def test_a_broken_plug_in_is_one_line(tmp_path, entry):
    done = call(plugged(tmp_path, entry), tmp_path, "models", "--json")
    assert done.returncode == 0
    assert [f["name"] for f in json.loads(done.stdout)] == list(families())
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("limner: the family 'broken' is left out: ")


def test_a_family_of_another_package_has_all_commands(tmp_path):
    """``examples/own_family``, as pip would install it: trained, sampled, evaluated, compared, reported."""
    environment = plugged(tmp_path, "independent-pixels = independent_pixels:FAMILY")
    small = "sample_images=4 precision=float32 batch_size=64"
    commands = [
        "models --json",
        f"train independent-pixels --data digits --name alone --epochs 6 --quiet --set {small}",
        "evaluate alone --json",
        "sample alone -n 4 --out x.png --quiet",
        "compare alone --out c.html",
    ]
    code = f"from limner.cli import main\nfor words in {commands}: main(words.split())"  # one process: one start
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    listed, report, record, *_ = done.stdout.splitlines()
    assert "independent-pixels" in [f["name"] for f in json.loads(listed)]
    assert report == str(tmp_path / "runs" / "alone" / "report.html")
    record = json.loads(record)
    assert (record["bound"], record["n"]) == ("exact", 250)
    assert record["nats_per_image"] < 64 * 2.2  # ln 17 = 2.83 where nothing is learned
    assert all((tmp_path / name).is_file() for name in ("x.png", "c.html", "runs/alone/report.html"))
    assert "independent-pixels" in (tmp_path / "runs" / "alone" / "README.md").read_text("utf-8")


def test_the_examples_package_names_its_family():
    """What pip reads is what the test above writes."""
    text = (ROOT / "examples" / "own_family" / "pyproject.toml").read_text("utf-8")
    assert '[project.entry-points."limner.families"]\nindependent-pixels = "independent_pixels:FAMILY"\n' in text
