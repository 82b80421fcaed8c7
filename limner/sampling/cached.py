"""Ancestral sampling that computes each activation of a PixelCNN once: the cost of about one forward pass.

A masked convolution's output at pixel (i, j) is a sum over the rows above and over what lies left in its own row.
The rows above are known when row i begins, so their share is computed for the whole row in one convolution; the rest
is one small matrix product a pixel. Only ``kernel // 2`` rows of each layer's input are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.levels import dequantize
from limner.models.pixelcnn import PixelCNN, ResidualBlock
from limner.nn import MaskedConv2d

__all__ = ["cached_pixelcnn"]

OnRow = Callable[[int, Tensor], None]


class _Layer:
    """One masked convolution, a pixel at a time for ``n`` pictures of width ``w``."""

    def __init__(self, layer: MaskedConv2d, n: int, w: int) -> None:
        weight = layer.masked_weight()  # (out, in, rows, kw)
        outputs, inputs, rows, width = weight.shape
        self.pad, self.bias = width // 2, layer.bias
        self.above = weight[:, :, :-1] if rows > 1 else None  # (out, in, rows - 1, kw)
        # (taps · in, out): the taps left of the centre and the centre itself, in the row's own order.
        self.left = weight[:, :, -1, : self.pad + 1].permute(2, 1, 0).reshape(-1, outputs).contiguous()
        self.inputs, self.span = inputs, (self.pad + 1) * inputs
        self.row = weight.new_zeros(n, (w + self.pad) * inputs)
        self.history = weight.new_zeros(n, inputs, rows - 1, w)
        self.base: Tensor | list[Tensor] = []

    def begin_row(self) -> None:
        """The share of the rows above, for every pixel of the row that begins."""
        if self.above is not None:
            base = F.conv2d(self.history, self.above, self.bias, padding=(0, self.pad))  # (n, out, 1, w)
            self.base = list(base.squeeze(2).permute(2, 0, 1).contiguous())

    def at(self, j: int, x: Tensor) -> Tensor:
        """Output ``(n, out)`` at column j, whose input ``x`` is ``(n, in)``; may be called again with a new ``x``."""
        if self.above is None and self.pad == 0:
            return torch.addmm(self.bias, x, self.left)
        self.put(j, x)
        start = j * self.inputs
        base = self.base[j] if self.above is not None else self.bias
        return torch.addmm(base, self.row[:, start : start + self.span], self.left)

    def put(self, j: int, x: Tensor) -> None:
        """Column j's input is ``x`` ``(n, in)``."""
        self.row[:, (j + self.pad) * self.inputs : (j + self.pad + 1) * self.inputs] = x

    def end_row(self) -> None:
        """Keep the finished row for the rows below."""
        if self.above is not None:
            n, _, _, w = self.history.shape
            row = self.row.view(n, w + self.pad, self.inputs)[:, self.pad :].permute(0, 2, 1)
            self.history = torch.cat([self.history[:, :, 1:], row.unsqueeze(2)], 2)


@torch.no_grad()
def cached_pixelcnn(
    model: PixelCNN, n: int, *, generator: torch.Generator | None = None, on_row: OnRow | None = None
) -> Tensor:
    """``n`` pictures, uint8 ``(n, C, H, W)``: the same as ``model.sample`` draws from the same generator.

    Args:
        model: A masked PixelCNN of any head and channels.
        n: How many pictures.
        generator: Source of the uniforms, drawn in one piece exactly as the naive sampler draws them.
        on_row: Called after each row with its index and the pictures so far (uint8, rows below are the first level).
    """
    c, h, w = model.shape
    uniforms = torch.rand(n, c, h, w, generator=generator, dtype=torch.float64).to(model.device)
    k = torch.zeros(n, c, h, w, dtype=torch.int64, device=model.device)
    first = _Layer(model.first, n, w)
    residual = cast("list[ResidualBlock]", list(model.blocks))
    blocks = [(_Layer(b.reduce, n, w), _Layer(b.convolve, n, w), _Layer(b.expand, n, w)) for b in residual]
    head_1, head_2 = _Layer(model.head_1, n, w), _Layer(model.head_2, n, w)
    spatial = [layer for layer in (first, *(x for block in blocks for x in block)) if layer.above is not None]
    for i in range(h):
        for layer in spatial:
            layer.begin_row()
        for j in range(w):
            # Channel c sees the channels before it in the same pixel, so the pixel is computed once for each. No map
            # sees the last channel of its own pixel: after the last pass every cached activation is final.
            for channel in range(c):
                x = first.at(j, model.intensities(k[:, :, i, j]))
                for reduce, convolve, expand in blocks:
                    y = convolve.at(j, reduce.at(j, x.relu()).relu())
                    x = x + expand.at(j, y.relu())
                y = head_2.at(j, head_1.at(j, x.relu()).relu())
                p = model.head.from_parameters(y.view(n, c, -1, 1, 1), model.levels)
                drawn = p.icdf(uniforms[:, :, i : i + 1, j : j + 1])
                k[:, channel, i, j] = drawn[:, channel, 0, 0]
            first.put(j, model.intensities(k[:, :, i, j]))
        for layer in spatial:
            layer.end_row()
        if on_row is not None:
            on_row(i, dequantize(k, model.levels))
    return dequantize(k, model.levels)
