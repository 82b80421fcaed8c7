"""What samples are looked at with: the features of a small network that is trained on the data itself.

With labels it is a classifier of them. Without, it tells how an image was turned and mirrored, which needs an idea of
what the images show (rotation prediction, Gidaris et al. 2018, https://arxiv.org/abs/1803.07728, with mirroring).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.batches import Batch, Batches, sequential
from limner.data.imageset import ImageSet
from limner.data.named import STACKED
from limner.errors import LimnerError
from limner.nn.coders import ConvEncoder
from limner.noise import seeded
from limner.training.checkpoints import read_tensors, restore_module, with_prefix, write_tensors

__all__ = ["FeatureNetwork", "data_digest", "feature_network", "train_features"]

DIMENSIONS = 64  # of the features: few, so that a covariance of some hundred images means something
WIDTH = 8  # maps at full size
BATCH = 128
EPOCHS, MOST_STEPS = 30, 600
RATE = 2e-3
LOOKED_AT = 1000  # images that the digest and the scale of the features are of

OnProgress = Callable[[str, int, int], None]  # (stage, done, total)


class FeatureNetwork(nn.Module):
    """Features and classes of uint8 images ``(B, C, H, W)``.

    Features are centred and have a mean variance of 1 over the training images, so that distances have a unit.

    Args:
        shape: ``(C, H, W)``.
        classes: K of the labels; 0 without labels.
        channelwise: Each channel is an image of its own whose class is one digit of the label, the first channel's
            the most significant: the features of the channels are joined.

    Attributes:
        figures: What is known of it: task, validation accuracy, steps, seed, and the digest of the data.
    """

    mean: Tensor
    scale: Tensor
    places: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int, *, channelwise: bool = False) -> None:
        super().__init__()
        c, h, w = shape
        self.shape, self.classes, self.channelwise = shape, classes, channelwise
        self.orientations = 8 if h == w else 4
        digits = c if channelwise else 1  # of a label
        self.base = round(classes ** (1 / digits)) or self.orientations
        self.encoder = ConvEncoder((1, h, w) if channelwise else shape, WIDTH, DIMENSIONS)
        self.head = nn.Linear(DIMENSIONS, self.base)
        self.register_buffer("mean", torch.zeros(DIMENSIONS))
        self.register_buffer("scale", torch.ones(()))
        places = self.base ** torch.arange(digits - 1, -1, -1)  # what each digit counts
        self.register_buffer("places", places, persistent=False)
        self.figures: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.scale.device

    def forward(self, images: Tensor) -> Tensor:
        """Features float ``(B, D)``."""
        z = self._encoded(images)
        return ((z - self.mean) / self.scale).view(len(images), -1)

    def logits(self, images: Tensor) -> Tensor:
        """Of classes (of orientations without labels), ``(B, K)``; of a channelwise network of digits, ``(B·C, base)``.

        An image's channels follow each other.
        """
        return self.head(F.gelu(self._encoded(images)))

    def classify(self, images: Tensor) -> Tensor:
        """The most probable class, int64 ``(B,)``."""
        digits = self.logits(images).argmax(1).view(len(images), -1)  # (B, C) or (B, 1)
        return (digits * self.places).sum(1)  # a GPU multiplies no matrices of whole numbers

    def _encoded(self, images: Tensor) -> Tensor:
        if self.channelwise:
            images = images.flatten(0, 1)[:, None]  # (B·C, 1, H, W)
        return self.encoder(images.to(self.device, torch.float32) / 127.5 - 1)

    def targets(self, labels: Tensor) -> Tensor:
        """What ``logits`` are to say of images with labels int64 ``(B,)``."""
        return (labels.to(self.device)[:, None] // self.places % self.base).flatten()

    def save(self, path: Path) -> None:
        """One safetensors file, the figures as JSON in its header.

        Raises:
            LimnerError: It cannot be written.
        """
        made = {"shape": list(self.shape), "classes": self.classes, "channelwise": self.channelwise}
        write_tensors(path, with_prefix("features", self.state_dict()), made | {"figures": self.figures})

    @classmethod
    def load(cls, path: Path) -> FeatureNetwork:
        """The network of a file that ``save`` wrote.

        Raises:
            LimnerError: The file is missing, damaged or not of this kind.
        """
        tensors, header = read_tensors(path)
        try:
            c, h, w = header["shape"]
            made = (c, h, w), header["classes"]
            with torch.device("meta"):  # which takes no memory
                sizes = {
                    f"features.{k}": v.shape
                    for k, v in cls(*made, channelwise=header["channelwise"]).state_dict().items()
                }
            if sizes != {name: tensor.shape for name, tensor in tensors.items()}:
                raise ValueError("it has other tensors")
            network = cls(*made, channelwise=header["channelwise"])
            network.figures = {"task": str(header["figures"]["task"]), **header["figures"]}
            float(network.figures["accuracy"])
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            raise LimnerError(f"{path} holds no feature network: remove it, and it is trained again") from error
        restore_module(network, "features", tensors, path)
        return network.requires_grad_(False).eval()


def turned(images: Tensor, orientation: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` mirrored where bit 0 of ``orientation`` ``(B,)`` is set, upside down by bit 1.

    And transposed by bit 2, for square images: together the eight symmetries of the square.
    """
    for bit, change in enumerate((lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2))):
        chosen = (orientation >> bit & 1).bool()
        if chosen.any():
            images = images.clone()
            images[chosen] = change(images[chosen])
    return images


