"""Several processes train as one does: gradients, weights, images, whoever is stopped or killed on the way."""

import json
import math
import os
import signal
import subprocess
import sys
import time
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


COMMAND = ["vae", "--quiet", "--set", "hidden=16", "latent=2", "sample_images=4", "precision=float32"]


def call(words, folder):
    """``limner WORDS`` in a process of its own, in ``folder``."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LIMNER_RUNS", "WORLD_SIZE", "RANK")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "limner", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_command_line_trains_in_several_processes_and_a_signal_saves_once(tmp_path, monkeypatch, limner):
    process = call(["train", *COMMAND, "epochs=500", "--name", "both", "--processes", "2"], tmp_path)
    state = tmp_path / "runs/both/state.json"
    end = time.monotonic() + 60
    while not (state.is_file() and process.poll() is None) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == b""
    assert err.count(b"stopped and saved") == 1
    assert json.loads(state.read_text())["processes"] == 2
    step = json.loads(state.read_text())["step"]
    monkeypatch.chdir(tmp_path)
    said = limner("resume", "both", "--quiet", "--epochs", step // 11 + 2)  # on one
    assert (said.code, said.out) == (0, "runs/both/report.html\n")
    assert json.loads(state.read_text())["step"] > step


def test_more_processes_than_images_in_a_batch_are_refused(folder):
    place = folder / "many"
    place.mkdir()
    job = ("many", "training", {"model": "vae", "settings": ["batch_size=1"], "folder": str(place)})
    assert together(2, [job], folder) == [2, 2]
    assert "2 processes need as many images in a batch" in Path(folder, "many.0.error").read_text()


def test_several_seeds_and_several_processes_are_refused(refused):
    assert "leave --processes out" in refused("train", "vae", "--seeds", 2, "--processes", 1)
