"""What each causal layer remembers in a stream (``limner.nn.streaming``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import LimnerError
from limner.nn.recurrent import Direction, lstm_cell
from limner.nn.streaming import Memory, Stream, columns_of

__all__ = ["ConvolutionMemory", "RecurrentMemory", "RowsMemory"]


class ConvolutionMemory(Memory):
    """A masked convolution: the share of the rows above, and a matrix product a pixel.

    ``weight`` is the masked kernel ``(out, in, rows, kw)`` of the rows down to its own. Where it is ``strict`` it hides
    the image from its own place, and makes one row or pixel of two.
    """

    def __init__(self, stream: Stream, weight: Tensor, bias: Tensor, *, strict: bool) -> None:
        super().__init__(stream)
        self.weight, self.bias, self.strict, self.pad = weight, bias, strict, weight.shape[3] // 2
        own = weight[:, :, -1, : self.pad + 1].permute(2, 1, 0)  # (places from the left, in, out)
        self.own = own.flatten(0, 1).contiguous()
        self.pointwise = not strict and weight.shape[2:].numel() == 1
        if strict and own[-1].any():
            stream.sees_place = True
        self.row = self.history = weight.new_empty(0)

    def begin_row(self, x: Tensor) -> Tensor:
        """``(B, in, 1 or 2, W)`` → a placeholder ``(1 or B, out, 1, W)``."""
        if self.pointwise:
            return F.conv2d(x, self.weight, self.bias)
        _check_final(x.shape[2], strict=self.strict)
        n, (_, inputs, _, w) = self.stream.images, x.shape
        rows = self.weight.shape[2] - 1
        if not len(self.row):
            self.row = x.new_zeros(n, self.pad + w, inputs)
            self.history = x.new_zeros(n, inputs, rows, w)
            flat = self.row.flatten(1)
            ends = range(self.pad * inputs, flat.shape[1], inputs)
            self.places = [flat[:, a : a + inputs] for a in ends]  # views
            self.seen = [flat[:, a - self.pad * inputs : a + inputs] for a in ends]  # views
        if not rows:
            self.base: Sequence[Tensor] = [self.bias] * w
            return self.bias.view(1, -1, 1, 1).expand(self.stream.placeholders, -1, 1, w)
        if self.stream.row:
            finished = x[:, :, -2:-1] if x.shape[2] > 1 else self.row[:, self.pad :].transpose(1, 2).unsqueeze(2)
            self.history = torch.cat([self.history[:, :, 1:], finished], 2)
        share = F.conv2d(self.history, self.weight[:, :, :-1], self.bias, padding=(0, self.pad))
        self.base = share.squeeze(2).permute(2, 0, 1).contiguous().unbind()  # of each column, (B, out)
        return share[: self.stream.placeholders]

    def at(self, j: int, x: Tensor) -> Tensor:
        """``(B, in, 1, 1 or 2)`` → ``(B, out, 1, 1)``."""
        n, _, _, columns = x.shape
        if self.pointwise:
            if columns > 1:
                return F.conv2d(x, self.weight, self.bias)
            return torch.addmm(self.bias, x.flatten(1), self.own).view(n, -1, 1, 1)
        if columns > 1:
            _check_final(columns, strict=self.strict)
            self.places[j - 1].copy_(x[:, :, 0, 0])
            self.places[j].copy_(x[:, :, 0, 1])
        else:
            self.places[j].copy_(x.flatten(1))
        return torch.addmm(self.base[j], self.seen[j], self.own).view(n, -1, 1, 1)

    def select(self, index: Tensor) -> None:
        """Reorder the images."""
        if len(self.row):
            self.row.copy_(self.row[index])
            self.history = self.history[index]


class RowsMemory(Memory):
    """A convolution of rows above, whose output is known for the whole row when it begins.

    Where it is ``strict`` the rows of ``weight`` ``(out, in, rows, kw)`` end with the one above the own.
    """

    def __init__(self, stream: Stream, weight: Tensor, bias: Tensor | None, *, strict: bool) -> None:
        super().__init__(stream)
        self.weight, self.bias, self.strict = weight, bias, strict
        self.history = self.row = weight.new_empty(0)
        self.columns: Sequence[Tensor] = ()
        self.told = 0  # columns of the row that came a pixel at a time

    def begin_row(self, x: Tensor) -> Tensor:
        """``(B, in, 1 or 2, W)`` → ``(B, out, 1, W)``."""
        _check_final(x.shape[2], strict=self.strict)
        n, (_, inputs, _, w) = self.stream.images, x.shape
        if not len(self.history):
            self.history = x.new_zeros(n, inputs, self.weight.shape[2], w)
            self.row = x.new_zeros(n, inputs, 1, w)
        if not self.strict:
            self.stream.check_row_wise(x)
            self.history = torch.cat([self.history[:, :, 1:], x], 2)
        elif self.stream.row:
            if x.shape[2] == 1 and self.told != w:
                raise LimnerError("this model cannot stream: a layer of rows above did not see its whole row")
            finished = x[:, :, -2:-1] if x.shape[2] > 1 else self.row
            self.history = torch.cat([self.history[:, :, 1:], finished], 2)
        out = F.conv2d(self.history, self.weight, self.bias, padding=(0, self.weight.shape[3] // 2))
        self.columns, self.told = columns_of(out), 0
        return out

    def at(self, j: int, x: Tensor) -> Tensor:
        """``(B, in, 1, 1 or 2)`` → ``(B, out, 1, 1)``."""
        if self.strict and x.shape[3] == 1:
            self.row[:, :, :, j : j + 1], self.told = x, j + 1
        return self.columns[j]

    def select(self, index: Tensor) -> None:
        """Reorder the images."""
        self.history, self.row = self.history[index], self.row[index]


class RecurrentMemory(Memory):
    """An LSTM over pixels (``limner.nn.recurrent``), whose right-to-left direction counts a row lower.

    From left to right it goes on with each pixel. From right to left it goes over a row when that is finished.

    Args:
        weight: State-to-state kernels ``(D, 4h, neighbours · h)``.
        directions: One from left to right, and at most one from right to left.
        pixels: What the gates of the last direction take from a pixel itself, ``(4h, C)``, or None.
    """

    def __init__(
        self, stream: Stream, weight: Tensor, directions: Sequence[Direction], pixels: Tensor | None = None
    ) -> None:
        super().__init__(stream)
        self.weight, self.directions, self.pixels = weight, directions, pixels
        self.states: list[_States] = []

    def begin_row(self, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Gates' inputs ``(1, W, B, D · 4h)`` and pixels ``(1 or 2, W, B, C)`` → placeholder ``(1, W, 1 or B, h)``."""
        n, (_, w, _, gates) = self.stream.images, inputs.shape
        if not self.states:
            kernels = zip(self.weight, self.directions, strict=True)
            self.states = [_States(k, d, inputs.new_zeros(n, k.shape[0] // 4), w) for k, d in kernels]
        rightwards, *leftwards = self.states
        for states in leftwards:
            if self.stream.row:
                sums = states.above() + torch.stack(self.inputs)
                if self.pixels is not None:
                    sums = sums + F.linear(pixels[-2], self.pixels)
                for j in reversed(range(w)):
                    states.step(j, sums[j])
        self.inputs: list[Tensor] = [inputs[0, 0, :, gates // len(self.states) :]] * w  # from right to left
        self.base = rightwards.above().unbind()
        return inputs.new_zeros(1, w, self.stream.placeholders, rightwards.features)

    def at(self, j: int, inputs: Tensor, pixels: Tensor) -> Tensor:
        """``(1, 1, B, D · 4h)`` and ``(1, 1 or 2, B, C)`` → hidden states ``(1, 1, B, h)``."""
        rightwards, *leftwards = self.states
        own, *others = inputs[0, 0].chunk(len(self.states), -1)
        hidden = rightwards.step(j, own + self.base[j])
        for states, share in zip(leftwards, others, strict=True):
            self.inputs[j] = share
            hidden = hidden + states.hidden[states.pad + j]
        return hidden[None, None]

    def select(self, index: Tensor) -> None:
        """Reorder the images."""
        self.inputs = [x[index] for x in self.inputs]
        for states in self.states:
            states.hidden, states.cells = [x[index] for x in states.hidden], [x[index] for x in states.cells]


class _States:
    """One direction: hidden states and cells ``(B, h)`` of each column of a row, and zeros on both sides."""

    def __init__(self, weight: Tensor, direction: Direction, zeros: Tensor, w: int) -> None:
        self.features, self.w, self.direction = zeros.shape[1], w, direction
        kernels = weight.unflatten(1, (-1, self.features)).permute(1, 2, 0)  # (neighbours, h, 4h)
        taps = list(zip(direction.taps, kernels.contiguous().unbind(), strict=True))
        self.upper = [(dj, kernel) for (di, dj), kernel in taps if di < 0]
        self.beside = [(dj, kernel) for (di, dj), kernel in taps if di == 0]
        self.pad = max(abs(dj) for _, dj in direction.taps)
        self.hidden, self.cells = ([zeros] * (w + 2 * self.pad) for _ in range(2))

    def above(self) -> Tensor:
        """A new row begins: what its gates take from the states of the row above, ``(W, B, 4h)``."""
        hidden, self.cells_above = torch.stack(self.hidden), list(self.cells)
        shares = [hidden[self.pad + dj :][: self.w] @ kernel for dj, kernel in self.upper]
        return torch.stack(shares).sum(0) if len(shares) > 1 else shares[0]

    def step(self, j: int, sums: Tensor) -> Tensor:
        """Hidden states ``(B, h)`` of column j, whose gates' other shares are ``sums`` ``(B, 4h)``."""
        here, (up, aside) = self.pad + j, self.direction.cell
        for dj, kernel in self.beside:
            sums = torch.addmm(sums, self.hidden[here + dj], kernel)
        before = (self.cells_above if up else self.cells)[here + aside]
        self.hidden[here], self.cells[here] = lstm_cell(sums, before)
        return self.hidden[here]


def _check_final(places: int, *, strict: bool) -> None:
    """Two rows or pixels, of which the last is not final, are for strict layers only."""
    if places > 1 and not strict:
        raise LimnerError("this model cannot stream: a layer without mask A sees the image itself")
