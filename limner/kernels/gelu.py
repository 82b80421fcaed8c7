"""GELU of bfloat16 numbers and its gradient, computed in float32: torch's take a seventh of a convolutional step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from limner.kernels import digest
from limner.kernels.panels import rounded
from limner.kernels.team import ENTRY, TEAM, ends, pointer, share
from limner.kernels.tile import VECTOR_BYTES
from limner.kernels.vectors import FAST, I64, Vectors

__all__ = ["LENGTH", "TEAM", "gelu"]

LENGTH = TEAM + 4
"""Of a table: the team, how many numbers, and the addresses of x, of the result, and of the gradient that comes."""
LANES = VECTOR_BYTES // 4


@intrinsic
def _vector(typingctx: Any, x: Any, out: Any, d_out: Any) -> Any:
    """GELU of a vector's bfloat16 from address to address; where there is a ``d_out``, its gradient instead."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, out, d_out = arguments
        v = Vectors(builder, ir.FloatType(), 4)
        half, whole = (ir.VectorType(ir.IntType(bits), v.lanes) for bits in (16, 32))

        def load(address: Any) -> Any:
            bits = builder.zext(builder.load(builder.inttoptr(address, half.as_pointer()), align=2), whole)
            return builder.bitcast(builder.shl(bits, ir.Constant(whole, [16] * v.lanes)), v.kind)

        def store(value: Any) -> None:
            bits = builder.trunc(rounded(v, value), half)
            builder.store(bits, builder.inttoptr(out, half.as_pointer()), align=2)

        with builder.if_else(builder.icmp_signed("==", d_out, ir.Constant(I64, 0))) as (value, gradient):
            with value:
                store(v.gelu(load(x)))
            with gradient:
                store(v.mul(load(d_out), v.gelu_and_slope(load(x))[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@njit(**FAST)
def _some(x, out, d_out, first, last):
    """Of numbers ``first`` to ``last``; the last ones by way of whole vectors elsewhere."""
    whole = last - (last - first) % LANES
    if d_out:
        for i in range(first, whole, LANES):
            _vector(x + 2 * i, out + 2 * i, d_out + 2 * i)
    else:
        for i in range(first, whole, LANES):
            _vector(x + 2 * i, out + 2 * i, 0)
    if whole < last:
        own = np.empty((3, LANES), np.int16)
        left = last - whole
        for j in range(LANES):
            own[0, j], own[2, j] = 0, 0
        for j in range(left):
            own[0, j] = carray(pointer(x + 2 * whole), (left,), np.int16)[j]
            if d_out:
                own[2, j] = carray(pointer(d_out + 2 * whole), (left,), np.int16)[j]
        _vector(own[0].ctypes.data, own[1].ctypes.data, own[2].ctypes.data if d_out else 0)
        for j in range(left):
            carray(pointer(out + 2 * whole), (left,), np.int16)[j] = own[1, j]


def _entry(sources: str) -> Any:
    @cfunc(ENTRY, cache=True, **FAST)
    def gelu(data):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        table, (part, parts) = carray(data, (LENGTH,), np.int64), share(data)
        n, x, out, d_out = table[TEAM], table[TEAM + 1], table[TEAM + 2], table[TEAM + 3]
        first, last = ends(n, LANES, part, parts)
        _some(x, out, d_out, first, last)

    return gelu


gelu = _entry(digest(Path(__file__).parent))
"""Of the address of a table, by ``limner.threads.in_team``: GELU, or where a gradient comes, its own."""
