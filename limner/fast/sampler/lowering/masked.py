"""Masked and gated PixelCNNs as programs for the compiled sampler."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from limner.fast.sampler.lowering.common import begin, biases, convolution, embedding
from limner.fast.sampler.program import FOREVER, Builder, Dest, Program, Source, Tap, padded
from limner.models.gated_pixelcnn import GatedBlock, GatedPixelCNN
from limner.models.pixelcnn import PixelCNN, ResidualBlock
from limner.models.pixelrnn import MaskedLinear, PixelRNN
from limner.nn import MaskedConv2d, channel_groups

__all__ = ["Groups", "Head", "Layer", "gated", "masked"]


class Groups:
    """The feature maps of R, G and B: each group's columns are padded to whole vectors on their own."""

    def __init__(self, builder: Builder, features: int, channels: int, *, gate: bool = False) -> None:
        counts = torch.bincount(channel_groups(features, channels), minlength=channels).tolist()
        ends = [0, *torch.tensor(counts).cumsum(0).tolist()]
        self.slices = [slice(a, b) for a, b in itertools.pairwise(ends)]
        self.counts = [n // 2 for n in counts] if gate else counts
        self.pad: Callable[[Tensor], Tensor] = builder.halves if gate else builder.whole
        widths = [self.pad(torch.zeros(n)).shape[0] for n in counts]
        self.at = [0, *torch.tensor(widths).cumsum(0).tolist()]

    def arrange(self, matrix: Tensor) -> Tensor:
        """The columns ``(..., features)`` group by group."""
        return torch.cat([self.pad(matrix[..., s]) for s in self.slices], -1)


def _arranged(taps: list[Tap], how: Callable[[Tensor], Tensor]) -> list[Tap]:
    return [tap._replace(weight=how(tap.weight)) for tap in taps]


def _kernel(weight: Tensor) -> Tensor:
    """That of a 1×1 convolution too as ``(out, in, rows, kw)``."""
    return weight if weight.dim() == 4 else weight[:, :, None, None]


class Layer:
    """A masked convolution of one buffer: a share of the rows above, for the whole row, and one of its own row."""

    def __init__(
        self,
        builder: Builder,
        layer: MaskedConv2d | MaskedLinear,
        buffer: int,
        channels: int,
        *,
        gate: bool = False,
    ) -> None:
        self.builder, self.buffer = builder, buffer
        self.weight, self.mask = _kernel(layer.masked_weight()), _kernel(layer.mask)  # (out, in, rows, kw)
        self.rows, self.pad = self.weight.shape[2], self.weight.shape[3] // 2
        self.groups = Groups(builder, self.weight.shape[0], channels, gate=gate)
        self.start: dict[str, Any] = {"bias": self.groups.arrange(layer.bias)}

    def above(self, bias: Tensor | Source, taps: list[Tap] | None = None) -> None:
        """Let the sums begin with ``taps``, by default those of the kernel's rows above, and a bias.

        Args:
            bias: ``(N,)``, ``(K, N)`` (see ``begin``), or a buffer that holds it.
            taps: See above.
        """
        if taps is None:
            taps = convolution(self.weight[:, :, :-1], self.buffer, up=self.rows - 1, left=self.pad)
        if isinstance(bias, Source):
            self.start = {"start": bias}
        else:
            self.start = begin(self.builder, self.groups.arrange(bias))
        if taps:
            share = self.builder.buffer(self.groups.at[-1])
            self.builder.operation(None, _arranged(taps, self.groups.arrange), raw=Dest(share), **self.start)
            self.start = {"start": Source(share)}

    def pixel(self, group: int, **options: Any) -> None:
        """The operation that computes one group's features of a pixel."""
        groups, outputs = self.groups, self.groups.slices[group]
        weight = self.weight[outputs]  # (out, in, rows, kw)
        row = weight[:, :, -1:, : self.pad]
        taps = convolution(row, self.buffer, up=0, left=self.pad)
        seen = int(self.mask[outputs, :, -1, self.pad].any(0).sum())  # inputs of the groups that it may see
        taps.append(Tap(self.buffer, weight[:, :seen, -1, self.pad].T))
        at = groups.at[group]
        if "start" in self.start:
            buffer, _ = self.start["start"]
            start: dict[str, Any] = {"start": Source(buffer, at)}
        else:
            start = {"bias": self.start["bias"][at : groups.at[group + 1]]}
        taps = _arranged(taps, groups.pad)
        self.builder.operation(group, taps, count=groups.counts[group], **start, **options)


class Head:
    """The two 1×1 layers that end in the parameters of a pixel."""

    def __init__(self, builder: Builder, model: PixelCNN | GatedPixelCNN | PixelRNN, buffer: int) -> None:
        self.builder, self.model, c = builder, model, model.shape[0]
        self.middle = builder.buffer(model.head_1.weight.shape[0], level=FOREVER)
        self.first = Layer(builder, model.head_1, buffer, c)
        self.second = Layer(builder, model.head_2, self.middle, c)
        self.parameters = builder.buffer(self.second.groups.at[-1], level=FOREVER)

    def pixel(self, group: int) -> None:
        """The operations that compute one group's parameters of a pixel."""
        at = self.first.groups.slices[group].start
        self.first.pixel(group, post="relu", post_to=Dest(self.middle, at))
        self.second.pixel(group, raw=Dest(self.parameters, self.second.groups.at[group]))

    def program(self, pixels: int, **options: Any) -> Program:
        """All of it, whose input is the buffer ``pixels``; the options are those of ``Program``."""
        model, at = self.model, self.second.groups.at[:-1]
        count = model.parameters_per_channel
        return self.builder.program(
            pixels, embedding(model), self.parameters, at, count, model.head.__name__, **options
        )


def masked(builder: Builder, model: PixelCNN) -> Program:
    """The masked PixelCNN."""
    c = model.shape[0]
    first_rows, first_pad = model.first.weight.shape[2], model.first.weight.shape[3] // 2
    pixels = builder.buffer(c, rows=first_rows, pad=first_pad)
    features = model.first.weight.shape[0]

    def point(channels: int) -> int:
        return builder.buffer(channels, level=FOREVER)

    # A group's features are kept for the groups after it, so each layer has a place of its own.
    stream = point(features)
    active = point(features)
    first = Layer(builder, model.first, pixels, c)
    first.above(model.first.bias)
    blocks = []
    inside = active
    for block in cast("list[ResidualBlock]", list(model.blocks)):
        half, _, rows, kw = block.convolve.weight.shape
        narrow, wide, after = builder.buffer(half, rows=rows, pad=kw // 2), point(half), point(features)
        layers = (
            Layer(builder, block.reduce, inside, c),
            Layer(builder, block.convolve, narrow, c),
            Layer(builder, block.expand, wide, c),
        )
        layers[1].above(biases(block.convolve.bias, block.label))
        blocks.append((*layers, narrow, wide, after))
        inside = after
    head = Head(builder, model, inside)
    for g in range(c):
        at, half_at = first.groups.slices[g].start, 0
        first.pixel(g, out=Dest(stream, at), post="relu", post_to=Dest(active, at))
        for reduce, convolve, expand, narrow, wide, after in blocks:
            half_at = reduce.groups.slices[g].start
            reduce.pixel(g, post="relu", post_to=Dest(narrow, half_at))
            convolve.pixel(g, post="relu", post_to=Dest(wide, half_at))
            place = Dest(stream, at)
            expand.pixel(g, add=place, out=place, post="relu", post_to=Dest(after, at))
        head.pixel(g)
    return head.program(pixels)


def gated(builder: Builder, model: GatedPixelCNN) -> Program:
    """The gated PixelCNN: its vertical stack a row at a time, its horizontal stack a pixel at a time."""
    c, p = model.shape[0], model.first_vertical.weight.shape[0]
    blocks = cast("list[GatedBlock]", list(model.blocks))
    above, side = model.first_vertical.weight.shape[2:]
    pixels = builder.buffer(c, rows=above + 1, pad=side // 2)
    rows, kw = blocks[0].vertical.weight.shape[2:] if blocks else (1, 1)
    v = builder.buffer(p, rows=rows, pad=kw // 2)
    builder.operation(
        None, convolution(model.first_vertical.weight, pixels, up=above, left=side // 2),
        bias=model.first_vertical.bias, out=Dest(v),
    )  # fmt: skip
    first = Layer(builder, model.first_horizontal, pixels, c)
    link = model.first_link
    bias = cast("Tensor", link.bias) + model.first_horizontal.bias
    first.above(bias, [Tap(v, link.weight[:, :, 0, 0].T)])
    maps = [builder.buffer(p, pad=kw // 2) for _ in blocks]
    active = builder.buffer(p, level=FOREVER)
    layers = []
    for index, block in enumerate(blocks):
        half = padded(p, builder.lanes)
        raw = builder.buffer(2 * half)
        bias = biases(cast("Tensor", block.vertical.bias), block.vertical_label)
        start = begin(builder, builder.halves(bias))
        options: dict[str, Any] = {}
        after = v
        if index + 1 < len(blocks):
            after = builder.buffer(p, rows=rows, pad=kw // 2)
            options = {"activation": "tanh-gate", "add": Source(v), "out": Dest(after), "count": p}
        taps = convolution(block.vertical.weight, v, up=rows - 1, left=kw // 2)
        builder.operation(None, _arranged(taps, builder.halves), raw=Dest(raw), **start, **options)
        v = after
        horizontal = Layer(builder, block.horizontal, maps[index], c, gate=True)
        matrix = block.link.weight[:, :, 0, 0]  # (2p, 2p)
        bias = biases(cast("Tensor", block.link.bias) + block.horizontal.bias, block.horizontal_label)
        if block.vertical_label.table is not None:  # the link sees the vertical sums without their class
            bias = bias - block.vertical_label.table @ matrix.T
        horizontal.above(bias, [Tap(raw, matrix[:, :p].T), Tap(raw, matrix[:, p:].T, at=half)])
        inside = builder.buffer(p, level=FOREVER)
        layers.append((horizontal, Layer(builder, block.out, inside, c), inside))
    head = Head(builder, model, active)
    for g in range(c):
        at = first.groups.slices[g].start
        places = [Dest(m, at) for m in maps]
        last = {"post": "relu", "post_to": Dest(active, at)}
        first.pixel(g, **({"out": places[0]} if blocks else last))
        for index, (horizontal, out, inside) in enumerate(layers):
            horizontal.pixel(g, activation="tanh-gate", out=Dest(inside, at))
            out.pixel(g, add=places[index], **({"out": places[index + 1]} if index + 1 < len(layers) else last))
        head.pixel(g)
    return head.program(pixels)
