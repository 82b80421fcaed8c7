"""Training in several threads at once gives the weights that it gives alone."""

import time
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors.torch import load_file

from limner import workbench
from limner.noise import seeded

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
