"""Training in several threads at once gives the weights that it gives alone; what a thread's processor is told."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors.torch import load_file

from limner import workbench
from limner.devices import flushing_denormals
from limner.noise import seeded
from limner.training.objectives import SingleLoss

MODELS = {"patch-pixelcnn": ["dropout=0.3"], "ladder-vae": ["dropout=0.3"], "vae": [], "gan": []}


def test_four_threads_give_the_weights_of_one(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(workbench.Run, "report", lambda run, seconds: None)
    digits = workbench.load_data("digits")

    def weights(model, folder):
        settings = [*tiny[model], "sample_images=0", *MODELS[model]]
        run = workbench.train(model, digits, name=model, runs=tmp_path / folder, epochs=0.5, settings=settings)
        return load_file(run.folder / "state.safetensors")

    before = torch.get_rng_state()
    alone = {model: weights(model, "alone") for model in MODELS}
    assert torch.equal(torch.get_rng_state(), before)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(weights, MODELS, ["together"] * 4))
    for model, found in zip(MODELS, together, strict=True):
        for name, expected in alone[model].items():
            assert torch.equal(found[name], expected), (model, name)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_serves_one_thread_at_a_time():
    def drawn(seed):
        with seeded(seed):
            first = torch.rand(3)
            time.sleep(0.02)  # here the others would draw
            return torch.cat([first, torch.rand(3)])

    alone = [drawn(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert torch.equal(torch.stack(list(pool.map(drawn, range(4)))), torch.stack(alone))


def flushes():
    return (torch.tensor(1e-40) * 1.0).item() == 0


def test_training_flushes_denormals_and_leaves_this_thread_as_it_was(tmp_path, monkeypatch, tiny):
    """The tails of GELU are full of them, and each takes a CPU a hundred times as long."""
    seen, step = [], SingleLoss.step
    monkeypatch.setattr(SingleLoss, "step", lambda self, *words: seen.append(flushes()) or step(self, *words))
    assert not flushes()
    run = workbench.train("vae", "digits", settings=tiny["vae"], runs=tmp_path, quiet=True)
    assert seen
    assert all(seen)
    assert not flushes()
    with flushing_denormals():
        workbench.train("vae", "digits", settings=tiny["vae"], runs=tmp_path, quiet=True)
        assert flushes()
    assert not flushes()
    assert run.outcome


def test_threads_that_begin_while_they_are_flushed_flush_them_too():
    code = (
        "import torch\nfrom limner.devices import flushing_denormals\ntorch.set_num_threads(2)\n"
        "with flushing_denormals():\n    print(int((torch.full((4_000_000,), 1e-40) * 1.5).count_nonzero()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
