"""`limner train MODEL --from RUN`: what is taken over, what is said, what is refused, and that it goes on."""

import shutil
from dataclasses import replace

import pytest
import torch

from limner import workbench
from limner.config.run_config import read_run_config
from limner.config.settings import with_settings
from limner.models import families
from limner.models.contracts import Explicit
from limner.noise import seeded
from limner.training.loop import _Run
from limner.training.transfer import Classes, class_axes, transfer

OLD, NEW = ("ant", "bee", "cat"), ("cat", "dog", "ant", "eel")  # in both: cat is 2 and 0, ant is 0 and 2
CONDITIONAL = [name for name, family in families().items() if family.conditional]


def network(name, classes, shape=(1, 8, 8)):
    """A small network with weights that no initialisation leaves at zero."""
    family = families()[name]
    recipe = with_settings(family.recipe("default", shape), [*family.tiny, f"classes={classes}"])
    with seeded(classes):
        model = family.model(recipe.network, shape, 4)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


def given_class(model, y):
    """What a model makes of two images, or draws, of class ``y``."""
    random = torch.Generator().manual_seed(0)
    labels = torch.full((2,), y)
    if isinstance(model, Explicit):
        images = torch.randint(4, (2, *model.shape), generator=random, dtype=torch.uint8) * 85
        return torch.stack(list(model(images, random, labels).values()))
    return model.generator(torch.randn(2, model.config.latent, generator=random), labels)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_class_that_both_know_keeps_its_distribution(name):
    old, new = network(name, 3), network(name, 4)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    axes = class_axes(new, network(name, 5))
    found = transfer(new, old.state_dict(), axes, Classes(OLD, NEW))
    for a, b in ((2, 0), (0, 2)):
        torch.testing.assert_close(given_class(new, b), given_class(old, a))
    assert axes
    fresh = 0
    for key, axis in axes.items():
        for k in (1, 3):  # dog and eel, counted from the end
            place = before[key].shape[axis] - 4 + k
            assert torch.equal(new.state_dict()[key].select(axis, place), before[key].select(axis, place))
        fresh += 2 * before[key].select(axis, 0).numel() * (key in dict(new.named_parameters()))
    assert found.parameters == sum(p.numel() for p in new.parameters())
    assert found.taken == found.parameters - fresh
    assert sum(found.fresh.values()) == fresh


@pytest.mark.parametrize("name", ["pixelcnn", "vae"])
def test_classes_come_and_go(name):
    old, new = network(name, 0), network(name, 3)
    transfer(new, old.state_dict(), class_axes(new, network(name, 4)), Classes((), NEW[:3]))
    again = network(name, 0)
    found = transfer(again, new.state_dict(), class_axes(new, network(name, 4)), Classes(NEW[:3], ()))
    taken = {k for k, v in again.state_dict().items() if torch.equal(v, old.state_dict()[k])}
    assert {k for k in old.state_dict() if ".0." not in k} <= taken or found.taken == found.parameters


def test_a_stack_is_one_group_and_a_layer_that_differs_is_named():
    old, new = network("pixelcnn", 0), network("pixelcnn", 0, (3, 8, 8))
    found = transfer(new, old.state_dict(), {}, Classes((), ()))
    assert 0 < found.taken < found.parameters
    assert str(found).startswith(f"{found.taken:,} of {found.parameters:,} parameters; anew begin ")
    assert found.taken + sum(found.fresh.values()) == found.parameters
    assert all(not any(part.isdecimal() for part in group.split(".")) for group in found.fresh)


def test_a_weight_that_is_no_number_is_not_taken():
    old = network("pixelcnn", 0)
    next(old.parameters()).fill_(torch.nan)
    with pytest.raises(Exception, match="NaN"):
        transfer(network("pixelcnn", 0), old.state_dict(), {}, Classes((), ()))


STILL = (
    "--quiet",
    "--epochs",
    "0.1",
    "--set",
    "learning_rate=1e-12",
    "matrix_learning_rate=1e-12",
    "weight_decay=0",
    "sample_images=0",
)


@pytest.mark.parametrize("size", ["8", "12x10"])
def test_the_average_begins_at_the_weights_of_the_run(home, limner, size):
    assert limner("train", "pixelcnn", "--from", "pixelcnn", "--size", size, "--name", "next", *STILL).code == 0
    source, run = workbench.open_run("pixelcnn"), workbench.open_run("next")
    assert run.config.recipe.network == source.config.recipe.network
    for a, b in zip(source.model.state_dict().values(), run.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    start = run.config.start
    assert (start.run, start.step, len(start.weights)) == ("pixelcnn", source.step, 32)
    assert source.config.start is None


def test_what_is_taken_is_said_in_one_line(home, limner):
    (line, *_) = limner("train", "vae", "--from", "vae", "--size", "12", *STILL[1:]).err.splitlines()
    assert line.startswith("begins from run 'vae', step 20: ")
    assert " parameters; anew begin " in line
    line = limner("train", "made", "--from", "made", "--name", "b", *STILL[1:]).err.splitlines()[0]
    assert line.endswith(
        ": {0:,} of {0:,} parameters".format(sum(p.numel() for p in workbench.open_run("made").model.parameters()))
    )


def test_what_cannot_be_begun_from(home, refused):
    tiny = ("--epochs", "0.1", "--quiet")
    line = refused("train", "vae", "--from", "pixelcnn", *tiny)
    assert "--from pixelcnn: its weights are those of a pixelcnn and do not fit a vae" in line
    assert "no run 'nothing'" in refused("train", "vae", "--from", "nothing", *tiny)
    other = ("--size", "9", "--levels", "5", "--set", "hidden=33")
    assert "none of its weights has the name and the shape" in refused("train", "made", "--from", "made", *tiny, *other)
    (home / "runs" / "vae" / "model.safetensors").unlink()
    assert "saved no such state yet" in refused("train", "vae", "--from", "vae", *tiny)
    assert not (home / "runs" / "vae-digits-1").exists()


SHORT = {"epochs": 0.5, "settings": ["sample_images=0", "validation_images=50", "precision=float32"]}


@pytest.fixture
def whole(home):
    workbench.train("gated-pixelcnn", "digits", name="whole", start_from="gated-pixelcnn", **SHORT)
    return home / "runs" / "whole"


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def same(a, b):
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_a_run_goes_on_bit_for_bit(home, whole, monkeypatch):
    runs = home / "runs"
    # Stopped before its first step: what it began from may be gone.
    monkeypatch.setattr(_Run, "_plan", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        workbench.train("gated-pixelcnn", "digits", name="parts", start_from="gated-pixelcnn", **SHORT)
    monkeypatch.undo()
    monkeypatch.chdir(home)
    # Only a configuration: it begins from the run again.
    (runs / "copy").mkdir()
    shutil.copy(whole / "config.toml", runs / "copy")
    workbench.resume("copy")
    assert same(runs / "copy", whole)
    shutil.move(runs / "gated-pixelcnn", runs / "elsewhere")
    workbench.resume("parts")
    assert same(runs / "parts", whole)


def test_a_run_that_is_gone_or_changed_is_said(home, whole, refused):
    runs = home / "runs"
    (runs / "copy").mkdir()
    config = read_run_config(whole)
    replace(config, start=replace(config.start, weights="0" * 32)).write(runs / "copy")
    assert "run 'gated-pixelcnn' has other weights now than run 'copy' began from" in refused(
        "resume", "copy", "--quiet"
    )
    shutil.rmtree(runs / "gated-pixelcnn")
    assert "no run 'gated-pixelcnn'" in refused("resume", "copy", "--quiet")