def data_digest(data: ImageSet) -> str:
    """A name for a data set: of its shape, its size, and images and labels spread over the training split."""
    train = data.split("train")
    chosen = _spread(len(train))
    digest = hashlib.blake2b(repr((data.shape, data.levels, len(train), data.label_names)).encode(), digest_size=8)
    digest.update(train.take(chosen).numpy().tobytes())
    if train.labels is not None:
        digest.update(train.labels[chosen].numpy().tobytes())
    return digest.hexdigest()


def _spread(n: int) -> Tensor:
    return torch.arange(n) if n <= LOOKED_AT else torch.linspace(0, n - 1, LOOKED_AT).round().long()


def train_features(
    data: ImageSet, *, seed: int = 0, device: torch.device | None = None, on_progress: OnProgress | None = None
) -> FeatureNetwork:
    """Train a feature network on the training split: a function of the data and the seed, seconds to a minute.

    Args:
        data: With labels or without.
        seed: Of initial weights, order and orientations.
        device: Where; by default the CPU.
        on_progress: Told ``(stage, done, total)``.
    """
    train, validation = data.split("train"), data.splits["validation"]
    classes = len(data.label_names) if train.labels is not None else 0
    with seeded(seed):
        network = FeatureNetwork(data.shape, classes, channelwise=data.source == STACKED).to(device)
    batches = Batches(train, BATCH, seed)
    steps = min(EPOCHS * batches.steps_per_epoch, MOST_STEPS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for done, batch in enumerate(itertools.islice(batches.from_step(0), steps), 1):
        logits, targets = _asked(network, batch, generator)
        optimizer.zero_grad()
        F.cross_entropy(logits, targets).backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress("training the feature network", done, steps)
    network.requires_grad_(False).eval()
    with torch.no_grad():
        z = network._encoded(train.take(_spread(len(train))))
        network.mean.copy_(z.mean(0))
        network.scale.copy_(z.var(0, correction=0).mean().sqrt().clamp_min(1e-12))
        right = []
        for batch in sequential(validation if len(validation) else train, 500, 10_000):
            logits, targets = _asked(network, batch, generator)
            right.append(logits.argmax(1) == targets)
    network.figures = {
        "task": "labels" if classes else "orientation",
        "accuracy": float(torch.cat(right).double().mean()),
        "steps": steps,
        "seed": seed,
        "data": data_digest(data),
    }
    return network


def _asked(network: FeatureNetwork, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The network's logits of images and the right answers: their labels, or how they were turned."""
    if network.classes:
        return network.logits(batch.images), network.targets(cast(Tensor, batch.labels))
    orientation = torch.randint(0, network.orientations, (len(batch.images),), generator=generator)
    return network.logits(turned(batch.images, orientation)), orientation.to(network.device)


def feature_network(
    data: ImageSet, folder: Path, *, device: torch.device | None = None, on_progress: OnProgress | None = None
) -> FeatureNetwork:
    """The feature network of a data set: read from ``folder``, or trained once and kept there.

    Where it cannot be kept it is trained again the next time: it is a function of the data.
    """
    digest = data_digest(data)
    path = folder / f"{digest}.safetensors"
    with contextlib.suppress(LimnerError):  # missing or damaged: it is trained anew
        network = FeatureNetwork.load(path)
        if network.figures.get("data") == digest:
            return network.to(device)
    network = train_features(data, device=device, on_progress=on_progress)
    with contextlib.suppress(OSError, LimnerError):
        folder.mkdir(parents=True, exist_ok=True)
        network.save(path)
    return network
