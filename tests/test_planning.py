"""What a training will need is known before it begins: memory, time, and what is changed so that they suffice."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from limner import workbench
from limner.config.run_config import DataConfig, RunConfig
from limner.config.settings import with_settings
from limner.data import ImageSet, MemoryStore, Split
from limner.data.fitting import choose_size
from limner.errors import LimnerError
from limner.memory import network_room
from limner.models import families, family
from limner.models.cost import LiveBytes, images_at_once
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.vae import VAE, VAEConfig
from limner.runs import read_config
from limner.training.cost import parts_that_fit, step_bytes
from limner.training.schedules import Schedule, for_steps, replan
from limner.workbench import planning
from limner.workbench.planning import Plan, fitting, timed

GB = 10**9


def config_of(model, shape, *settings, levels=256):
    def recipe(shape):
        return with_settings(family(model).recipe("default", shape), settings, model)

    return RunConfig(model, DataConfig("made", shape, levels, {"train": 1000}), recipe(shape)), recipe


@pytest.fixture
def room(monkeypatch):
    return lambda count: monkeypatch.setenv("LIMNER_NETWORK_MEMORY", str(count))


def test_bytes_are_counted_while_they_live():
    with LiveBytes() as live:
        x = torch.zeros(1000)  # 4,000 bytes
        y = x.view(10, 100).T  # of the same
        assert (live.now, live.most) == (4000, 4000)
        z = x + 1
        assert live.now == 8000
        del z
        assert (live.now, live.most) == (4000, 8000)
        del x
        assert live.now == 4000
        del y
        assert live.now == 0


@pytest.mark.parametrize("name", families())
def test_every_familys_step_is_counted(name, tiny):
    """More images take more; parameters count; and what was counted can still be run."""
    config, _ = config_of(name, (1, 8, 8), *tiny[name], levels=2)
    before = torch.get_rng_state()
    one, many = (step_bytes(config.build, config.recipe.training, n) for n in (2, 256))
    assert torch.equal(torch.get_rng_state(), before)
    model = config.build()
    assert one is not None
    assert one > 16 * sum(p.numel() for p in model.parameters())
    assert many > one + 254 * 4 * 64
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert all(term.isfinite().all() for term in model(images, torch.Generator()).values())


def test_a_batch_that_does_not_fit_goes_in_parts(room):
    config, recipe = config_of("pixelcnn", (3, 128, 128))
    room(4 * GB)
    plan = fitting(config, 1000, recipe)
    training = plan.config.recipe.training
    assert (training.batch_size, training.accumulate) == (64, 8)
    assert "accumulate=8: 64 images at once would take 26.8 GB" in plan.notes[0]
    assert plan.needed <= 4 * GB
    assert step_bytes(config.build, training, 64 // 4) > 4 * GB  # the smallest power of two that fits
    room(40 * GB)
    assert fitting(config, 1000, recipe) == Plan(config, plan.config and step_bytes(config.build, training, 64))


def test_the_size_that_a_refusal_names_fits_and_is_about_the_largest(room):
    small = ("features=4", "blocks=1", "head_features=4")
    config, recipe = config_of("pixelcnn", (3, 600, 800), *small)
    room(GB)
    with pytest.raises(LimnerError, match=r"one image of 800×600 takes a pixelcnn [0-9.]+ GB") as refused:
        fitting(config, 1000, recipe)
    height, width = map(int, re.search(r"size=\((\d+), (\d+)\) is the largest", str(refused.value)).groups())
    assert width / height == pytest.approx(800 / 600, rel=0.02)
    fits, _ = config_of("pixelcnn", (3, height, width), *small)
    assert fitting(fits, 1000, recipe).needed <= GB
    larger, _ = config_of("pixelcnn", (3, height * 12 // 10, width * 12 // 10), *small)
    assert parts_that_fit(larger.build, larger.recipe.training, 64, GB)[0] == 0


def test_parts_that_were_chosen_are_kept_in_the_run(tmp_path, room):
    settings = ["hidden=16", "latent=2", "network=dense", "batch_size=64", "epochs=0.1", "precision=float32"]
    config, _ = config_of("vae", (1, 8, 8), *settings, levels=17)
    room(
        (step_bytes(config.build, config.recipe.training, 64) + step_bytes(config.build, config.recipe.training, 32))
        // 2
    )
    run = workbench.train("vae", "digits", name="parts", runs=tmp_path, settings=settings)
    assert read_config(run.folder)["training"]["accumulate"] == 2
    room(10 * GB)
    whole = workbench.train("vae", "digits", name="whole", runs=tmp_path, settings=settings)
    for a, b in zip(run.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-4)  # AdamW divides by the gradient's size, and so its rounding


def test_room_is_a_number_of_bytes(room):
    room(5 * GB)
    assert network_room() == 5 * GB
    room("5G")
    with pytest.raises(LimnerError, match="LIMNER_NETWORK_MEMORY must be a whole number of bytes, not '5G'"):
        network_room()


def test_images_at_once_are_those_that_fit(room):
    large = PixelCNN(PixelCNNConfig(), (3, 256, 256), 256)
    small = VAE(VAEConfig(network="dense", hidden=8), (1, 8, 8), 2)
    room(8 * GB)
    many = images_at_once(large, 256)
    assert 1 < many < 256
    room(4 * GB)
    assert abs(images_at_once(large, 256) - many / 2) <= 1
    room(1)
    assert images_at_once(large, 256) == 1
    assert images_at_once(small, 256) == 256
    assert images_at_once(object(), 7) == 7


def data_of(shape, n=100):
    images = torch.zeros(n, *shape, dtype=torch.uint8)
    splits = {"train": Split(MemoryStore(images)), "validation": Split(MemoryStore(images[:20]))}
    return ImageSet("made", shape, 256, splits)


def plan_in(minutes, seconds, monkeypatch, model="vae", **more):
    """The plan of a run whose steps on a batch take ``seconds``."""
    monkeypatch.setattr(planning, "time_step", lambda *words: seconds)
    config, _ = config_of(model, (3, 32, 32), "features=4", "precision=float32", "batch_size=64")
    config = config.with_training(minutes=minutes, **more)
    return timed(Plan(config, GB), config.build(), data_of((3, 32, 32)))


def test_a_budget_gets_batches_and_validation_that_go_into_it(monkeypatch):
    quick = plan_in(20, 0.21, monkeypatch)
    assert quick.notes == ("needs 1.0 GB beside the images, 0.21 s a step: about 5,714 steps in 20:00",)
    slow = plan_in(1, 24.0, monkeypatch)  # 0.375 s an image
    training = slow.config.recipe.training
    assert (training.batch_size, training.validation_images) == (8, 19)
    assert slow.notes[0] == "batch_size=8: a step on 64 images takes 24 s here, and the budget is 1:00"
    with pytest.raises(LimnerError, match=r"a step on one image of 32×32 takes a vae 22 s here.*size=\((\d+), \1\) or"):
        plan_in(1, 22.0 * 64, monkeypatch)


def test_without_a_budget_the_time_is_only_said(monkeypatch):
    plan = plan_in(0, 100.0, monkeypatch, epochs=2.0)
    assert plan.config.recipe.training.batch_size == 64
    assert plan.notes == ("needs 1.0 GB beside the images, 1:40 a step: about 2 steps in about 3:20",)


def test_what_parts_cannot_share_is_said(monkeypatch):
    plan = plan_in(1, 0.01, monkeypatch, model="gan", accumulate=4, keep="last")
    assert plan.notes[0] == "BatchNorm's moments: of 16 images each, not of 64"


def test_time_is_left_for_what_comes_after_the_last_step():
    assert for_steps(60, 2.0) == 60 - (2 + 6 - 5)
    assert for_steps(1200, 10.0) == 1200 - (10 + 120 - 60)
    assert for_steps(1.0, 0.1) == 1.0  # within the seconds that it may be late
    # 10 s of 60 went before the first of 20 steps, of which one takes a second
    plan = replan(Schedule(0), 20, 30.0, 60.0, 0.5, before=10.0)
    assert plan.end == 20 + 30


def test_a_size_is_asked_for_where_images_are_large_and_none_is_given():
    asked = []

    def longest(native):
        asked.append(native)
        return 96, "which suits"

    assert choose_size([(600, 800)], None, "crop", longest)[0] == (72, 96)
    size, notes = choose_size([(600, 800), (600, 800), (60, 80)], None, "crop", longest)
    assert size == (72, 96)
    assert notes == ["images of 2 sizes: fitted to 96×72 by centre crop, which suits; choose with size and fit"]
    assert asked == [800, 800]
    assert choose_size([(600, 800)], (30, 40), "crop", longest)[0] == (30, 40)
    assert choose_size([(64, 64)], None, "crop", longest)[0] == (64, 64)
    assert choose_size([(600, 800)], None, "crop")[0] == (600, 800)


def test_photos_are_trained_at_a_size_that_suits(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    settings = ["features=4", "latent=2", "epochs=1", "precision=float32", "sample_images=0"]
    run = workbench.train("vae", folder, runs=tmp_path / "runs", settings=settings)
    _, h, w = run.config.data.shape
    assert max(h, w) in (120, 96, 64, 48, 32)
    assert w / h == pytest.approx(4 / 3, rel=0.05)
    assert any("choose with size and fit" in note for note in run.data().notes)
