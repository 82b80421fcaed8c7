"""Ancestral sampling by a model that runs a pixel at a time: about the arithmetic of one forward pass, on any device.

An output at pixel (i, j) is a sum over the rows above and over what lies left in its own row. When row i begins, the
model runs on the whole row, where its layers compute the share of the rows above (in the gated model that is the whole
vertical stack); then it runs on each pixel, which takes a small matrix product a layer. Each layer keeps only the rows
that it looks back to (``limner.nn.streaming``).
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.nn import RowsAbove
from limner.nn.streaming import Stream
from limner.sampling.rows import RowSampler

__all__ = ["StreamingRowSampler", "can_stream"]


def can_stream(model: Autoregressive) -> bool:
    """Whether the model says that it ``streams``, and no convolution in it but causal ones is wider than one pixel."""
    others = [m for m in model.modules() if isinstance(m, nn.Conv2d) and not isinstance(m, RowsAbove)]
    return model.streams and all(m.kernel_size == (1, 1) for m in others)


class StreamingRowSampler(RowSampler):
    """See ``RowSampler``; for models that say ``streams``.

    Raises:
        LimnerError: The model says so and cannot: one of its layers sees what is not drawn yet.
    """

    def __init__(self, model: Autoregressive, n: int, **options: Any) -> None:
        super().__init__(model, n, **options)
        self.stream = Stream(n)

    def _draw_row(self, i: int) -> Tensor | None:
        (channels, _, w), p, stream = self.model.shape, self.model.patch, self.stream
        with stream.running():
            self._begin_row(i)
            parameters = [self._draw_place(i, left, channels) for left in range(0, w, p)]
        return None if self.given is None else torch.cat(parameters, 3)

    def _begin_row(self, i: int) -> None:
        """Run the model on the whole row, or the row of patches, that begins at row i."""
        stream, p = self.stream, self.model.patch
        stream.move(i // p, None)
        try:
            self._logits(i, slice(max(0, i - p), i + p), slice(0, self.model.shape[2]))
        except RuntimeError:  # torch.cat, say, joins no placeholder of one image with maps of all
            if i or stream.placeholders == stream.images:
                raise
            stream.forget(placeholders=stream.images)
            self._begin_row(i)

    def _draw_place(self, i: int, left: int, channels: int) -> Tensor:
        """Draw the pixel, or the patch, that begins at row i and column ``left``; returns its parameters."""
        model, p, stream = self.model, self.model.patch, self.stream
        rows, columns = slice(i, i + p), slice(left, left + p)
        here = self.k[:, :, rows, columns]  # a view
        uniforms = self.uniforms[:, :, rows, columns]
        for number, (a, b, channel) in enumerate(itertools.product(range(p), range(p), range(channels))):
            # Where a value's parameters depend on the earlier ones of its place, the place runs once for each. No map
            # sees the last one: after it, all that the layers remember is final.
            if number == 0 or stream.sees_place:
                stream.move(i // p, left // p)
                parameters = self._logits(i, rows, slice(max(0, left - p), left + p))
            values = model.distribution(parameters, here).icdf(uniforms)
            self._put(values[:, channel, a, b], channel, i + a, left + b)
        return parameters

    def _logits(self, i: int, rows: slice, columns: slice) -> Tensor:
        """Of the last place of the levels in these rows and columns; of the whole row when it begins."""
        model, p = self.model, self.model.patch
        known = {}
        if self.context is not None:
            left = columns.stop - p if self.stream.column is not None else 0
            known["context"] = self.context[:, :, i : i + p, left : columns.stop]
        parameters = model.logits(model.intensities(self.k[:, :, rows, columns]), self.labels, **known)
        if self.stream.column is not None and parameters.shape[2:] != (1, 1):
            raise LimnerError(f"this {type(model).__name__} cannot stream: no layer hides the image from its own place")
        return parameters

    def _select(self, index: Tensor) -> None:
        self.stream.select(index)
