r"""ln p(x|z) of binary pictures under a dense decoder, all layers in one pass over a few codes at a time.

.. math:: \ln p(x \mid z) = \sum_i x_i l_i - \ln(1 + e^{l_i}), \quad \ln(1 + e^l) = \max(l, 0) + \ln(1 + e^{-|l|})

The layers' outputs for ``BLOCK`` codes stay in the cache, the logits are never written to memory, and the logarithm is
taken once, of the product of all 1 + e^{-|l|}, each at most 2. With weights of the second and third layer in pairs of
bfloat16 (uint32) what these layers take is rounded to bfloat16 too; sums and logits stay float32.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.kernels import digest
from limner.kernels.panels import shortened
from limner.kernels.product import product
from limner.kernels.tile import VECTOR_BYTES
from limner.kernels.vectors import FAST, I64, Vectors

__all__ = ["BLOCK", "activate_with_slopes", "bernoulli_slope", "log_prob", "row_log_prob"]

BLOCK = 48
"""Codes that go through the layers together."""
_FACTORS = 48  # of each lane's product, in vectors: it stays below 2^48, and that of 16 lanes below 2^768


@intrinsic
def _activate(typingctx: Any, like: Any, at: Any, length: Any, tanh: Any) -> Any:
    """tanh, or else GELU, of ``length`` bytes in place, whole vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, at, length, tanh = arguments
        zero, step = ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES)
        with builder.if_else(tanh) as branches:
            for branch, function in zip(branches, (v.tanh, v.gelu), strict=True):
                with branch, cgutils.for_range_slice(builder, zero, length, step, inc=True) as (offset, _):
                    place = v.pointer(builder.add(at, offset))
                    builder.store(function(builder.load(place, align=v.size)), place, align=v.size)
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64, types.boolean), generate


@intrinsic
def activate_with_slopes(typingctx: Any, at: Any, slopes: Any, length: Any, tanh: Any) -> Any:
    """tanh, or else GELU, of ``length`` bytes of float32 in place, whole vectors; derivatives go to ``slopes``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = Vectors(builder, ir.FloatType(), 4)
        at, slopes, length, tanh = arguments
        zero, step = ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES)
        with builder.if_else(tanh) as branches:
            for branch, function in zip(branches, (v.tanh_and_slope, v.gelu_and_slope), strict=True):
                with branch, cgutils.for_range_slice(builder, zero, length, step, inc=True) as (offset, _):
                    place = v.pointer(builder.add(at, offset))
                    value, slope = function(builder.load(place, align=v.size))
                    builder.store(value, place, align=v.size)
                    builder.store(slope, v.pointer(builder.add(slopes, offset)), align=v.size)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.boolean), generate


@intrinsic
def _packed(typingctx: Any, weights: Any, at: Any, length: Any) -> Any:
    """``length`` bytes of float32 to half as many of bfloat16, in place, where ``weights`` are pairs of these."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0].dtype == types.uint32:
            v = Vectors(builder, ir.FloatType(), 4)
            _, at, length = arguments
            zero, step = ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES)
            with cgutils.for_range_slice(builder, zero, length, step, inc=True) as (offset, _):
                halves = shortened(v, v.load(builder.add(at, offset)))
                place = builder.add(at, builder.lshr(offset, ir.Constant(I64, 1)))
                builder.store(halves, builder.inttoptr(place, halves.type.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(weights, types.int64, types.int64), generate


@intrinsic
def bernoulli_slope(typingctx: Any, logits: Any, x: Any, out: Any, length: Any, by: Any, sums: Any) -> Any:
    """``out = by (σ(l) - x)`` for ``length`` bytes of float32, whole vectors; Σ out l is added to those at ``sums``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = Vectors(builder, ir.FloatType(), 4)
        logits, x, out, length, by, sums = arguments
        by, zero, step = v.splat(by), ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES)
        total = cgutils.alloca_once_value(builder, v.all(0.0))
        builder.store(v.load(sums), total)
        with cgutils.for_range_slice(builder, zero, length, step, inc=True) as (at, _):
            value = v.load(builder.add(logits, at))
            slope = v.mul(by, v.sub(v.sigmoid(value), v.load(builder.add(x, at))))
            builder.store(slope, v.pointer(builder.add(out, at)), align=v.size)
            builder.store(v.add(builder.load(total), v.mul(slope, value)), total)
        builder.store(builder.load(total), v.pointer(sums), align=v.size)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, types.float32, types.int64), generate


@intrinsic
def _bernoulli(typingctx: Any, like: Any, logits: Any, x: Any, length: Any, out: Any) -> Any:
    """Two vectors at ``out``: Σ x l - max(l, 0) and Π 1 + e^-|l| over the vectors of ``length`` bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, logits, x, length, out = arguments
        zero, step, one = ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES), v.all(1.0)
        total, factors = cgutils.alloca_once_value(builder, v.all(0.0)), cgutils.alloca_once_value(builder, one)
        builder.store(v.all(0.0), total)
        builder.store(one, factors)
        with cgutils.for_range_slice(builder, zero, length, step, inc=True) as (at, _):
            value = v.load(builder.add(logits, at))
            more = v.sub(v.mul(v.load(builder.add(x, at)), value), v.relu(value))
            builder.store(v.add(builder.load(total), more), total)
            e = v.exp(builder.fneg(v.call("fabs", value)))
            builder.store(v.mul(builder.load(factors), v.add(one, e)), factors)
        builder.store(builder.load(total), v.pointer(out), align=v.size)
        builder.store(builder.load(factors), v.pointer(builder.add(out, step)), align=v.size)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 4), generate


