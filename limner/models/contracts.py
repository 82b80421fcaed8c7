"""What models can do: capabilities, not one fat base class.

A model has the capabilities it truly has, and the faces ask with ``isinstance``. Images are uint8 ``(B, C, H, W)``
at every method here; inside, a pixel is a level 0 .. L-1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from limner.data.levels import quantize
from limner.errors import LimnerError
from limner.models.recipes import ConditionalConfig
from limner.noise import drawn_whole, images_left_out

__all__ = [
    "Bound",
    "ConditionalConfig",
    "Explicit",
    "Features",
    "Latents",
    "Model",
    "Numbers",
    "ReconstructionErrors",
    "Reconstructs",
    "SampleMeans",
    "Samples",
    "SamplesInScales",
    "Scores",
    "describe_images",
    "describe_shape",
    "standard_normal",
    "uniform",
]

Bound = Literal["exact", "lower"]
Numbers = Callable[[int], Tensor]
"""``numbers(n)``: the random numbers of one kind of n images, ``(n, ...)``."""


@runtime_checkable
class Samples(Protocol):
    """Draws new images."""

    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``."""


@runtime_checkable
class SampleMeans(Protocol):
    """Draws each image from a p(x|z), whose mean can be shown beside it."""

    def sample_means(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """The mean of each p(x|z) that ``sample`` draws from with the same generator, uint8 ``(n, C, H, W)``."""


@runtime_checkable
class Scores(Protocol):
    """Has a likelihood, or a lower bound of one."""

    bound: ClassVar[Bound]

    def log_prob(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """ln p(x) of uint8 images ``(B, C, H, W)`` in nats an image, ``(B,)``: exact, or a lower bound."""


@runtime_checkable
class Reconstructs(Protocol):
    """Encodes images and decodes codes."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes ``(B, latent)`` of uint8 images (of a class each, where there are classes)."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each code (of a class each, where there are classes), uint8 ``(B, C, H, W)``."""

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each image's code, uint8 ``(B, C, H, W)``."""


@runtime_checkable
class ReconstructionErrors(Protocol):
    """Is measured by how well it reconstructs: it has no likelihood and draws no samples."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def reconstruction_errors(self, images: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Errors of each value of uint8 images ``(B, C, H, W)``, each ``(B, C, H, W)``, by name.

        ``squared_error``, intensities in [0, 1]; where they apply ``cross_entropy`` in nats, and of a denoising model
        ``corrupted``, the squared error of its input with noise, and ``denoised``, of what it makes of that.
        """


@runtime_checkable
class SamplesInScales(Protocol):
    """Draws a small image first, and then the large one of which the small one's pixels are known."""

    small: Any
    large: Any
    given: Tensor

    def smaller(self, images: Tensor) -> Tensor:
        """The pixels ``(B, C, h, w)`` of ``images`` ``(B, C, H, W)`` that make the small image; a view."""


@runtime_checkable
class Features(Protocol):
    """Says something of an image in a few numbers, which `limner probe` reads labels off."""

    def features(self, images: Tensor) -> Tensor:
        """Features ``(B, D)`` of uint8 images ``(B, C, H, W)``, with their gradient; nothing is drawn."""


@runtime_checkable
class Latents(Protocol):
    """Draws by decoding latents."""

    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` latents of the prior, standard normal, ``(n, latent)``."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image of each latent (of a class each, where there are classes), uint8 ``(B, C, H, W)``."""


class Model(nn.Module):
    """What all models share: the images' shape and levels, and the check at the public boundary.

    Args:
        config: The sizes of its network.
        shape: Of the images, ``(C, H, W)``.
        levels: Values of a pixel, L.

    Attributes:
        classes: K of a model of p(x|y), by a ``ConditionalConfig``; 0 where there is no y.
    """

    MOMENTS: ClassVar[str] = "BatchNorm's moments"

    def __init__(self, config: Any, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__()
        self.config, self.shape, self.levels = config, shape, levels
        self.classes = config.classes if isinstance(config, ConditionalConfig) else 0

    @property
    def loss_note(self) -> str | None:
        """What is to be known of the training loss, where it is not what it looks like."""
        return None

    @property
    def statistics_of_batch(self) -> list[str]:
        """What of the training loss is of all images of a batch together, so that parts of it have others."""
        normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.modules())
        return [self.MOMENTS] if normalised else []

    @property
    def dimensions(self) -> int:
        """C × H × W, the "dim" of bits/dim."""
        return math.prod(self.shape)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def intensities(self, k: Tensor) -> Tensor:
        """Levels int64 as numbers in [-1, 1], the networks' input."""
        return k.to(self.dtype) * (2.0 / (self.levels - 1)) - 1.0

    @abstractmethod
    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """What one training step needs, as named terms ``(B,)``, through whatever wraps the module (autocast, DDP)."""

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon may take, by name: all matrices and kernels but the first and the last.

        And of how many matrices, one below the other, each consists: a step of Muon makes each orthogonal on its own.
        """
        names = [name for name, p in self.named_parameters() if p.dim() >= 2]
        return dict.fromkeys(names[1:-1], 1)

    def checked_levels(self, images: Tensor) -> Tensor:
        """Levels int64 ``(B, C, H, W)`` of uint8 images.

        Raises:
            LimnerError: Images of another type, shape or number of levels than the model's.
        """
        if not isinstance(images, Tensor) or images.dtype != torch.uint8:
            found = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise LimnerError(f"images must be a torch tensor uint8 (B, C, H, W), not {found}")
        if images.dim() != 4 or tuple(images.shape[1:]) != self.shape:
            raise LimnerError(
                f"this model was made for images of {describe_shape(self.shape)}, "
                f"not of {describe_shape(tuple(images.shape[1:]))}"
            )
        return quantize(images.to(self.device), self.levels)

    def drawn(
        self, n: int, generator: torch.Generator | None, labels: Tensor | None, *numbers: Numbers
    ) -> tuple[Tensor | None, list[Tensor]]:
        """The classes int64 ``(n,)`` of ``n`` new images, ``labels`` or drawn uniformly, and their random ``numbers``.

        An image draws its class and all its numbers before the next image draws: it does not depend on how many
        images come after it, nor on how they are divided into batches.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        if self.classes and labels is None:
            numbers = (lambda n: torch.randint(self.classes, (n,), generator=generator), *numbers)
        first = images_left_out()
        each = [[draw(1) for draw in numbers] for _ in range(first + n)][first:]
        found = [torch.cat(kind) for kind in zip(*each, strict=True)] if each else [draw(0) for draw in numbers]
        if self.classes and labels is None:
            labels, *found = found
        return self.checked_labels(labels, n), found

    def uniforms(self, generator: torch.Generator | None) -> Numbers:
        """One uniform a value of each of n images, float64 ``(n, C, H, W)``, on the CPU."""
        return lambda n: torch.rand(n, *self.shape, generator=generator, dtype=torch.float64)

    def checked_labels(self, labels: Tensor | None, n: int) -> Tensor | None:
        """``labels`` on the model's device.

        Raises:
            LimnerError: There are labels and no classes, not ``n`` of them, or one is no class of the model.
        """
        if labels is None:
            return None
        if not self.classes:
            raise LimnerError(f"this {type(self).__name__} has no classes: leave the labels out")
        if labels.dtype != torch.int64 or labels.shape != (n,):
            raise LimnerError(f"labels must be int64 ({n},), not {labels.dtype} {tuple(labels.shape)}")
        wrong = labels[(labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise LimnerError(f"label {int(wrong[0])}: this model's classes are 0 to {self.classes - 1}")
        return labels.to(self.device)


class Explicit(Model):
    """A model of an explicit density, exact or bounded: trained by minimising a sum of named terms."""

    @abstractmethod
    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Named terms in nats an image, each ``(B,)``; their sum is the loss, -ln p(x) or a bound of it.

        With ``labels`` int64 ``(B,)``, which only a model with classes is given: of p(x|y).
        """

    def forward(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """The loss terms."""
        return self.loss_terms(images, generator, labels if self.classes else None)


def describe_shape(shape: tuple[int, ...]) -> str:
    """``1×28×28 (C×H×W)``, for messages."""
    return "×".join(map(str, shape)) + (" (C×H×W)" if len(shape) == 3 else "")


def describe_images(shape: tuple[int, int, int]) -> str:
    """``20×28 (width × height), grey`` of ``(C, H, W)``, for people: the order of the command line."""
    c, h, w = shape
    return f"{w}×{h} (width × height), {'grey' if c == 1 else 'RGB' if c == 3 else f'{c} channels'}"


def standard_normal(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device, images: int = 0
) -> Tensor:
    """Standard normal numbers; drawn where the generator lives, so that a seed means the same everywhere.

    The dimension of ``shape`` that counts the images is ``images``; see ``limner.noise.drawn_whole``.
    """
    source = device if generator is None else generator.device
    return drawn_whole(lambda s: torch.randn(s, generator=generator, device=source), shape, images).to(device)


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers from [0, 1) of each image, the first dimension; drawn as in ``standard_normal``."""
    source = device if generator is None else generator.device
    return drawn_whole(lambda s: torch.rand(s, generator=generator, device=source), shape).to(device)
