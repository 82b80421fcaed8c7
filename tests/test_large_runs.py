"""Runs on sets that are not read whole."""

import hashlib
import signal

import numpy as np
import pytest
from PIL import Image

from benchmarks.crashes import differences
from limner import workbench
from limner.runs import read_config
from limner.training.objectives import SingleLoss

SETTINGS = ("epochs=1.6", "batch_size=16", "evaluations=3", "patience=0", "precision=float32", "augment=flip")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of more images than a buffer of windows would need, as a set that is large; and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LIMNER_STREAM_ABOVE", "1")
    chance = np.random.default_rng(3)
    for i in range(300):
        where = tmp_path / "photos" / f"{i // 150}"
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (8, 8), np.uint8)).save(where / f"{i:03}.png")
    return tmp_path / "photos"


@pytest.fixture
def seen(monkeypatch):
    """A hash of the images by step, and where to stop as by Ctrl-C; trials before a training are overwritten."""

    class Seen(dict):
        stop = -1

    steps, real = Seen(), SingleLoss.step

    def step(self, batch, factor, number):
        steps[number] = hashlib.blake2b(batch.images.numpy().tobytes()).hexdigest()
        if number == steps.stop:
            signal.raise_signal(signal.SIGINT)
        return real(self, batch, factor, number)

    monkeypatch.setattr(SingleLoss, "step", step)
    return steps


def test_resume_in_the_middle_of_an_epoch(photos, seen, tiny, tmp_path, monkeypatch):
    settings, twin, found = [*tiny["vae"], *SETTINGS], tmp_path / "twin", {}
    unbroken = workbench.train("vae", photos, name="unbroken", runs=tmp_path, settings=settings)
    assert read_config(unbroken.folder)["data"]["window"] == 64
    expected = dict(seen)
    assert list(expected) == list(range(24))
    for stop in (7, 18):
        seen.clear()
        seen.stop = stop
        if twin.is_dir():
            workbench.resume(twin)
        else:
            workbench.train("vae", photos, name="twin", runs=tmp_path, settings=settings)
        assert max(seen) == stop
        found.update(seen)
    seen.clear()
    monkeypatch.setenv("LIMNER_STREAM_ABOVE", "1000000000")  # the set is read whole now, in the order of before
    workbench.resume(twin)
    assert min(seen) == 19
    assert found | seen == expected
    assert differences(twin, unbroken.folder) == []


def test_commands_on_a_large_set(photos, limner, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = [limner("data", photos, "--json").record for _ in range(2)]
    assert known[0] == known[1]
    assert known[0]["splits"] == {"train": 240, "validation": 30, "test": 30}
    assert not known[0]["in_memory"]
    words = [f"--set={setting}" for setting in (*tiny["autoencoder"], "epochs=0.5", "precision=float32")]
    assert limner("train", "autoencoder", "--data", photos, "--name", "mine", "--quiet", *words).code == 0
    assert limner("evaluate", "mine", "--json").record["n"] == 30
