"""What samples are looked at with: features of small filters (``patches.py``), and a classifier where there are labels.

Distances are of the features alone, which know no labels: how near samples come to the data must not depend on how hard
its classes are to tell. The classifier counts which classes are among the samples.
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

from limner.data.batches import Batches, sequential
from limner.data.imageset import ImageSet
from limner.data.named import STACKED
from limner.devices import wide
from limner.errors import LimnerError
from limner.evaluation.patches import FIT_IMAGES, PatchFeatures
from limner.nn.coders import ConvEncoder
from limner.noise import seeded
from limner.training.checkpoints import read_tensors, restore_module, with_prefix, write_tensors
from limner.version import FEATURES

__all__ = ["FeatureNetwork", "data_digest", "feature_network", "patch_features", "train_features"]

CODES = 64  # of the classifier, before its last layer
WIDTH = 8  # its maps at full size
BATCH = 128
EPOCHS, MOST_STEPS = 30, 600
RATE = 2e-3
LOOKED_AT = 1000  # images that the digest is of

OnProgress = Callable[[str, int, int], None]  # (stage, done, total)


class FeatureNetwork(nn.Module):
    """Features of uint8 images ``(B, C, H, W)``, and their classes where there are labels.

    Args:
        shape: ``(C, H, W)``.
        classes: K of the labels; 0 without labels.
        channelwise: For the classifier each channel is an image of its own whose class is one digit of the label, the
            first channel's the most significant.

    Attributes:
        figures: What is known of it: the digest of the data, the seed, the features' version; with labels the
            classifier's accuracy on held-out images and its steps.
    """

    places: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int, *, channelwise: bool = False) -> None:
        super().__init__()
        c, h, w = shape
        self.shape, self.classes, self.channelwise = shape, classes, channelwise
        self.patches = PatchFeatures(shape)
        digits = c if channelwise else 1  # of a label
        self.base = round(classes ** (1 / digits))
        if classes:
            self.encoder = ConvEncoder((1, h, w) if channelwise else shape, WIDTH, CODES)
            self.head = nn.Linear(CODES, self.base)
        places = self.base ** torch.arange(digits - 1, -1, -1)  # what each digit counts
        self.register_buffer("places", places, persistent=False)
        self.figures: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patches.mean.device

    def forward(self, images: Tensor) -> Tensor:
        """Features float ``(B, D)``."""
        return self.patches(images)

    def logits(self, images: Tensor) -> Tensor:
        """Of classes, ``(B, K)``; of a channelwise network of digits, ``(B·C, base)``, an image's channels in a row."""
        if self.channelwise:
            images = images.flatten(0, 1)[:, None]  # (B·C, 1, H, W)
        return self.head(F.gelu(self.encoder(images.to(self.device, torch.float32) / 127.5 - 1)))

    def classify(self, images: Tensor) -> Tensor:
        """The most probable class, int64 ``(B,)``."""
        digits = self.logits(images).argmax(1).view(len(images), -1)  # (B, C) or (B, 1)
        return (digits * self.places).sum(1)  # a GPU multiplies no matrices of whole numbers

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
            network.figures = dict(header["figures"])
            if network.figures["version"] != FEATURES:
                raise ValueError("it is of other features")
            if network.classes:
                float(network.figures["accuracy"])
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            raise LimnerError(f"{path} holds no feature network: remove it, and it is trained again") from error
        restore_module(network, "features", tensors, path)
        return network.requires_grad_(False).eval()


def data_digest(data: ImageSet) -> str:
    """A name for a data set: of its shape, its size, and images and labels spread over the training split."""
    train = data.split("train")
    chosen = _spread(len(train))
    digest = hashlib.blake2b(repr((data.shape, data.levels, len(train), data.label_names)).encode(), digest_size=8)
    digest.update(train.take(chosen).numpy().tobytes())
    if train.labels is not None:
        digest.update(train.labels[chosen].numpy().tobytes())
    return digest.hexdigest()


def _spread(n: int, most: int = LOOKED_AT) -> Tensor:
    return torch.arange(n) if n <= most else torch.linspace(0, n - 1, most).round().long()


def patch_features(data: ImageSet, *, seed: int = 0, device: torch.device | None = None) -> PatchFeatures:
    """The features of ``train_features`` alone, without a classifier: seconds."""
    train, network = data.split("train"), PatchFeatures(data.shape).to(device)
    network.fit(train.take(_spread(len(train), FIT_IMAGES)), torch.Generator().manual_seed(seed))
    return network.requires_grad_(False).eval()


def train_features(
    data: ImageSet, *, seed: int = 0, device: torch.device | None = None, on_progress: OnProgress | None = None
) -> FeatureNetwork:
    """Fit features to the training split, and train the classifier: a function of the data and the seed.

    Args:
        data: With labels or without.
        seed: Of patches, initial weights and order.
        device: Where; by default the CPU.
        on_progress: Told ``(stage, done, total)``.
    """
    train = data.split("train")
    classes = len(data.label_names) if train.labels is not None else 0
    with seeded(seed):
        network = FeatureNetwork(data.shape, classes, channelwise=data.source == STACKED).to(device)
    network.patches = patch_features(data, seed=seed, device=device)
    network.figures = {"version": FEATURES, "seed": seed, "data": data_digest(data)}
    if classes:
        network.figures |= _train_classifier(network, data, seed, on_progress)
    return network.requires_grad_(False).eval()


def _train_classifier(
    network: FeatureNetwork, data: ImageSet, seed: int, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Train the classifier in place; gives its accuracy on held-out images and its steps."""
    train, validation = data.split("train"), data.splits["validation"]
    batches = Batches(train, BATCH, seed)
    steps = min(EPOCHS * batches.steps_per_epoch, MOST_STEPS)
    optimizer = torch.optim.AdamW([*network.encoder.parameters(), *network.head.parameters()], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    network.train()
    for done, batch in enumerate(itertools.islice(batches.from_step(0), steps), 1):
        optimizer.zero_grad()
        F.cross_entropy(network.logits(batch.images), network.targets(cast(Tensor, batch.labels))).backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress("training the classifier of samples", done, steps)
    with torch.no_grad():
        right = [
            network.logits(batch.images).argmax(1) == network.targets(cast(Tensor, batch.labels))
            for batch in sequential(validation if len(validation) else train, 500, 10_000)
        ]
    return {"accuracy": float(wide(torch.cat(right)).mean()), "steps": steps}


def feature_network(
    data: ImageSet, folder: Path, *, device: torch.device | None = None, on_progress: OnProgress | None = None
) -> FeatureNetwork:
    """The feature network of a data set: read from ``folder``, or made once and kept there.

    Where it cannot be kept it is made again the next time: it is a function of the data.
    """
    digest = data_digest(data)
    path = folder / f"{digest}-{FEATURES}.safetensors"  # older versions keep theirs
    with contextlib.suppress(LimnerError):  # missing or damaged: it is trained anew
        network = FeatureNetwork.load(path)
        if network.figures.get("data") == digest:
            return network.to(device)
    network = train_features(data, device=device, on_progress=on_progress)
    with contextlib.suppress(OSError, LimnerError):
        folder.mkdir(parents=True, exist_ok=True)
        network.save(path)
    return network
