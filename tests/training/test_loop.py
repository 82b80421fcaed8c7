"""The loop: what a time budget is spent on; what is no number."""

import math
import time

import pytest
import torch
from lightning_fabric import Fabric

from limner.data import MemoryStore, Split
from limner.errors import LimnerError
from limner.files import read_json_lines
from limner.models.recipes import TrainingConfig
from limner.models.vae import VAE, VAEConfig
from limner.training.checkpoints import read_tensors, write_tensors
from limner.training.loop import train
from limner.training.objectives import SingleLoss


class Slow(SingleLoss):
    def validate(self, batches):
        time.sleep(0.12)
        return super().validate(batches)


def test_evaluations_do_not_eat_the_budget(tmp_path):
    config = TrainingConfig(minutes=0.024, evaluations=20, batch_size=4, sample_images=0, precision="float32")
    split = Split(MemoryStore(255 * torch.randint(0, 2, (40, 1, 2, 2), dtype=torch.uint8)))
    model = VAE(VAEConfig(latent=1, network="dense", hidden=4), (1, 2, 2), 2)
    outcome = train(Slow(model, config, Fabric(accelerator="cpu", devices=1)), split, split, tmp_path)
    steps = [r["step"] for r in read_json_lines(tmp_path / "metrics.jsonl") if "validation" in r]
    assert 2 <= len(steps) <= 4  # of a second and a half: while they took at most a fifth, and at the end; not 20
    assert steps[-1] == outcome.step


class Poisoned(SingleLoss):
    """Something becomes no number in step 6: a weight, its gradient once, or its gradient from then on."""

    where = ""

    def step(self, batch, factor, step):
        weight = self.model.decoder[0].weight
        if step == 6 and self.where == "weight":
            weight.data[0, 0] = math.nan
        hit = step == 6 if self.where == "gradient once" else step >= 6 and self.where == "gradient"
        hook = weight.register_hook(lambda g: g * math.nan) if hit else None
        try:
            return super().step(batch, factor, step)
        finally:
            if hook:
                hook.remove()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("weight", r"stopped at step 6: the term 'reconstruction' became nan"),
        ("gradient", r"stopped at step 9: the gradient of decoder\.0\.weight became nan"),
    ],
)
def test_a_planted_nan_is_named_and_the_run_goes_on_as_if_it_had_not_been(tmp_path, where, said):
    ends = {}
    for name in ("whole", "poisoned"):
        (tmp_path / name).mkdir()
        objective = poisoned("" if name == "whole" else where)
        if name == "poisoned":
            with pytest.raises(LimnerError, match=said):
                train(objective, SPLIT, SPLIT, tmp_path / name)
            tensors, numbers = read_tensors(tmp_path / name / "state.safetensors")
            assert numbers["step"] == 5
            assert all(torch.isfinite(x).all() for x in tensors.values() if x.is_floating_point())
            objective = poisoned("")
        train(objective, SPLIT, SPLIT, tmp_path / name, resume=name == "poisoned")
        ends[name] = read_tensors(tmp_path / name / "model.safetensors")[0]
    assert all(torch.equal(x, ends["poisoned"][name]) for name, x in ends["whole"].items())


def test_a_gradient_that_is_no_number_once_is_passed_over(tmp_path):
    train(poisoned("gradient once"), SPLIT, SPLIT, tmp_path)
    lines = [r["train"] for r in read_json_lines(tmp_path / "metrics.jsonl") if "train" in r]
    assert [r.get("skipped") for r in lines] == [1 if step == 6 else None for step in range(20)]
    tensors, numbers = read_tensors(tmp_path / "state.safetensors")
    write_tensors(tmp_path / "state.safetensors", tensors, numbers | {"skipped": 2, "finished": False})
    going_on = poisoned("")
    going_on.step = lambda *words: pytest.fail("it has taken all its steps")
    train(going_on, SPLIT, SPLIT, tmp_path, resume=True)
    assert (numbers["skipped"], going_on.skipped) == (0, 2)


SPLIT = Split(MemoryStore(255 * torch.randint(0, 2, (40, 1, 2, 2), generator=torch.Generator().manual_seed(0)).byte()))


def poisoned(where):
    torch.manual_seed(0)
    config = TrainingConfig(epochs=2, evaluations=4, batch_size=4, sample_images=0, precision="float32")
    model = VAE(VAEConfig(latent=1, network="dense", hidden=4), (1, 2, 2), 2)
    objective = Poisoned(model, config, Fabric(accelerator="cpu", devices=1))
    objective.where = where
    return objective
