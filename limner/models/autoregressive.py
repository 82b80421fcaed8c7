r"""Fully visible belief networks: :math:`p(x) = \prod_i p(x_i \mid x_1, \ldots, x_{i-1})`.

Raster order, and R, then G given R, then B given R and G within a pixel. Given a class y each factor is
:math:`p(x_i \mid x_{<i}, y)`, and without one p(x) is the mean of p(x|y) over the classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner.data.levels import dequantize
from limner.devices import exact_device, wide
from limner.distributions import HEADS, ChannelDistribution, PixelDistribution, default_head
from limner.errors import LimnerError
from limner.models.contracts import Bound, Explicit

__all__ = ["Autoregressive", "ClassBias", "Tractable"]


class Tractable(Explicit):
    """A model of exact ln p(x), or of ln p(x|y) of classes y."""

    bound: ClassVar[Bound] = "exact"

    @abstractmethod
    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """ln p of levels ``k`` int64 ``(B, C, H, W)``, given the classes where there are some, float64 ``(B,)``."""

    def log_prob(
        self, images: Tensor, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """ln p(x|y) of uint8 images ``(B, C, H, W)`` of classes ``labels`` int64 ``(B,)``, exact, nats ``(B,)``.

        Without labels: ln p(x), of a conditional model by a pass for each class. Nothing is drawn.

        Raises:
            LimnerError: Images of another shape or other levels than the model's, or labels it does not know.
        """
        k = self.checked_levels(images)
        labels = self.checked_labels(labels, len(k))
        if self.classes and labels is None:
            return torch.logsumexp(self.class_log_probs(images), 1) - math.log(self.classes)
        return self._log_prob(k, labels)

    def class_log_probs(self, images: Tensor) -> Tensor:
        """ln p(x|y) of uint8 images ``(B, C, H, W)`` for each class y of a conditional model, nats ``(B, classes)``.

        Raises:
            LimnerError: Images of another shape or other levels than the model's.
        """
        k = self.checked_levels(images)
        return torch.stack([self._log_prob(k, torch.full_like(k[:, 0, 0, 0], y)) for y in range(self.classes)], 1)

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``nll`` = -ln p(x|y), or -ln p(x) without labels, ``(B,)``."""
        return {"nll": -self.log_prob(images, labels=labels)}


