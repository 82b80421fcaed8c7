"""PixelCNN++: the down stream a row at a time, the right stream a pixel at a time, each size at its own pace.

What the right stream takes from the rows above and from the down stream is summed when a row begins. A map of half size
moves on at every other row and column only (Ramachandran et al. 2017, arXiv 1704.06001, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from limner.fast.sampler.lowering.common import begin, biases, convolution, embedding
from limner.fast.sampler.program import FOREVER, Builder, Dest, Program, Source, Tap
from limner.models.pixelcnnpp import GatedResidualBlock, PixelCNNPP, ShiftedConv2d, TwoStreamBlock

__all__ = ["plusplus"]


@dataclass(frozen=True)
class _Map:
    """A map of one stream, and what blocks read of it: its concat-elu, normalised before where the model says so."""

    plain: int
    active: int


def plusplus(builder: Builder, model: PixelCNNPP) -> Program:
    """PixelCNN++."""
    lowering = _PlusPlus(builder, model)
    d, r = lowering.first()
    mirrors: list[tuple[_Map, _Map]] = []
    sizes = model.config.halvings
    for i, step in enumerate(cast("list[TwoStreamBlock]", list(model.descent))):
        turn, within = divmod(i, model.config.blocks)
        if turn and not within:
            d = lowering.halve(cast("ShiftedConv2d", model.halve_down[turn - 1]), d, None, turn)
            r = lowering.halve(cast("ShiftedConv2d", model.halve_right[turn - 1]), r, 0, turn)
        d, r = lowering.step(step, d, r, turn)
        mirrors.append((d, r))
    for i, step in enumerate(cast("list[TwoStreamBlock]", list(model.ascent))):
        turn, within = divmod(i, model.config.blocks)
        if turn and not within:
            d = lowering.double(cast("nn.ConvTranspose2d", model.double_down[turn - 1]), d, None, sizes - turn)
            r = lowering.double(cast("nn.ConvTranspose2d", model.double_right[turn - 1]), r, 0, sizes - turn)
        d, r = lowering.step(step, d, r, sizes - turn, mirrors.pop())
    return lowering.program(r)


class _PlusPlus:
    def __init__(self, builder: Builder, model: PixelCNNPP) -> None:
        self.builder, self.model, self.p = builder, model, model.config.features
        self.pixels = builder.buffer(model.shape[0] + 1, rows=3, pad=1)

    def map(self, size: int) -> _Map:
        """A new map, with what convolutions read of it: the row above and the columns beside."""
        p = self.p
        return _Map(
            self.builder.buffer(p, rows=2, pad=1, level=size), self.builder.buffer(2 * p, rows=2, pad=1, level=size)
        )

    def both(self, new: _Map) -> dict[str, Any]:
        """Where z goes, and what blocks read of it."""
        post = "rms-norm-concat-elu" if self.model.config.rms_norm else "concat-elu"
        return {"out": Dest(new.plain), "post": post, "post_to": Dest(new.active)}

    def sum(
        self,
        phase: int | None,
        taps: list[Tap],
        early: list[Tap],
        bias: Tensor,
        *,
        level: int,
        gate: bool = False,
        **options: Any,
    ) -> None:
        """An operation, whose ``early`` taps and bias are summed when the row begins if the others are not."""
        builder = self.builder
        if gate:
            taps, early = ([tap._replace(weight=builder.halves(tap.weight)) for tap in ts] for ts in (taps, early))
            bias = builder.halves(bias)
            options |= {"activation": "gate", "count": self.p}
        if phase is None:
            builder.operation(None, early + taps, level=level, **begin(builder, bias), **options)
            return
        share = builder.buffer(len(builder.whole(bias.reshape(-1, bias.shape[-1])[0])), level=level)
        start = begin(builder, builder.whole(bias))
        early = [tap._replace(weight=builder.whole(tap.weight)) for tap in early]
        builder.operation(None, early, raw=Dest(share), level=level, **start)
        builder.operation(phase, taps, start=Source(share), level=level, **options)

    def first(self) -> tuple[_Map, _Map]:
        """The first layers, which see the pixels."""
        model, d, r = self.model, self.map(0), self.map(0)
        down, above, left = model.first_down, model.first_above, model.first_left
        self.sum(None, self.taps(down, self.pixels), [], cast("Tensor", down.bias), level=0, **self.both(d))
        taps = self.taps(above, self.pixels) + self.taps(left, self.pixels)
        bias = cast("Tensor", above.bias) + cast("Tensor", left.bias)
        early, late = [tap for tap in taps if tap.di < 0], [tap for tap in taps if tap.di == 0]
        self.sum(0, late, early, bias, level=0, **self.both(r))
        return d, r

    def step(
        self, step: TwoStreamBlock, d: _Map, r: _Map, size: int, mirror: tuple[_Map, _Map] | None = None
    ) -> tuple[_Map, _Map]:
        """A block of each stream."""
        p, new_d, new_r = self.p, self.map(size), self.map(size)
        aside = [] if mirror is None else self.link(step.down, mirror[0], [slice(0, 2 * p)])
        self.block(step.down, d, new_d, None, aside, [], size)
        if mirror is None:
            self.block(step.right, r, new_r, 0, self.link(step.right, new_d, [slice(0, 2 * p)]), [], size)
        else:  # the link reads the concat-elu of [d, mirror], which is [d, mirror, -d, -mirror] inside
            early = self.link(step.right, new_d, [slice(0, p), slice(2 * p, 3 * p)])
            late = self.link(step.right, mirror[1], [slice(p, 2 * p), slice(3 * p, 4 * p)])
            self.block(step.right, r, new_r, 0, early, late, size)
        return new_d, new_r

    def block(
        self,
        block: GatedResidualBlock,
        x: _Map,
        new: _Map,
        phase: int | None,
        early: list[Tap],
        late: list[Tap],
        size: int,
    ) -> None:
        """One block of one stream; ``early`` and ``late`` are what it takes from elsewhere."""
        middle = self.builder.buffer(2 * self.p, rows=2, pad=1, level=size)
        bias = cast("Tensor", block.first.bias)
        if block.link is not None:
            bias = bias + cast("Tensor", block.link.bias)
        taps = self.taps(block.first, x.active)
        above, own = [tap for tap in taps if tap.di < 0], [tap for tap in taps if tap.di == 0]
        self.sum(phase, own + late, above + early, bias, level=size, post="concat-elu", post_to=Dest(middle))
        taps = self.taps(block.second, middle)
        above, own = [tap for tap in taps if tap.di < 0], [tap for tap in taps if tap.di == 0]
        bias = biases(cast("Tensor", block.second.bias), block.label)
        self.sum(phase, own, above, bias, level=size, gate=True, add=Source(x.plain), **self.both(new))

    def halve(self, layer: ShiftedConv2d, x: _Map, phase: int | None, size: int) -> _Map:
        """Half the sides."""
        new, taps = self.map(size), self.taps(layer, x.plain)
        above, own = [tap for tap in taps if tap.di < 0], [tap for tap in taps if tap.di == 0]
        self.sum(phase, own, above, cast("Tensor", layer.bias), level=size, **self.both(new))
        return new

    def double(self, layer: nn.ConvTranspose2d, x: _Map, phase: int | None, size: int) -> _Map:
        """Twice the sides: four maps side by side."""
        new = self.map(size)
        for di in range(2):
            for dj in range(2):
                self.builder.operation(
                    phase, [Tap(x.plain, layer.weight[:, :, di, dj])], bias=layer.bias, level=size,
                    step=2 ** (size + 1), phase_i=di << size, phase_j=dj << size, **self.both(new),
                )  # fmt: skip
        return new

    def taps(self, layer: ShiftedConv2d, buffer: int) -> list[Tap]:
        return convolution(layer.weight, buffer, up=layer.up, left=1)

    def link(self, block: GatedResidualBlock, aside: _Map, inputs: list[slice]) -> list[Tap]:
        """What the block takes from another map at its own place."""
        weight = cast("Any", block.link).weight[:, :, 0, 0]
        return [Tap(aside.active, torch.cat([weight[:, s] for s in inputs], 1).T)]

    def program(self, r: _Map) -> Program:
        """All of it, with the last layer."""
        builder, model = self.builder, self.model
        weight, bias = builder.whole(model.out.weight[:, :, 0, 0].T), builder.whole(cast("Tensor", model.out.bias))
        parameters = builder.buffer(len(bias), level=FOREVER)
        builder.operation(0, [Tap(r.active, weight)], bias=bias, raw=Dest(parameters))
        count, m = len(cast("Tensor", model.out.bias)), model.config.components
        ones = embedding(model, ones=True)
        return builder.program(self.pixels, ones, parameters, [0], count, "LogisticMixture", m)
