"""The loop: what a time budget is spent on."""

import time

import torch
from lightning_fabric import Fabric

from limner.data import MemoryStore, Split
from limner.files import read_json_lines
from limner.models.recipes import TrainingConfig
from limner.models.vae import VAE, VAEConfig
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
