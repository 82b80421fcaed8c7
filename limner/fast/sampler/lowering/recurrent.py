"""PixelRNN as a program for the compiled sampler.

From left to right an LSTM goes on a pixel at a time; what its gates take from the row above is summed when a row
begins. From right to left it counts a row lower, so a row needs of it only what follows from the finished rows: it goes
over the row above when a row begins.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from limner.fast.sampler.lowering.common import begin
from limner.fast.sampler.lowering.masked import Groups, Head, Layer
from limner.fast.sampler.program import FOREVER, Builder, Dest, Program, Source, Tap
from limner.models.pixelrnn import PixelRNN, RecurrentLayer

__all__ = ["recurrent"]


def recurrent(builder: Builder, model: PixelRNN) -> Program:
    """Row LSTM and Diagonal BiLSTM."""
    c, height = model.shape[:2]
    layers = cast("list[RecurrentLayer]", list(model.layers))
    features, _, rows, side = model.first.weight.shape
    pixels = builder.buffer(c, rows=max(rows, 2), pad=side // 2)
    first = Layer(builder, model.first, pixels, c)
    first.above(model.first.bias)
    known = layers[0].context
    context = -1 if known is None else builder.buffer(known.in_features, rows=height)
    maps = [builder.buffer(features, pad=layer.input.span - 1) for layer in layers]
    active = builder.buffer(features, level=FOREVER)
    lstms = [_Lstm(builder, layer, x, pixels, context, c) for layer, x in zip(layers, maps, strict=True)]
    head = Head(builder, model, active)
    for g in range(c):
        at = first.groups.slices[g].start
        places = [Dest(x, at) for x in maps]
        after: list[dict[str, Any]] = [{"out": place} for place in places[1:]]
        after.append({"post": "relu", "post_to": Dest(active, at)})
        first.pixel(g, out=places[0])
        for lstm, place, options in zip(lstms, places, after, strict=True):
            lstm.pixel(g)
            lstm.out.pixel(g, add=place, **options)
        head.pixel(g)
    return head.program(pixels, context=context)


class _Lstm:
    """A layer, whose input is ``buffer``."""

    def __init__(
        self, builder: Builder, layer: RecurrentLayer, buffer: int, pixels: int, context: int, channels: int
    ) -> None:
        directions = range(len(layer.directions))
        self.rightwards, *others = (
            _OneDirection(builder, layer, d, buffer, pixels, context, channels) for d in directions
        )
        self.leftwards = others[0] if others else None
        self.total = self.rightwards.hidden
        if self.leftwards is not None:
            self.leftwards.step(None, 0)
            self.total = builder.buffer(layer.out.weight.shape[1], level=FOREVER)
        self.out = Layer(builder, layer.out, self.total, channels)

    def pixel(self, group: int) -> None:
        """The operation that computes one group's states of a pixel, and their sum over the directions."""
        options: dict[str, Any] = {}
        if self.leftwards is not None:
            at = self.rightwards.groups.slices[group].start
            options = {"post": "plus", "post_to": Dest(self.total, at), "add": Source(self.leftwards.hidden, at)}
        self.rightwards.step(group, group, seen=self.out.groups.slices[group].stop, **options)


class _OneDirection:
    """One direction of a layer: the hidden states and cells of a row, each replaced when nothing needs it any more."""

    def __init__(
        self, builder: Builder, layer: RecurrentLayer, d: int, buffer: int, pixels: int, context: int, channels: int
    ) -> None:
        self.builder, self.direction = builder, layer.directions[d]
        h, span, lower = layer.out.weight.shape[1], layer.input.span, self.direction.lower
        own = slice(4 * h * d, 4 * h * (d + 1))
        self.groups = Groups(builder, h, 1 if lower else channels)
        self.hidden = builder.buffer(h, pad=max(abs(dj) for _, dj in self.direction.taps))
        self.cells = builder.buffer(self.groups.at[-1], pad=abs(self.direction.cell[1]))
        self.share = builder.buffer(4 * self.groups.at[-1])

        weight, state = layer.input.masked_weight()[own].unflatten(1, (span, -1)), layer.state[d].unflatten(1, (-1, h))
        taps = [Tap(self.hidden, state[:, t].T, di, dj) for t, (di, dj) in enumerate(self.direction.taps)]
        above, self.late = [tap for tap in taps if tap.di < 0], [tap for tap in taps if tap.di == 0]
        (above if lower else self.late).extend(Tap(buffer, weight[:, t].T, 0, t - span + 1) for t in range(span))
        if lower and layer.pixels is not None:
            above.append(Tap(pixels, layer.pixels.T))
        if layer.context is not None:
            above.append(Tap(context, layer.context.weight[own].T))
        bias = layer.input.bias if layer.label is None else layer.input.bias + layer.label
        early = [tap._replace(weight=self.gates(tap.weight), di=tap.di - lower) for tap in above]
        start = begin(builder, self.gates(bias[..., own]))
        builder.operation(None, early, raw=Dest(self.share), phase_i=lower, **start)

    def gates(self, matrix: Tensor, group: int | None = None) -> Tensor:
        """The columns ``(..., 4h)`` of one group, or group by group; in each the gates o, f, i, g."""
        parts = matrix.unflatten(-1, (4, -1))
        slices = self.groups.slices if group is None else [self.groups.slices[group]]
        return torch.cat([self.builder.whole(parts[..., s]).flatten(-2) for s in slices], -1)

    def step(self, phase: int | None, group: int, *, seen: int | None = None, **options: Any) -> None:
        """The operation that computes one group's states, where it sees ``seen`` features of its own pixel."""
        at, lower = self.groups.at[group], self.direction.lower
        taps = [tap._replace(weight=self.gates(tap.weight, group), di=tap.di - lower) for tap in self.late]
        taps[-1] = taps[-1]._replace(weight=taps[-1].weight[:seen])
        self.builder.operation(
            phase, taps, start=Source(self.share, 4 * at), count=self.groups.counts[group], phase_i=lower,
            cell=Dest(self.cells, at), carry=self.direction.cell[1],
            out=Dest(self.hidden, self.groups.slices[group].start), **options,
        )  # fmt: skip
