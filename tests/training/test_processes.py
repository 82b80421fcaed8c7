"""Several processes train as one does: gradients, weights, images, whoever is stopped or killed on the way."""

import math
import os
from pathlib import Path

import pytest
import torch

from benchmarks.ranks import MODELS, apart, found, furthest, stops, together
from limner.training.processes import ALONE, Processes

# Of each, what a part of the batch may not change; no number of processes divides the batch.
SETTINGS = {
    "pixelcnn": ["accumulate=2"],
    "vae": ["accumulate=2"],
    "gan": ["network=dcgan"],  # with the moments of a BatchNorm
    "patch-pixelcnn": ["accumulate=3", "dropout=0.2"],
}
COMMON = ["batch_size=37", "epochs=2", "evaluations=2"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked, and stopped by signals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def alone(folder):
    """What one process finds, of all models."""
    (folder / "whole").mkdir()
    jobs = []
    for model in MODELS:
        common = {"model": model, "settings": [*COMMON, *SETTINGS[model]]}
        (folder / f"whole-{model}").mkdir()
        jobs += [
            (f"gradients-{model}-1", "gradients", dict(common)),
            (f"weights-{model}-1", "weights", common | {"steps": 8}),
            (f"whole-{model}", "training", common | {"folder": str(folder / f"whole-{model}")}),
        ]
    assert together(1, jobs, folder) == [0]
    return folder


@pytest.mark.parametrize("count", [2, 3])
def test_the_same_batch_gives_the_same_step_on_any_number_of_processes(alone, count):
    jobs = []
    for model in MODELS:
        common = {"model": model, "settings": [*COMMON, *SETTINGS[model]]}
        jobs += [
            (f"gradients-{model}-{count}", "gradients", dict(common)),
            (f"weights-{model}-{count}", "weights", common | {"steps": 8}),
        ]
    assert together(count, jobs, alone) == [0] * count
    for model in MODELS:
        one, many = (found(alone, f"gradients-{model}-{n}") for n in (1, count))
        assert apart(many, one) < 1e-5
        one, many = (found(alone, f"weights-{model}-{n}") for n in (1, count))
        assert furthest(many, one) < 1e-10
        assert any("running_var" in name for name in one) == (model == "gan")


@pytest.mark.parametrize("model", ["vae", "patch-pixelcnn"])
def test_a_training_goes_on_on_another_number_of_processes(alone, model):
    """Stopped by a signal that only one of them gets, in the middle of an epoch, twice."""
    place = alone / f"broken-{model}"
    place.mkdir()
    seen = []
    for count, name, options in stops(model, [*COMMON, *SETTINGS[model]], (13, 41)):
        job = (f"{name}-{model}", "training", options | {"folder": str(place)})
        assert together(count, [job], alone) == [0] * count
        seen.append(found(alone, f"{name}-{model}").pop("seen"))
    assert [len(part) for part in seen[:2]] == [14, 28]
    expected, last = found(alone, f"whole-{model}"), found(alone, f"on-3-{model}")
    assert torch.equal(torch.cat(seen), expected.pop("seen"))
    last.pop("seen")
    assert furthest(last, expected) < 1e-10


def test_where_one_is_killed_the_others_end_and_the_checkpoint_is_whole(folder):
    place = folder / "killed"
    place.mkdir()
    common = {"model": "vae", "settings": ["epochs=2", "checkpoint_seconds=0.01"], "folder": str(place)}
    assert together(2, [("killed", "training", common | {"kill_at": 9})], folder) == [75, -9]
    assert "another process of this training has ended" in Path(folder, "killed.0.error").read_text()
    assert together(1, [("after", "training", common | {"resume": True})], folder) == [0]
    assert 11 <= len(found(folder, "after")["seen"]) <= 20


def test_one_process_alone_exchanges_nothing():
    assert ALONE.slice(37) == (0, 37)
    assert ALONE.sums({"a": 1.5}) == {"a": 1.5}
    assert ALONE.agreed(3.0) == 3.0
    assert ALONE.told({"a": [1]}) == {"a": [1]}
    x = torch.arange(3)
    assert ALONE.gathered(x) is x


@pytest.mark.parametrize("n", [1, 2, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_slices_are_all_images_once(n, count):
    parts = [Processes(rank, count).slice(n) for rank in range(count)]
    assert [i for start, stop in parts for i in range(start, stop)] == list(range(n))
    assert max(b - a for a, b in parts) <= math.ceil(n / count)
