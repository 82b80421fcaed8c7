"""Ancestral sampling that computes each activation of a PixelCNN once: the arithmetic of one forward pass.

An output at pixel (i, j) is a sum over the rows above and over what lies left in its own row. The rows above are known
when row i begins, so their share is computed for the whole row in one convolution (in the gated model that is the whole
vertical stack); the rest is one small matrix product a pixel. Only ``kernel // 2`` rows of each layer's input are kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.gated_pixelcnn import GatedBlock, GatedPixelCNN, RowsAbove, gate
from limner.models.pixelcnn import PixelCNN, ResidualBlock
from limner.nn import MaskedConv2d
from limner.sampling.rows import RowSampler

__all__ = ["CachedRowSampler", "has_cache"]


def has_cache(model: object) -> bool:
    """Whether ``CachedRowSampler`` can sample from ``model``."""
    return isinstance(model, (PixelCNN, GatedPixelCNN))


class CachedRowSampler(RowSampler):
    """See ``RowSampler``; plain PyTorch, on any device, for a masked or gated PixelCNN of any head and channels."""

    def __init__(self, model: Autoregressive, n: int, **options: Any) -> None:
        super().__init__(model, n, **options)
        with torch.no_grad():
            if isinstance(model, GatedPixelCNN):
                self.network: _Network = _Gated(model, n, self.labels)
            else:
                self.network = _Masked(cast("PixelCNN", model), n, self.labels)

    def _draw_row(self, i: int) -> Tensor | None:
        model, k, network = self.model, self.k, self.network
        c, _, w = model.shape
        network.begin_row()
        parameters = []
        for j in range(w):
            here = k[:, :, i : i + 1, j : j + 1]  # a view
            # Channel c sees the channels before it in the same pixel, so the pixel is computed once for each. No map
            # sees the last channel of its own pixel: after the last pass every cached activation is final.
            for channel in range(c):
                y = network.at(j, model.intensities(k[:, :, i, j]))[:, :, None, None]
                drawn = model.distribution(y, here).icdf(self.uniforms[:, :, i : i + 1, j : j + 1])[:, channel, 0, 0]
                if self.given is not None:
                    drawn = torch.where(self.given[:, i, j], k[:, channel, i, j], drawn)
                k[:, channel, i, j] = drawn
            network.put(j, model.intensities(k[:, :, i, j]))
            parameters.append(y)
        network.end_row()
        return None if self.given is None else torch.cat(parameters, 3)

    def _select(self, index: Tensor) -> None:
        self.network.select(index)


class _Network(ABC):
    """A network that is computed a pixel at a time for ``n`` pictures."""

    @abstractmethod
    def begin_row(self) -> None:
        """Compute all that follows from the rows above."""

    @abstractmethod
    def at(self, j: int, x: Tensor) -> Tensor:
        """Parameters ``(n, C·P)`` at column j of intensities ``x`` ``(n, C)``; may be called again with a new ``x``."""

    @abstractmethod
    def put(self, j: int, x: Tensor) -> None:
        """The pixel at column j is drawn: its intensities are ``x`` ``(n, C)``."""

    @abstractmethod
    def end_row(self) -> None:
        """Keep the finished row for the rows below."""

    @abstractmethod
    def select(self, index: Tensor) -> None:
        """Between two rows, reorder the pictures."""


class _Masked(_Network):
    """The masked PixelCNN."""

    def __init__(self, model: PixelCNN, n: int, labels: Tensor | None) -> None:
        w = model.shape[2]
        residual = cast("list[ResidualBlock]", list(model.blocks))
        self.first = _Layer(model.first, n, w)
        self.blocks = [[_Layer(layer, n, w) for layer in (b.reduce, b.convolve, b.expand)] for b in residual]
        self.head = [_Layer(layer, n, w) for layer in (model.head_1, model.head_2)]
        for block, (_, convolve, _) in zip(residual, self.blocks, strict=True):
            convolve.bias = _bias(convolve.bias, block.label, labels)
        self.spatial = [x for x in (self.first, *(x for b in self.blocks for x in b)) if x.above is not None]

    def begin_row(self) -> None:
        for layer in self.spatial:
            layer.begin_row()

    def at(self, j: int, x: Tensor) -> Tensor:
        x = self.first.at(j, x)
        for reduce, convolve, expand in self.blocks:
            y = convolve.at(j, reduce.at(j, x.relu()).relu())
            x = x + expand.at(j, y.relu())
        return self.head[1].at(j, self.head[0].at(j, x.relu()).relu())

    def put(self, j: int, x: Tensor) -> None:
        self.first.put(j, x)

    def end_row(self) -> None:
        for layer in self.spatial:
            layer.end_row()

    def select(self, index: Tensor) -> None:
        for layer in (self.first, *(x for block in self.blocks for x in block)):
            layer.select(index)


class _Gated(_Network):
    """The gated PixelCNN: its vertical stack a row at a time, its horizontal stack a pixel at a time."""

    def __init__(self, model: GatedPixelCNN, n: int, labels: Tensor | None) -> None:
        self.channels, w = model.shape[0], model.shape[2]
        self.labels, self.model, self.blocks = labels, model, cast("list[GatedBlock]", list(model.blocks))
        self.seen = _History(model.first_vertical, n, w)  # pixels
        self.verticals = [_History(b.vertical, n, w) for b in self.blocks]
        self.first = _Layer(model.first_horizontal, n, w)
        self.layers = [(_Layer(b.horizontal, n, w), _Layer(b.out, n, w)) for b in self.blocks]
        self.head = [_Layer(layer, n, w) for layer in (model.head_1, model.head_2)]

    def begin_row(self) -> None:
        v = self.seen.convolve()  # (n, p, 1, w)
        self.first.set_base(self.model.first_link(v))
        for block, vertical, (horizontal, _) in zip(self.blocks, self.verticals, self.layers, strict=True):
            vertical.append(v)
            above = vertical.convolve()
            horizontal.set_base(block.horizontal_label(block.link(above), self.labels))
            v = v + gate(block.vertical_label(above, self.labels))

    def at(self, j: int, x: Tensor) -> Tensor:
        x = self.first.at(j, x)
        for horizontal, out in self.layers:
            x = x + out.at(j, gate(horizontal.at(j, x), self.channels))
        return self.head[1].at(j, self.head[0].at(j, x.relu()).relu())

    def put(self, j: int, x: Tensor) -> None:
        self.first.put(j, x)

    def end_row(self) -> None:
        self.seen.append(self.first.finished_row())

    def select(self, index: Tensor) -> None:
        for history in (self.seen, *self.verticals):
            history.rows = history.rows[index]
        if self.labels is not None:
            self.labels = self.labels[index]


class _Layer:
    """One masked convolution, a pixel at a time for ``n`` pictures of width ``w``."""

    def __init__(self, layer: MaskedConv2d, n: int, w: int) -> None:
        weight = layer.masked_weight()  # (out, in, rows, kw)
        outputs, inputs, rows, width = weight.shape
        self.pad, self.bias = width // 2, cast("Tensor", layer.bias)  # (out,) or (n, out)
        self.above = weight[:, :, :-1] if rows > 1 else None  # (out, in, rows - 1, kw)
        # (taps · in, out): the taps left of the centre and the centre itself, in the row's own order.
        self.left = weight[:, :, -1, : self.pad + 1].permute(2, 1, 0).reshape(-1, outputs).contiguous()
        self.inputs, self.span = inputs, (self.pad + 1) * inputs
        self.row = weight.new_zeros(n, (w + self.pad) * inputs)
        self.history = weight.new_zeros(n, inputs, rows - 1, w)
        self.base: list[Tensor] = []  # what is added at each column: the bias, and the share of the rows above

    def begin_row(self) -> None:
        """The share of the rows above, for every pixel of the row that begins."""
        if self.above is not None:
            self.set_base(F.conv2d(self.history, self.above, padding=(0, self.pad)))  # (n, out, 1, w)

    def set_base(self, share: Tensor) -> None:
        """The share of the rows above is ``share``, ``(n, out, 1, w)``."""
        self.base = list((share.squeeze(2).permute(2, 0, 1) + self.bias).contiguous())

    def at(self, j: int, x: Tensor) -> Tensor:
        """Output ``(n, out)`` at column j, whose input ``x`` is ``(n, in)``; may be called again with a new ``x``."""
        base = self.base[j] if self.base else self.bias
        if self.pad == 0:
            return torch.addmm(base, x, self.left)
        self.put(j, x)
        start = j * self.inputs
        return torch.addmm(base, self.row[:, start : start + self.span], self.left)

    def put(self, j: int, x: Tensor) -> None:
        """Column j's input is ``x`` ``(n, in)``."""
        self.row[:, (j + self.pad) * self.inputs : (j + self.pad + 1) * self.inputs] = x

    def finished_row(self) -> Tensor:
        """The inputs of the row, ``(n, in, 1, w)``."""
        n = len(self.row)
        return self.row.view(n, -1, self.inputs)[:, self.pad :].permute(0, 2, 1).unsqueeze(2)

    def end_row(self) -> None:
        """Keep the finished row for the rows below."""
        if self.above is not None:
            self.history = torch.cat([self.history[:, :, 1:], self.finished_row()], 2)

    def select(self, index: Tensor) -> None:
        """Reorder the pictures."""
        self.history = self.history[index]
        if self.bias.dim() == 2:
            self.bias = self.bias[index]


def _bias(bias: Tensor, label: ClassBias, labels: Tensor | None) -> Tensor:
    """``(out,)``, or with classes ``(n, out)``."""
    return bias if label.table is None or labels is None else bias + label.table[labels]


class _History:
    """The last rows of a vertical layer's input, and its output over them."""

    def __init__(self, layer: RowsAbove, n: int, w: int) -> None:
        _, inputs, rows, width = layer.weight.shape
        self.layer, self.pad = layer, width // 2
        self.rows = layer.weight.new_zeros(n, inputs, rows, w)

    def append(self, row: Tensor) -> None:
        """The newest row, ``(n, in, 1, w)``; the oldest is forgotten."""
        self.rows = torch.cat([self.rows[:, :, 1:], row], 2)

    def convolve(self) -> Tensor:
        """The output of the row that these rows lead to, ``(n, out, 1, w)``."""
        return F.conv2d(self.rows, self.layer.weight, self.layer.bias, padding=(0, self.pad))
