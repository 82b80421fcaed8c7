"""Masked and gated PixelCNNs, a pixel at a time."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.models.autoregressive import ClassBias
from limner.models.gated_pixelcnn import GatedBlock, GatedPixelCNN, RowsAbove, gate
from limner.models.pixelcnn import PixelCNN, ResidualBlock
from limner.sampling.caches.common import Layer, Network

__all__ = ["gated", "masked"]


def masked(model: PixelCNN, n: int, labels: Tensor | None) -> Network:
    """The masked PixelCNN."""
    return _Masked(model, n, labels)


def gated(model: GatedPixelCNN, n: int, labels: Tensor | None) -> Network:
    """The gated PixelCNN: its vertical stack a row at a time, its horizontal stack a pixel at a time."""
    return _Gated(model, n, labels)


class _Masked(Network):
    def __init__(self, model: PixelCNN, n: int, labels: Tensor | None) -> None:
        w = model.shape[2]
        residual = cast("list[ResidualBlock]", list(model.blocks))
        self.first = Layer(model.first, n, w)
        self.blocks = [[Layer(layer, n, w) for layer in (b.reduce, b.convolve, b.expand)] for b in residual]
        self.head = [Layer(layer, n, w) for layer in (model.head_1, model.head_2)]
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


class _Gated(Network):
    def __init__(self, model: GatedPixelCNN, n: int, labels: Tensor | None) -> None:
        self.channels, w = model.shape[0], model.shape[2]
        self.labels, self.model, self.blocks = labels, model, cast("list[GatedBlock]", list(model.blocks))
        self.seen = _History(model.first_vertical, n, w)  # pixels
        self.verticals = [_History(b.vertical, n, w) for b in self.blocks]
        self.first = Layer(model.first_horizontal, n, w)
        self.layers = [(Layer(b.horizontal, n, w), Layer(b.out, n, w)) for b in self.blocks]
        self.head = [Layer(layer, n, w) for layer in (model.head_1, model.head_2)]

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