@njit(**FAST)
def row_log_prob(like, logits, x, pixels, sums):
    """Σ x l - ln(1 + e^l) over a row of whole vectors from two addresses; ``sums`` is two vectors to work in."""
    size, lanes, total = like.itemsize, VECTOR_BYTES // like.itemsize, 0.0
    for pixel in range(0, pixels, _FACTORS * lanes):
        length = min(_FACTORS * lanes, pixels - pixel)
        _bernoulli(like, logits + pixel * size, x + pixel * size, length * size, sums.ctypes.data)
        factors = 1.0
        for lane in range(lanes):
            total += sums[0, lane]
            factors *= sums[1, lane]
        total -= math.log(factors)
    return total


@njit(**FAST)
def _log_prob(z, x, w1, b1, w2, b2, w3, b3, tanh, first, last, out):
    size, codes, hidden, pixels = z.itemsize, z.shape[1], len(b1), len(b3)
    lanes = VECTOR_BYTES // size
    stored = len(w2) * w2.itemsize // hidden  # bytes of a layer's outputs as the next takes them
    layers = np.empty((2, BLOCK, hidden), z.dtype)
    logits = np.empty((BLOCK, pixels), z.dtype)
    sums = np.empty((2, lanes), z.dtype)
    found = np.empty((1, 3), dtype=np.int64)
    at_first, at_second = layers[0].ctypes.data, layers[1].ctypes.data
    for start in range(first, last, BLOCK):
        rows = min(BLOCK, last - start)
        found[0, 0], found[0, 1], found[0, 2] = z.ctypes.data + start * codes * size, codes * size, codes
        product(z, rows, hidden * size, found.ctypes.data, 1, codes, w1.ctypes.data, b1.ctypes.data, 0,
                at_first, hidden * size)  # fmt: skip
        _activate(z, at_first, rows * hidden * size, tanh)
        _packed(w2, at_first, rows * hidden * size)
        found[0, 0], found[0, 1], found[0, 2] = at_first, stored, stored // w2.itemsize
        product(w2, rows, hidden * size, found.ctypes.data, 1, found[0, 2], w2.ctypes.data, b2.ctypes.data, 0,
                at_second, hidden * size)  # fmt: skip
        _activate(z, at_second, rows * hidden * size, tanh)
        _packed(w3, at_second, rows * hidden * size)
        found[0, 0] = at_second
        product(w3, rows, pixels * size, found.ctypes.data, 1, found[0, 2], w3.ctypes.data, b3.ctypes.data, 0,
                logits.ctypes.data, pixels * size)  # fmt: skip
        for row in range(rows):
            at_x = x.ctypes.data + (start + row) % len(x) * pixels * size
            at_logits = logits.ctypes.data + row * pixels * size
            out[start + row] = row_log_prob(z, at_logits, at_x, pixels, sums)


def _entry(sources: str) -> Any:
    @njit(cache=True, **FAST)
    def log_prob(*arguments):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        _log_prob(*arguments)

    return log_prob


log_prob = _entry(digest(Path(__file__).parent))
