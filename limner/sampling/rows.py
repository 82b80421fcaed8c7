"""Sampling row by row, with a state between the rows: for streaming, completion and particle filters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.devices import beside, exact_device, wide
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive

__all__ = ["Known", "NaiveRowSampler", "OnRow", "RowSampler", "chosen"]

Known = tuple[Tensor, Tensor]
"""Images uint8 ``(n, C, H, W)``, and bool ``(H, W)`` or ``(n, H, W)``: True where a pixel is given."""
OnRow = Callable[[int, Tensor], None]
"""Called after each finished row with its index and the images so far, uint8 ``(n, C, H, W)``."""


def chosen(x: Tensor | None, index: Tensor | slice) -> Tensor | None:
    """``x[index]`` of what not every model has, as labels and context."""
    return None if x is None else x[index]


class RowSampler(ABC):
    """Draws ``n`` images a row at a time; every kind draws the same images from the same generator.

    Args:
        model: An autoregressive model.
        n: How many images.
        generator: Source of each image's class, where the model has some, and then of one uniform a value.
        labels: Classes int64 ``(n,)``.
        known: Pixels that are given and kept; their uniforms are drawn and not used.
        context: What else is known of each pixel, ``(n, ·, H, W)``, where the model's ``logits`` take a context.
        uniforms: Float64 ``(n, C, H, W)`` in place of the generator's; the labels are given then, too.

    Raises:
        LimnerError: Known images of another shape or other levels than the model's; labels it does not know; a
            context of another shape than the model takes.

    Attributes:
        row: The row that is drawn next.
        k: Levels int64 ``(n, C, H, W)``; 0 where nothing is drawn or given yet.
        log_prob_known_row: Σ ln p of the given pixels of the last row, each given all before it, float64 ``(n,)``.
    """

    def __init__(
        self,
        model: Autoregressive,
        n: int,
        *,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
        known: Known | None = None,
        context: Tensor | None = None,
        uniforms: Tensor | None = None,
    ) -> None:
        model.check_raster()
        c, h, w = model.shape
        self.model, self.row = model, 0
        if uniforms is None:
            labels, (uniforms,) = model.drawn(n, generator, labels, model.uniforms(generator))
        self.labels, self.context = model.checked_labels(labels, n), model.checked_context(context, n)
        self.uniforms = uniforms.to(exact_device(model.device))
        self.k = torch.zeros(n, c, h, w, dtype=torch.int64, device=model.device)
        self.given: Tensor | None = None  # (n, H, W)
        if known is not None:
            images, mask = known
            if images.shape != self.k.shape or mask.shape not in ((h, w), (n, h, w)):
                raise LimnerError(
                    f"known images must be {tuple(self.k.shape)} and their mask {(h, w)} or {(n, h, w)}, "
                    f"not {tuple(images.shape)} and {tuple(mask.shape)}"
                )
            self.given = mask.to(model.device).bool().expand(n, h, w).contiguous()
            # What is not given may be anything.
            self.k = model.checked_levels(images.to(model.device) * self.given.unsqueeze(1))
        self.log_prob_known_row = torch.zeros(n, dtype=torch.float64, device=self.uniforms.device)

    @property
    def images(self) -> Tensor:
        """The images so far, uint8 ``(n, C, H, W)``; rows not drawn yet are the first level, or given."""
        return dequantize(self.k, self.model.levels)

    @torch.no_grad()
    def draw_row(self) -> range:
        """Draw the next row; of a model over patches, the rows of the next row of patches. Gives which they are."""
        parameters = self._draw_row(self.row)
        drawn = slice(self.row, self.row + self.model.patch)
        if self.given is not None and parameters is not None:
            k = self.k[:, :, drawn]
            each = wide(self.model.distribution(parameters, k).log_prob(k))  # (n, C, patch, W)
            self.log_prob_known_row = (each * beside(self.given[:, None, drawn])).flatten(1).sum(1)
        self.row = drawn.stop
        return range(drawn.start, drawn.stop)

    def select(self, index: Tensor) -> None:
        """Image i becomes a copy of image ``index[i]``: what it drew, what it is given, its class and its memory.

        The uniforms of the rows to come stay where they are, so that copies go their own ways.
        """
        index = index.to(self.k.device)
        self.k = self.k[index]
        self.log_prob_known_row = self.log_prob_known_row[beside(index)]
        self.given, self.labels = chosen(self.given, index), chosen(self.labels, index)
        self.context = chosen(self.context, index)
        self._select(index)

    def _put(self, drawn: Tensor, channel: int, i: int, j: int) -> None:
        """Set this value of the images to what was ``drawn``, ``(n,)``, where it is not given."""
        drawn = drawn.to(self.k.device)
        if self.given is not None:
            drawn = torch.where(self.given[:, i, j], self.k[:, channel, i, j], drawn)
        self.k[:, channel, i, j] = drawn

    @abstractmethod
    def _draw_row(self, i: int) -> Tensor | None:
        """Fill the rows of ``k`` from row i on, one or ``patch``.

        Returns the model's parameters ``(n, P, 1, W / patch)`` of them, where pixels are given.
        """

    @abstractmethod
    def _select(self, index: Tensor) -> None:
        """Reorder what is remembered of each image."""


class NaiveRowSampler(RowSampler):
    """A pass through the rows known so far for each value. For any model, and the others' oracle."""

    def _draw_row(self, i: int) -> Tensor | None:
        model, p = self.model, self.model.patch
        seen = self.k[:, :, : i + p]  # a view
        for a, j in model.row_order(i):
            place = j // p
            here = (slice(None), slice(None), slice(i, i + p), slice(place * p, place * p + p))
            for channel in range(model.shape[0]):
                logits = self._logits(seen)[:, :, :, place : place + 1]
                values = model.distribution(logits, seen[here]).icdf(self.uniforms[here])  # (n, C, p, p)
                self._put(values[:, channel, a - i, j - place * p], channel, a, j)
        return None if self.given is None else self._logits(seen)

    def _logits(self, seen: Tensor) -> Tensor:
        """Of the last row of the levels so far, ``(n, P, 1, W / patch)``."""
        known = {} if self.context is None else {"context": self.context[:, :, : seen.shape[2]]}
        return self.model.logits(self.model.intensities(seen), self.labels, **known)[:, :, -1:]

    def _select(self, index: Tensor) -> None:
        pass
