"""What ``benchmarks.peers_vae`` asks of pythae: run by the Python of an environment that has pythae and not limner.

python benchmarks/pythae_worker.py REQUEST.json ARRAYS.npz ANSWER.json
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn


def layers(name: str, described: list[Any], arrays: dict[str, np.ndarray]) -> nn.Module:
    """Limner's own network of that class and those sizes, with its weights; the file needs nothing but torch."""
    path = Path(__file__).resolve().parent.parent / "limner" / "nn" / "coders.py"
    spec = importlib.util.spec_from_file_location("coders", path)
    assert spec is not None
    assert spec.loader is not None
    coders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(coders)
    kind, *sizes = described
    net = getattr(coders, kind)(*(getattr(nn, size) if isinstance(size, str) else size for size in sizes))
    net.load_state_dict({key: torch.from_numpy(arrays[f"{name}.{key}"]) for key in net.state_dict()})
    return net


class Encoder(BaseEncoder):
    """μ and ln σ², of the layers' μ and ln σ before it is bounded to ±7."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> ModelOutput:
        """As pythae wants it, of pixels in {0, 1}; limner's networks see them in {-1, 1}."""
        mean, log_std = self.net(2 * x - 1).chunk(2, 1)
        return ModelOutput(embedding=mean, log_covariance=14 * torch.tanh(log_std / 7))


class Decoder(BaseDecoder):
    """The probability of each pixel."""

    def __init__(self, net: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.shape = net, shape

    def forward(self, z: Tensor) -> ModelOutput:
        """As pythae wants it."""
        return ModelOutput(reconstruction=torch.sigmoid(self.net(z)).reshape(-1, *self.shape))


class Timed(BaseTrainer):
    """Pythae's trainer, which notes how long each pass over the data takes."""

    seconds: list[float]

    def train_step(self, epoch: int) -> Any:
        """One pass."""
        start = time.perf_counter()
        loss = super().train_step(epoch)
        self.seconds.append(time.perf_counter() - start)
        return loss


def train(model: VAE, x: Tensor, request: dict[str, Any]) -> dict[str, Any]:
    """Images a second of pythae's trainer, without its first pass."""
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=request["epochs"],
            per_device_train_batch_size=request["batch"],
            learning_rate=1e-3,
            keep_best_on_train=True,
            no_cuda=True,
        )
        trainer = Timed(model, BaseDataset(x, torch.zeros(len(x))), training_config=config)
        trainer.seconds = []
        trainer.train()
    return {"images_per_second": len(x) * (len(trainer.seconds) - 1) / sum(trainer.seconds[1:])}


@torch.no_grad()
def measure(model: VAE, x: Tensor, request: dict[str, Any]) -> dict[str, Any]:
    """-ln p of each picture by pythae's ``get_nll``, and the seconds that takes."""
    start = time.perf_counter()
    nats = [-model.get_nll(image[None], n_samples=request["samples"], batch_size=request["rows"]) for image in x]
    seconds = time.perf_counter() - start
    return {"nats": [float(value) for value in nats], "images_per_second": len(x) / seconds}


@torch.no_grad()
def terms(model: VAE, x: Tensor, request: dict[str, Any]) -> dict[str, Any]:
    """-ln p(x|z) at z = μ(x) and the KL, as pythae's loss adds them up, picture by picture."""
    found = []
    for image in x.split(1):
        code = model.encoder(image)
        picture = model.decoder(code.embedding).reconstruction
        _, reconstruction, kl = model.loss_function(picture, image, code.embedding, code.log_covariance, None)
        found.append((float(reconstruction), float(kl)))
    return {"terms": found}


def main() -> None:
    """Answer one request."""
    asked, given, answer = map(Path, sys.argv[1:])
    request = json.loads(asked.read_text())
    arrays = dict(np.load(given))
    torch.manual_seed(0)
    x = torch.from_numpy(arrays["images"]).float()
    shape = tuple(x.shape[1:])
    sizes = {"input_dim": shape, "latent_dim": request["latent"], "reconstruction_loss": "bce"}
    encoder, decoder = (layers(name, request[name], arrays) for name in ("encoder", "decoder"))
    model = VAE(VAEConfig(**sizes), Encoder(encoder), Decoder(decoder, shape))
    if request["samples_in_training"] > 1:
        config = IWAEConfig(**sizes, number_samples=request["samples_in_training"])
        model = IWAE(config, model.encoder, model.decoder)
    model.eval()
    answer.write_text(
        json.dumps({"train": train, "measure": measure, "terms": terms}[request["do"]](model, x, request))
    )


if __name__ == "__main__":
    main()
