"""What the cached networks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.nn import MaskedConv2d

__all__ = ["Layer", "Network"]


class Network(ABC):
    """A network that is computed a pixel at a time for ``n`` images."""

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
        """Between two rows, reorder the images."""


class Layer:
    """One masked convolution, a pixel at a time for ``n`` images of width ``w``."""

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
        """Reorder the images."""
        self.history = self.history[index]
        if self.bias.dim() == 2:
            self.bias = self.bias[index]
