"""The PixelCNN over patches: its pixel is a patch, its level a symbol."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from limner.fast.sampler.lowering.common import biases
from limner.fast.sampler.lowering.masked import Layer
from limner.fast.sampler.program import FOREVER, Builder, Dest, Program, Source, Tap
from limner.models.patch_pixelcnn import PatchBlock, PatchPixelCNN

__all__ = ["patches"]


def patches(builder: Builder, model: PatchPixelCNN) -> Program:
    """The PixelCNN over patches, on its map of symbols."""
    features, inputs, rows, side = model.first.weight.shape
    symbols = builder.buffer(inputs, rows=rows, pad=side // 2)
    place = builder.buffer(features)
    label = -1 if model.label.table is None else builder.labels(model.label.table)
    first = Layer(builder, model.first, symbols, 1)
    first.above(Source(place))
    stream = builder.buffer(features, level=FOREVER)
    active, blocks = [], []  # what each layer sees: the normalised stream, with the rows above
    for block in cast("list[PatchBlock]", list(model.blocks)):
        inner, _, rows, side = block.convolve.weight.shape
        active.append(builder.buffer(features, rows=rows, pad=side // 2))
        convolve = Layer(builder, block.convolve, active[-1], 1)
        convolve.above(biases(block.convolve.bias, block.label))
        blocks.append((convolve, builder.buffer(inner, level=FOREVER), block.out))
    active.append(builder.buffer(features, level=FOREVER))
    both: dict[str, Any] = {"out": Dest(stream), "post": "rms-norm"}
    first.pixel(0, **both, post_to=Dest(active[0]))
    for (convolve, inside, out), after in zip(blocks, active[1:], strict=True):
        convolve.pixel(0, post="squared-relu", post_to=Dest(inside))
        dense(builder, out, inside, **both, add=Source(stream), post_to=Dest(after))
    middle = builder.buffer(model.head_1.weight.shape[0], level=FOREVER)
    dense(builder, model.head_1, active[-1], post="squared-relu", post_to=Dest(middle))
    weight = builder.whole(model.head_2.weight[:, :, 0, 0].T)
    parameters = builder.buffer(weight.shape[1], level=FOREVER)
    dense(builder, model.head_2, middle, raw=Dest(parameters))
    position = (model.position[0] + model.first.bias[:, None, None]).permute(1, 2, 0)
    return builder.program(
        symbols, model.embed.weight[None], parameters, [0], model.symbols, "Patch",
        patch=model.patch, place=(place, label), position=builder.numpy(position),
    )  # fmt: skip


def dense(builder: Builder, layer: Any, buffer: int, **options: Any) -> None:
    """A 1×1 convolution."""
    weight, bias = cast("Tensor", layer.weight)[:, :, 0, 0].T, cast("Tensor", layer.bias)
    builder.operation(0, [Tap(buffer, weight)], bias=bias, **options)
