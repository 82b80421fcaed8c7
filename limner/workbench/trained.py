"""What a trained model says of anybody's images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from limner import sampling
from limner.config.run_config import RunConfig
from limner.data import Images, ImageSet, OneImage
from limner.errors import LimnerError, option
from limner.models import Latents, Model, Reconstructs, Scores, with_article
from limner.models.bounded import Bounded
from limner.workbench.classes import ClassLabel, class_of
from limner.workbench.inputs import classes_of, images_of

__all__ = ["Labels", "TrainedModel"]

Labels = ClassLabel | Sequence[ClassLabel] | np.ndarray | Tensor
"""The class of all images by name or number, or one for each."""

BATCH = 250  # images that are scored together


class TrainedModel(ABC):
    """A model with its weights, and what is asked of it with anybody's images.

    ``images`` are uint8 or floats in 0..1, as arrays or tensors ``(B, C, H, W)``, ``(B, H, W, C)`` or of one image, or
    a list of arrays, of Pillow's images, of paths, of words like ``test:7``. Files and Pillow's images are brought to
    the model's size as its data was. Results are tensors on the CPU; ``.numpy()`` gives an array of one.
    """

    config: RunConfig

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The model."""

    @abstractmethod
    def data(self) -> ImageSet:
        """What it was trained on."""

    def log_prob(self, images: Images | OneImage) -> Tensor:
        """ln p(x) of each image in nats, ``(B,)``: exact or a lower bound, see ``model.bound``.

        Raises:
            LimnerError: The model has no likelihood, or the images are not like those it was trained on.
        """
        model = self.model
        if not isinstance(model, Scores):
            raise LimnerError(f"{with_article(self.config.model)} has no likelihood, nor a bound of one")
        generator = torch.Generator(self.model.device).manual_seed(0)
        with torch.no_grad():
            parts = self._pixels(images).split(BATCH)
            return torch.cat([model.log_prob(part, generator=generator).cpu() for part in parts])

    def encode(self, images: Images | OneImage, label: Labels | None = None) -> Tensor:
        """Codes ``(B, D)`` of images; of their class, of a conditional model: ``label``, or the most probable.

        Raises:
            LimnerError: The model has no encoder or no such class, or the images do not fit.
        """
        return self.encoded(images, label)[1]

    def decode(self, codes: Tensor | np.ndarray, label: Labels | None = None) -> Tensor:
        """The images of codes or latents ``(B, D)``, uint8 ``(B, C, H, W)``; of a class, of a conditional model.

        Raises:
            LimnerError: The model has no latents, they are of another number, or the class is missing or unknown.
        """
        model, z = self.decoder(), self.checked_codes(codes)
        if self.model.classes and label is None:
            raise LimnerError(f"run {self.name!r} decodes codes of a class: say which with {option('label')}")
        return sampling.decode_all(model, z, self._labels(label, len(z)))

    @cached_property
    def dimensions(self) -> int:
        """How many numbers a code has.

        Raises:
            LimnerError: The model has no latents.
        """
        model = self.decoder()
        black = torch.zeros(1, *self.model.shape, dtype=torch.uint8)
        return sampling.dimensions(model) if isinstance(model, Latents) else model.encode(black).shape[1]

    def checked_codes(self, codes: Tensor | np.ndarray | Sequence[float]) -> Tensor:
        """Codes float32 ``(B, D)`` of ``(B, D)``, or of one ``(D,)``.

        Raises:
            LimnerError: The model has no latents, or they are of another number, or not finite.
        """
        z = torch.as_tensor(codes, dtype=torch.float32)
        z = z[None] if z.dim() == 1 else z
        if z.dim() != 2 or z.shape[1] != self.dimensions:
            raise LimnerError(f"codes of run {self.name!r} are (B, {self.dimensions}), not {tuple(z.shape)}")
        if not z.isfinite().all():
            raise LimnerError(f"codes of run {self.name!r} must be finite numbers")
        return z

    def walk(self, a: Tensor, b: Tensor, *, steps: int = 10, label: ClassLabel | None = None) -> tuple[Tensor, Tensor]:
        """The codes on the way from code a to b ``(D,)``, ``(steps, D)``, and their images ``(steps, C, H, W)``.

        Raises:
            LimnerError: As of ``decode``; or there are fewer than two steps.
        """
        ends = self.checked_codes(torch.stack([a, b]))
        codes = sampling.way(self.decoder(), ends[0], ends[1], steps)
        return codes, self.decode(codes, label)

    def reconstruct(self, images: Images | OneImage, label: Labels | None = None) -> Tensor:
        """Images encoded and decoded, uint8 ``(B, C, H, W)``.

        Raises:
            LimnerError: As of ``encode``.
        """
        _, codes, labels = self.encoded(images, label)
        return sampling.decode_all(self.encoder(), codes, labels)

    def interpolate(
        self,
        a: OneImage | None = None,
        b: OneImage | None = None,
        *,
        steps: int = 10,
        label: ClassLabel | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Images on the way from one image to another through their codes, uint8 ``(steps, C, H, W)``, ends included.

        Args:
            a: Where the way begins, of a model that encodes; by default a latent of the prior.
            b: Where it ends.
            steps: Images, ends included.
            label: The class, of a conditional model; by default that of the images, or 0.
            seed: Of drawn latents.

        Raises:
            LimnerError: The model has no latents or cannot encode, or the images are of two classes.
        """
        model, y = self.decoder(), self.class_of(label)
        if a is not None and b is not None:
            _, (start, end), labels = self.encoded([a, b], y)
            one = None if labels is None else labels.tolist()
            if one and one[0] != one[1]:
                which = f"say with {option('label')} which to walk in"
                raise LimnerError(f"the images are of classes {one[0]} and {one[1]}: {which}")
            return sampling.interpolate(model, start, end, steps, one[0] if one else None)
        if a is not None or b is not None:
            raise LimnerError("interpolate goes between 2 images, not 1: give two, or none to draw both")
        if not isinstance(model, Latents):
            raise LimnerError(f"{with_article(self.config.model)} has no prior to draw from: give two images")
        start, end = model.latents(2, generator=torch.Generator().manual_seed(seed))
        return sampling.interpolate(model, start, end, steps, (y or 0) if self.model.classes else None)

    def encoded(self, images: Images | OneImage, label: Labels | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images uint8 ``(B, C, H, W)``, their codes ``(B, D)``, and the classes that a conditional model was given.

        Those are ``label``, or what the run's data says of ``test:7``, or the most probable.

        Raises:
            LimnerError: As of ``encode``.
        """
        model, pixels = self.encoder(), self._pixels(images)
        labels = self._labels(label, len(pixels))
        if labels is None and isinstance(model, Bounded) and model.classes:
            labels = torch.cat([y.cpu() for part in pixels.split(BATCH) if (y := model.likeliest(part)) is not None])
            for i, known in enumerate(classes_of(images, self.data)):
                labels[i] = labels[i] if known is None else known
        return pixels, sampling.encode_all(model, pixels, labels), labels

    def encoder(self) -> Reconstructs:
        """The model, which encodes.

        Raises:
            LimnerError: It does not.
        """
        model = self.model
        if not isinstance(model, Reconstructs):
            raise LimnerError(f"{with_article(self.config.model)} has no encoder: a vae or an autoencoder has")
        return model

    def decoder(self) -> Latents | Reconstructs:
        """The model, which decodes latents.

        Raises:
            LimnerError: It does not.
        """
        model = self.model
        if not isinstance(model, Latents | Reconstructs):
            raise LimnerError(f"{with_article(self.config.model)} has no latents to decode: a vae or a gan has")
        return model

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes of the run's data; of a run that did not write them down the data is read."""
        return self.config.data.label_names or self.data().label_names

    def class_of(self, label: ClassLabel | None) -> int | None:
        """The class that ``label``, its name or number, means; refused in one line where there is none such."""
        return class_of(label, self.name, self.model.classes, lambda: self.label_names)

    def _pixels(self, images: Images | OneImage) -> Tensor:
        return images_of(images, self.model, self.data, self.config.data.fit)

    def _labels(self, label: Labels | None, n: int) -> Tensor | None:
        """One class an image, int64 ``(n,)``."""
        if label is None:
            return None
        if isinstance(label, int | str):
            return torch.full((n,), self.class_of(label) or 0)
        labels = [self.class_of(one) for one in np.asarray(label).tolist()]
        if len(labels) != n:
            raise LimnerError(f"label must be a class, or one for each of {n} images, not {len(labels)}")
        return torch.tensor(labels)
