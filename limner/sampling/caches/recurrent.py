"""PixelRNN, a pixel at a time.

From right to left an LSTM counts a row lower: when a row begins, it goes over the finished row above.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.models.pixelrnn import PixelRNN, Recurrent
from limner.nn.recurrent import lstm_cell
from limner.sampling.caches.common import Layer, Network

__all__ = ["recurrent"]


def recurrent(model: PixelRNN, n: int, labels: Tensor | None, context: Tensor | None) -> Network:
    """Row LSTM and Diagonal BiLSTM."""
    return _Recurrent(model, n, labels, context)


class _Recurrent(Network):
    def __init__(self, model: PixelRNN, n: int, labels: Tensor | None, context: Tensor | None) -> None:
        w = model.shape[2]
        layers = cast("list[Recurrent]", list(model.layers))
        self.row, self.model, self.first = 0, model, Layer(model.first, n, w)
        self.pixels = model.first.weight.new_zeros(n, w, model.shape[0])  # of the row
        self.lstms = [_Lstm(layer, n, w, labels, context) for layer in layers]

    def begin_row(self) -> None:
        self.first.begin_row()
        for lstm in self.lstms:
            lstm.begin_row(self.row, self.pixels)

    def at(self, j: int, x: Tensor) -> Tensor:
        x = self.first.at(j, x)
        for lstm in self.lstms:
            x = lstm.at(j, x)
        return self.model.head_2(self.model.head_1(x.relu()).relu())

    def put(self, j: int, x: Tensor) -> None:
        self.first.put(j, x)
        self.pixels[:, j] = x

    def end_row(self) -> None:
        self.first.end_row()
        self.row += 1

    def select(self, index: Tensor) -> None:
        self.first.select(index)
        self.pixels = self.pixels[index]
        for lstm in self.lstms:
            lstm.select(index)


class _Lstm:
    """A layer."""

    def __init__(self, layer: Recurrent, n: int, w: int, labels: Tensor | None, context: Tensor | None) -> None:
        self.layer, self.left = layer, layer.input.span - 1
        self.rightwards, *others = (_Direction(layer, d, n, w, labels, context) for d in range(len(layer.directions)))
        self.leftwards = others[0] if others else None  # from right to left
        self.inputs = layer.out.weight.new_zeros(n, self.left + w, len(layer.out.weight))  # of the row

    def begin_row(self, i: int, pixels: Tensor) -> None:
        """Compute what follows from the rows above row i, the last of which holds ``pixels`` ``(n, W, C)``."""
        if self.leftwards is not None and i > 0:
            inputs = self.inputs.transpose(0, 1) @ self.leftwards.weight  # of the finished row
            sums = inputs + self.leftwards.above(i - 1)
            if self.layer.pixels is not None:
                sums = sums + F.linear(pixels.transpose(0, 1), self.layer.pixels)
            for j in reversed(range(len(sums))):
                self.leftwards.step(j, sums[j])
        self.base = self.rightwards.above(i)  # (W, n, 4h)

    def at(self, j: int, x: Tensor) -> Tensor:
        """Output ``(n, 2h)`` at column j of input ``x``; may be called again with a new ``x``."""
        self.inputs[:, self.left + j] = x
        seen = self.inputs[:, j : j + self.left + 1].flatten(1)
        hidden = self.rightwards.step(j, torch.addmm(self.base[j], seen, self.rightwards.weight))
        if self.leftwards is not None:
            hidden = hidden + self.leftwards.hidden[self.leftwards.pad + j]
        return x + self.layer.out(hidden)

    def select(self, index: Tensor) -> None:
        """Reorder the images."""
        self.inputs = self.inputs[index]
        for direction in (self.rightwards, *([] if self.leftwards is None else [self.leftwards])):
            direction.select(index)


class _Direction:
    """One direction of a layer: hidden states and cells ``(columns, n, h)`` of a row, zeros on both sides."""

    def __init__(self, layer: Recurrent, d: int, n: int, w: int, labels: Tensor | None, context: Tensor | None) -> None:
        h, self.direction, self.columns = layer.out.weight.shape[1], layer.directions[d], w
        own = slice(4 * h * d, 4 * h * (d + 1))
        self.weight = layer.input.masked_weight()[own].T.contiguous()  # (places · 2h, 4h)
        self.state = layer.state[d].unflatten(1, (-1, h)).permute(1, 2, 0).contiguous()  # (taps, h, 4h)
        bias = layer.input.bias if layer.label is None else layer.input.bias + layer.label[labels]
        self.bias = bias[..., own].expand(n, -1)
        self.context = None if context is None else context.permute(2, 3, 0, 1)  # (H, W, n, ·)
        self.known = None if layer.context is None else layer.context.weight[own]
        self.pad = max(abs(dj) for _, dj in self.direction.taps)
        self.hidden, self.cells, self.cells_above = (self.weight.new_zeros(w + 2 * self.pad, n, h) for _ in range(3))

    def above(self, i: int) -> Tensor:
        """What the gates of row i take from the row above, the context and the biases, ``(W, n, 4h)``."""
        self.cells_above = self.cells.clone()
        sums = self.bias.expand(self.columns, -1, -1)
        for (di, dj), weight in zip(self.direction.taps, self.state, strict=True):
            if di < 0:
                sums = sums + self.hidden[self.pad + dj :][: self.columns] @ weight
        if self.context is not None and self.known is not None:
            sums = sums + F.linear(self.context[i], self.known)
        return sums

    def step(self, j: int, sums: Tensor) -> Tensor:
        """Hidden states ``(n, h)`` at column j, whose gates' other share is ``sums`` ``(n, 4h)``."""
        here, (up, aside) = self.pad + j, self.direction.cell
        for (di, dj), weight in zip(self.direction.taps, self.state, strict=True):
            if di == 0:
                sums = torch.addmm(sums, self.hidden[here + dj], weight)
        before = (self.cells_above if up else self.cells)[here + aside]
        self.hidden[here], self.cells[here] = lstm_cell(sums, before)
        return self.hidden[here]

    def select(self, index: Tensor) -> None:
        """Reorder the images."""
        self.hidden, self.cells, self.bias = self.hidden[:, index], self.cells[:, index], self.bias[index]
        if self.context is not None:
            self.context = self.context[:, :, index]
