"""What ``benchmarks.peers_vae`` asks of pythae: run by the Python of an environment that has pythae and not limner.

python benchmarks/pythae_worker.py REQUEST.json ARRAYS.npz ANSWER.json
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn


def dense(inputs: int, hidden: int, outputs: int, activation: type[nn.Module]) -> list[nn.Module]:
    """Two hidden layers and the outputs."""
    first, second, last = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
    return [first, activation(), second, activation(), last]


def sizes_of(height: int, width: int, features: int) -> tuple[list[tuple[int, int]], list[int]]:
    """The sizes of the maps from full size down, each half the one before, and how many there are."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 8:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes, [min(features * 2**i, 8 * features) for i in range(len(sizes))]


class ResidualBlock(nn.Module):
    """Two convolutions added to the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class ConvEncoder(nn.Module):
    """Strided convolutions and residual units, then one dense layer."""

    def __init__(self, shape: list[int], features: int, outputs: int) -> None:
        super().__init__()
        c, h, w = shape
        sizes, maps = sizes_of(h, w, features)
        layers: list[nn.Module] = [nn.Conv2d(c, maps[0], 3, padding=1), nn.GELU()]
        for before, after in zip(maps, maps[1:]):  # noqa: B905, RUF007 - as plain as can be
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), ResidualBlock(after)]
        self.layers = nn.Sequential(*layers, nn.GELU(), nn.Flatten())
        self.out = nn.Linear(maps[-1] * sizes[-1][0] * sizes[-1][1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Of images."""
        return self.out(self.layers(x))


class ConvDecoder(nn.Module):
    """One dense layer, then residual units and doublings."""

    def __init__(self, latent: int, features: int, shape: list[int]) -> None:
        super().__init__()
        c, h, w = shape
        sizes, maps = sizes_of(h, w, features)
        self.sizes, maps = sizes[::-1], maps[::-1]
        self.start = nn.Linear(latent, maps[0] * self.sizes[0][0] * self.sizes[0][1])
        self.units = nn.ModuleList(ResidualBlock(m) for m in maps[:-1])
        self.ups = nn.ModuleList(nn.Conv2d(m, n, 3, padding=1) for m, n in zip(maps, maps[1:]))  # noqa: B905, RUF007
        self.out = nn.Conv2d(maps[-1], c, 3, padding=1)
        self.layout = torch.contiguous_format

    def forward(self, z: Tensor) -> Tensor:
        """Of codes."""
        x = self.start(z).unflatten(1, (-1, *self.sizes[0])).to(memory_format=self.layout)
        for unit, up, size in zip(self.units, self.ups, self.sizes[1:]):  # noqa: B905
            x = F.interpolate(up(unit(x)), size=size)
        return self.out(F.gelu(x))


def layers(name: str, described: list[Any], arrays: dict[str, np.ndarray], channels_last: bool) -> nn.Module:
    """Limner's networks in plain torch, with limner's weights; the names of the weights are the same."""
    kind, *sizes = described
    if kind.startswith("Dense"):
        activation = getattr(nn, sizes.pop())
        given, hidden, made = sizes
        if kind == "DenseEncoder":
            net: Any = nn.Sequential(nn.Flatten(), *dense(math.prod(given), hidden, made, activation))
        else:
            net = nn.Sequential(*dense(given, hidden, math.prod(made), activation), nn.Unflatten(1, made))
    else:
        net = {"ConvEncoder": ConvEncoder, "ConvDecoder": ConvDecoder}[kind](*sizes)
        if channels_last:
            net = net.to(memory_format=torch.channels_last)
            net.layout = torch.channels_last
    net.load_state_dict({key: torch.from_numpy(arrays[f"{name}.{key}"]) for key in net.state_dict()})
    return net


class Encoder(BaseEncoder):
    """μ and ln σ², of the layers' μ and ln σ before it is bounded to ±7."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> ModelOutput:
        """As pythae wants it, of pixels in {0, 1}; limner's networks see them in {-1, 1}."""
        x = (2 * x - 1).contiguous(memory_format=getattr(self.net, "layout", torch.contiguous_format))
        mean, log_std = self.net(x).chunk(2, 1)
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
    """-ln p of each image by pythae's ``get_nll``, and the seconds that takes."""
    start = time.perf_counter()
    nats = [-model.get_nll(image[None], n_samples=request["samples"], batch_size=request["rows"]) for image in x]
    seconds = time.perf_counter() - start
    return {"nats": [float(value) for value in nats], "images_per_second": len(x) / seconds}


@torch.no_grad()
def terms(model: VAE, x: Tensor, request: dict[str, Any]) -> dict[str, Any]:
    """-ln p(x|z) at z = μ(x) and the KL, as pythae's loss adds them up, image by image."""
    found = []
    for image in x.split(1):
        code = model.encoder(image)
        decoded = model.decoder(code.embedding).reconstruction
        _, reconstruction, kl = model.loss_function(decoded, image, code.embedding, code.log_covariance, None)
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
    encoder, decoder = (
        layers(name, request[name], arrays, request.get("channels_last", False)) for name in ("encoder", "decoder")
    )
    model = VAE(VAEConfig(**sizes), Encoder(encoder), Decoder(decoder, shape))
    if request["samples_in_training"] > 1 and request["do"] == "train":
        config = IWAEConfig(**sizes, number_samples=request["samples_in_training"])
        model = IWAE(config, model.encoder, model.decoder)
    model.eval()
    answer.write_text(
        json.dumps({"train": train, "measure": measure, "terms": terms}[request["do"]](model, x, request))
    )


if __name__ == "__main__":
    main()