class Autoregressive(Tractable):
    """A model whose ``logits`` at pixel i (and channel c) see only what comes before: exact ln p(x) and sampling.

    ``head`` is the distribution of a channel; None where the model has a ``distribution`` of its own.
    """

    patch: int = 1
    """Side of the squares of pixels that are drawn one after another; within one, raster order."""
    raster: bool = True
    """Whether the pixels are drawn in raster order, as completion and all that draws row by row needs."""
    context: int = 0
    """Features of what else ``logits`` are told of each pixel."""
    streams: ClassVar[bool] = False
    """Whether ``logits`` can run a pixel at a time (``limner.nn.streaming``): faster sampling without numba.

    It can where all layers are limner's causal ones or work on each pixel alone, with strict ones (mask A) first.
    """
    head: type[ChannelDistribution]
    parameters_per_channel: int

    def __init__(self, config: Any, shape: tuple[int, int, int], levels: int, head: str | None = None) -> None:
        super().__init__(config, shape, levels)
        if head is not None:
            self.head = HEADS[default_head(levels, "softmax") if head == "auto" else head]
            self.parameters_per_channel = self.head.count(levels)

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: all kernels but the first and the last; tables of classes stay with AdamW."""
        kernels = [name for name, p in self.named_parameters() if p.dim() == 4]
        return dict.fromkeys(kernels[1:-1], 1)

    @abstractmethod
    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden maps before the head, ``(B, F, H / patch, W / patch)``, of what ``logits`` are given."""

    def features(self, images: Tensor) -> Tensor:
        """The means of the hidden maps over an image, ``(B, F)``, of uint8 images ``(B, C, H, W)``.

        Raises:
            LimnerError: Images of another shape or other levels than the model's, or it has classes to be told.
        """
        return self.maps(self.intensities(self.checked_levels(images))).mean((2, 3))

    @abstractmethod
    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters ``(B, P, H, W)`` of p(x_i | x_<i, y) at every i, of intensities ``(B, C, H, W)`` in [-1, 1].

        With ``labels`` y int64 ``(B,)``, which a conditional model needs.
        """

    def distribution(self, parameters: Tensor, k: Tensor) -> PixelDistribution:
        """What ``logits`` ``(B, P, H, W)`` stand for, where the pixels have levels ``k`` int64 ``(B, C, H, W)``.

        The earlier channels of the *same* pixel in ``k`` count where the distribution is linked across channels;
        nothing else of ``k`` does.
        """
        b, c, h, w = k.shape
        return self.head.from_parameters(parameters.reshape(b, c, self.parameters_per_channel, h, w), self.levels)

    def conditionals(self, k: Tensor, labels: Tensor | None = None, context: Tensor | None = None) -> PixelDistribution:
        """p(x_i | x_<i, y) for every pixel and channel at once, given levels ``k`` int64 ``(B, C, H, W)``.

        With ``labels`` and ``context`` ``(B, ·, H, W)`` where the model's ``logits`` take them.
        """
        known = {} if context is None else {"context": context}
        return self.distribution(self.logits(self.intensities(k), labels, **known), k)

    def check_raster(self) -> None:
        """Raise a ``LimnerError`` where the pixels are drawn in another than the raster order."""
        if not self.raster:
            raise LimnerError(
                f"this {type(self).__name__} draws its pixels in other orders than the raster order, which this needs"
            )

    def checked_context(self, context: Tensor | None, n: int) -> Tensor | None:
        """The context of ``n`` images, on the model's device.

        Raises:
            LimnerError: It is not ``(n, context, H, W)``, or there is one and the model takes none.
        """
        needed = (n, self.context, *self.shape[1:]) if self.context else None
        given = None if context is None else tuple(context.shape)
        if given != needed:
            raise LimnerError(f"the context of this {type(self).__name__} must be {needed}, not {given}")
        return None if context is None else context.detach().to(self.device, self.dtype)

    def row_order(self, top: int) -> list[tuple[int, int]]:
        """Pixels ``(i, j)`` of the row of patches that begins at row ``top``, in the order in which they are drawn."""
        p = self.patch
        return [(top + dy, left + dx) for left in range(0, self.shape[2], p) for dy in range(p) for dx in range(p)]

    @property
    def order(self) -> Tensor:
        """The pixels in the order in which they are drawn, as places in the flattened image, int64 ``(H · W,)``."""
        _, h, w = self.shape
        return torch.tensor([i * w + j for top in range(0, h, self.patch) for i, j in self.row_order(top)])

    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        return wide(self.conditionals(k, labels).log_prob(k)).flatten(1).sum(1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
        on_row: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """``n`` images drawn pixel by pixel, uint8 ``(n, C, H, W)``: the lecture's algorithm, one pass a value.

        Only the rows known so far go through the network.

        Args:
            n: How many.
            generator: Source of each image's label and then of its uniforms, one a value.
            labels: Classes int64 ``(n,)``; by default drawn uniformly, where the model has classes.
            on_row: Called with each finished row's index and the images so far.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        labels, (uniforms,) = self.drawn(n, generator, labels, self.uniforms(generator))
        return self.drawn_from(uniforms.to(exact_device(self.device)), labels, on_row)

    def drawn_from(
        self, uniforms: Tensor, labels: Tensor | None, on_row: Callable[[int, Tensor], None] | None = None
    ) -> Tensor:
        """``sample`` of these ``uniforms``, float64 ``(n, C, H, W)``, and classes."""
        c, h, _ = self.shape
        k = torch.zeros(uniforms.shape, dtype=torch.int64, device=self.device)
        for top in range(0, h, self.patch):
            known = slice(top + self.patch)
            for i, j in self.row_order(top):
                for channel in range(c):
                    p = self.conditionals(k[:, :, known], labels)
                    k[:, channel, i, j] = p.icdf(uniforms[:, :, known])[:, channel, i, j]
            if on_row is not None:
                for i in range(top, top + self.patch):
                    on_row(i, dequantize(k, self.levels))
        return dequantize(k, self.levels)


class ClassBias(nn.Module):
    """A bias of each feature map that depends on the class (1606.05328, equation 4); none where ``classes`` is 0."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(classes, features)) if classes else None

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """``x`` ``(B, features, H, W)`` with the bias of its ``labels`` int64 ``(B,)``; as it is without classes.

        Raises:
            LimnerError: There are classes and no labels.
        """
        if self.table is None:
            return x
        if labels is None:  # only a whole image's probability is a mean over the classes
            raise LimnerError(f"this model has {len(self.table)} classes: one pixel's probabilities need labels")
        return x + self.table[labels][:, :, None, None]
