"""The ELBO of dense networks for binary pictures: arrays for the loops of ``limner.kernels.elbo``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from limner.kernels import elbo, product
from limner.kernels import elbo_table as table
from limner.kernels.tile import BF16, VECTOR_BYTES, VECTORS
from limner.nn.coders import DenseDecoder, DenseEncoder
from limner.threads import in_team, team_size

__all__ = ["BF16", "elbo_terms"]

LANES = VECTOR_BYTES // 4


class _Key(NamedTuple):
    """What decides the arrays of a step."""

    pictures: int
    sizes: tuple[tuple[int, int], ...]  # of the weights, (outputs, inputs)
    threads: int
    tanh: bool
    doubly: bool
    bf16: bool


def elbo_terms(
    encoder: DenseEncoder,
    decoder: DenseDecoder,
    images: Tensor,
    noise: Tensor,
    *,
    keep: Tensor | None = None,
    scale: Tensor | None = None,
    doubly: bool = False,
    bf16: bool = False,
) -> tuple[Tensor, Tensor, bool]:
    """-ln p(x|z) at z = μ + σ ε and KL(q(z|x) ‖ N(0, I)) in closed form, nats, each ``(B,)``; all float32, on the CPU.

    And whether each pixel is 0 or 255; else they mean nothing.

    Args:
        encoder: From pictures in [-1, 1] to μ and r, ln σ being 7 tanh(r / 7).
        decoder: From codes to a logit a pixel.
        images: uint8 ``(B, C, H, W)``.
        noise: ε, ``(B, latent)``.
        keep: What the encoder's input is multiplied by, ``(B, C, H, W)``; it has no gradient.
        scale: What the logits are multiplied by, one number.
        doubly: Whether the gradient of the KL in μ and σ goes by way of z only (1703.09194), or is its closed form's.
        bf16: Whether matrices are multiplied in bfloat16, their sums in float32, as under autocast; where ``BF16``.
    """
    layers = [*encoder.linears, *decoder.linears]
    scale = noise.new_ones(()) if scale is None else scale
    threads = min(team_size(), -(-len(images) // table.SHARE))
    sizes = tuple((layer.out_features, layer.in_features) for layer in layers)
    key = _Key(len(images), sizes, threads, decoder.activation is nn.Tanh, doubly, bf16)
    parameters = chain((layer.weight for layer in layers), (layer.bias for layer in layers))
    bad: list[bool] = []
    reconstruction, kl = _Elbo.apply(key, bad, images, keep, noise, scale, *parameters)
    return reconstruction, kl, not any(bad)


class _Room:
    """Where a step's arrays lie, and the table that tells the loops of them."""

    def __init__(self, key: _Key) -> None:
        self.key = key
        b, sizes, threads = key.pictures, key.sizes, key.threads
        outputs, inputs = ([-(-size // LANES) * LANES for size in ends] for ends in zip(*sizes, strict=True))
        pairs = 2 if key.bf16 else 1
        widest, most = max(*outputs, *inputs), max(table.ROWS, b, VECTORS[0] * LANES)
        shapes: dict[str, list[tuple[int, int]]] = {
            "terms": [(2, b)],
            "bad": [(1, threads)],
            "seen": [(b, inputs[0])],
            "pixels": [(b, outputs[-1])],
            **{name: [(b, inputs[table.CODE + 1])] for name in ("z", "sigma", "bent", "d_z")},
            "d_scale": [(1, threads)],
            "spare": [(threads, (most + 3) * widest)],
            "zeros": [(1, widest)],
            **{name: [(b, n) for n in outputs] for name in ("outputs", "slopes", "d")},
            "starts": [(1, n) for n in outputs],
            "d_starts": [(threads, n) for n in outputs],
            "forwards": [
                (1, n * (w // 2 if key.bf16 else k)) for n, w, (_, k) in zip(outputs, inputs, sizes, strict=True)
            ],
            "backwards": [(1, -(-n // pairs) * w) for w, (n, _) in zip(inputs, sizes, strict=True)],
            "d_columns": [(n, -(-b // pairs)) for n in outputs],
            "x_panels": [(1, -(-b // pairs) * w) for w in inputs],
        }
        self.table, self.threads = np.zeros(table.LENGTH, np.int64), threads
        multiply = product.addresses()[key.bf16]
        self.table[table.TEAM : table.HEADER] = b, key.tanh, key.doubly, key.bf16, multiply
        self.arrays = {name: [torch.zeros(shape) for shape in each] for name, each in shapes.items()}
        for name, each in self.arrays.items():
            self.put(name, each)

    def put(self, name: str, arrays: Iterable[Tensor]) -> None:
        """Addresses and shapes of arrays, one after the other, as matrices; a vector is a row."""
        numbers: list[int] = []
        for array in arrays:
            rows = len(array) if array.dim() > 1 else 1
            numbers += array.data_ptr(), rows, array.numel() // rows
        at = table.ARRAYS[name]
        self.table[at : at + len(numbers)] = numbers

    def run(self, function: Any) -> None:
        """One of both passes."""
        for name in ("bad", "d_scale"):  # the team may be smaller than it could be
            self.arrays[name][0].zero_()
        in_team(function.address, self.table, self.threads)


_free: list[_Room] = []  # those that no step is in
MOST_FREE = 3


def _taken(key: _Key) -> _Room:
    for i, room in enumerate(_free):
        if room.key == key:
            return _free.pop(i)
    return _Room(key)


class _Elbo(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, key: _Key, bad: list[bool], images: Tensor, keep: Tensor | None, noise: Tensor, *given: Tensor
    ) -> Any:
        ctx.room = room = _taken(key)
        ctx.kept = (images.contiguous(), keep, noise.contiguous(), *given)  # while their addresses are used
        images, keep, noise, scale, *parameters = ctx.kept
        terms = noise.new_empty(2, len(images))
        room.put("pictures", [images])
        room.put("keep", [] if keep is None else [keep])
        room.put("noise", [noise, terms, scale])
        room.put("weights", parameters)
        if keep is None:
            room.table[table.ARRAYS["keep"]] = 0
        room.run(elbo.forward)
        bad += room.arrays["bad"][0][0].tolist()
        return terms.unbind()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *by_terms: Tensor) -> Any:
        room, ctx.room = ctx.room, None
        if room is None:
            raise RuntimeError("the gradient of these terms was taken before: compute them again")
        parameters, terms = ctx.kept[4:], torch.stack(by_terms)
        gradients = [torch.empty_like(p) for p in parameters]
        room.put("terms", [terms])
        room.put("gradients", gradients)
        room.run(elbo.backward)
        d_scale = room.arrays["d_scale"][0].sum()
        _free.append(room)
        del _free[:-MOST_FREE]
        return None, None, None, None, None, d_scale, *gradients
