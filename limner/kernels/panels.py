"""Matrices as ``product`` takes them, in float32 or in pairs of bfloat16: transposed, and in panels as wide as a tile.

A pair is one number of 32 bits, the earlier bfloat16 in its lower half; such numbers lie in arrays of float32 too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.kernels.team import pointer
from limner.kernels.tile import BF16, VECTOR_BYTES, VECTORS
from limner.kernels.vectors import FAST, I64, Vectors

__all__ = [
    "clear",
    "halved",
    "into_panels",
    "matrix",
    "panel_width",
    "rounded",
    "row_panels",
    "shortened",
    "transpose",
    "transposed_rows",
    "weight_panels",
]

LANES = VECTOR_BYTES // 4


def rounded(v: Vectors, x: Any) -> Any:
    """A vector of float32 as bfloat16 in the lower halves of 32 bits; nothing where the processor has none."""
    whole = ir.VectorType(ir.IntType(32), v.lanes)
    return v.b.zext(shortened(v, x), whole) if BF16 else ir.Constant(whole, [0] * v.lanes)


def shortened(v: Vectors, x: Any) -> Any:
    """A vector of float32 as bfloat16, by a processor that has them."""
    half = ir.VectorType(ir.IntType(16), v.lanes)
    return v.b.call(ir.InlineAsm(ir.FunctionType(half, [v.kind]), "vcvtneps2bf16 $1, $0", "=v,v"), [x])


@intrinsic
def _halves(typingctx: Any, x: Any, length: Any, out: Any) -> Any:
    """Whole vectors of ``length`` bytes of float32 at an address as half as many bytes of bfloat16 at another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, length, out = arguments
        v = Vectors(builder, ir.FloatType(), 4)
        half = ir.VectorType(ir.IntType(16), v.lanes)
        with cgutils.for_range_slice(
            builder, ir.Constant(I64, 0), length, ir.Constant(I64, VECTOR_BYTES), inc=True
        ) as (
            at,
            _,
        ):
            value = builder.trunc(rounded(v, v.load(builder.add(x, at))), half)
            place = builder.add(out, builder.lshr(at, ir.Constant(I64, 1)))
            builder.store(value, builder.inttoptr(place, half.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def _pairs(typingctx: Any, x: Any, y: Any, length: Any, out: Any) -> Any:
    """Whole vectors of ``length`` bytes of float32 at two addresses as pairs, of which ``x`` gives the lower halves."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, length, out = arguments
        v = Vectors(builder, ir.FloatType(), 4)
        shift = ir.Constant(ir.VectorType(ir.IntType(32), v.lanes), [16] * v.lanes)
        with cgutils.for_range_slice(
            builder, ir.Constant(I64, 0), length, ir.Constant(I64, VECTOR_BYTES), inc=True
        ) as (
            at,
            _,
        ):
            low, high = (rounded(v, v.load(builder.add(address, at))) for address in (x, y))
            pair = builder.bitcast(builder.or_(low, builder.shl(high, shift)), v.kind)
            builder.store(pair, v.pointer(builder.add(out, at)), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def _transpose_block(typingctx: Any, x: Any, by_x: Any, out: Any, by_out: Any) -> Any:
    """A square as wide as a vector of float32 from address to address, bytes from row to row, in registers.

    Step d exchanges, of rows i and i + d, the lanes whose number has the bit d with those that have not.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, by_x, out, by_out = arguments
        v = Vectors(builder, ir.FloatType(), 4)

        def place(address: Any, by: Any, row: int) -> Any:
            return builder.add(address, builder.mul(by, ir.Constant(I64, row)))

        def lanes(numbers: list[int]) -> ir.Constant:
            return ir.Constant(ir.VectorType(ir.IntType(32), v.lanes), numbers)

        rows, d = [v.load(place(x, by_x, row)) for row in range(v.lanes)], 1
        while d < v.lanes:
            low = lanes([j if not j & d else v.lanes + j - d for j in range(v.lanes)])
            high = lanes([j + d if not j & d else v.lanes + j for j in range(v.lanes)])
            for i in range(v.lanes):
                if not i & d:
                    a, b = rows[i], rows[i + d]
                    rows[i], rows[i + d] = builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high)
            d *= 2
        for row, value in enumerate(rows):
            builder.store(value, v.pointer(place(out, by_out, row)), align=v.size)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@njit(**FAST)
def matrix(x, at, rows, columns):
    """Some numbers of a vector as ``(rows, columns)``; numba's own ``reshape`` takes seconds to compile."""
    return carray(pointer(x.ctypes.data + 4 * at), (rows, columns), np.float32)


@njit(**FAST)
def clear(x, first):
    """Zeros from ``first`` on."""
    for j in range(first, len(x)):
        x[j] = 0


@njit(**FAST)
def transpose(x, out):
    """``out`` (N, M) of ``x`` (M, N), both float32 with rows of one piece."""
    m, n = x.shape
    for i in range(0, m - m % LANES, LANES):
        for j in range(0, n - n % LANES, LANES):
            _transpose_block(x[i:, j:].ctypes.data, x.strides[0], out[j:, i:].ctypes.data, out.strides[0])
        for j in range(n - n % LANES, n):
            for row in range(i, i + LANES):
                out[j, row] = x[row, j]
    for row in range(m - m % LANES, m):
        for j in range(n):
            out[j, row] = x[row, j]


@njit(**FAST)
def halved(x, first, last, out):
    """Rows ``first`` to ``last`` of ``x``, in whole vectors, in bfloat16 at the beginning of ``out``."""
    width = x.shape[1] * 4
    _halves(x.ctypes.data + first * width, (last - first) * width, out.ctypes.data)


@njit(**FAST)
def _copied(x, by, out):
    """``by x`` and then zeros."""
    for j in range(len(x)):
        out[j] = by * x[j]
    clear(out, len(x))


@njit(**FAST)
def panel_width(left):
    """How wide a panel is where ``left`` numbers of a row are left, in whole vectors."""
    for v in VECTORS:
        if v * LANES <= left:
            return v * LANES
    return LANES


@njit(**FAST)
def _scattered(x, row, rows, out):
    """``x``, in whole vectors, as one row of so many in panels."""
    done = 0
    while done < len(x):
        wide = panel_width(len(x) - done)
        at = rows * done + row * wide
        to, given = out[at : at + wide], x[done : done + wide]
        for j in range(wide):
            to[j] = given[j]
        done += wide


@njit(**FAST)
def into_panels(x, first, last, bf16, out, spare):
    """Rows ``first`` (even) to ``last`` of ``x`` (rows in whole vectors) at their places in ``out``, all its panels.

    As bfloat16 two rows at a time make one of pairs; a last odd one is paired with zeros.
    """
    if not bf16:
        for row in range(first, last):
            _scattered(x[row], row, len(x), out)
        return
    width, rows = x.shape[1], (len(x) + 1) // 2
    zeros, pairs = spare[:width], spare[width : 2 * width]
    clear(zeros, 0)
    for row in range(first, last, 2):
        after = x[row + 1] if row + 1 < last else zeros
        _pairs(x[row].ctypes.data, after.ctypes.data, width * 4, pairs.ctypes.data)
        _scattered(pairs, row // 2, rows, out)


@njit(**FAST)
def transposed_rows(x, first, last, bf16, out, spare):
    """Rows ``first`` (even) to ``last`` of ``x`` as columns of ``out``; as bfloat16 two rows make a column of pairs."""
    if not bf16:
        transpose(x[first:last], out[:, first:last])
        return
    width, rows = x.shape[1], (last - first + 1) // 2
    pairs, zeros = matrix(spare, 0, rows, width), spare[rows * width : (rows + 1) * width]
    clear(zeros, 0)
    for row in range(first, last, 2):
        after = x[row + 1] if row + 1 < last else zeros
        _pairs(x[row].ctypes.data, after.ctypes.data, width * 4, pairs[(row - first) // 2].ctypes.data)
    transpose(pairs, out[:, first // 2 : first // 2 + rows])


@njit(**FAST)
def weight_panels(w, by, done, bf16, out, spare):
    """A panel of ``by w`` (N, K) transposed: its rows from ``done`` on are columns of ``out`` (K, wide)."""
    wide = out.shape[1]
    there = max(0, min(wide, len(w) - done))
    if bf16:
        width = 2 * len(out)
        row, halves = spare[:width], matrix(spare, width, there, len(out))
        for j in range(there):
            _copied(w[done + j], by, row)
            _halves(row.ctypes.data, width * 4, halves[j].ctypes.data)
        transpose(halves, out[:, :there])
    else:
        transpose(w[done : done + there], out[:, :there])
        for row in range(len(out)):
            for j in range(there):
                out[row, j] *= by
    for row in range(len(out)):
        clear(out[row], there)


@njit(**FAST)
def row_panels(w, first, last, bf16, out, width, spare):
    """Rows ``first`` (even) to ``last`` of ``w`` (N, K), then zeros up to ``width``, at their places in ``out``."""
    one = np.float32(1)
    low, high, pairs = spare[:width], spare[width : 2 * width], spare[2 * width : 3 * width]
    for row in range(first, last, 2 if bf16 else 1):
        _copied(w[row], one, low)
        if not bf16:
            _scattered(low, row, len(w), out)
            continue
        if row + 1 < last:
            _copied(w[row + 1], one, high)
        else:
            clear(high, 0)
        _pairs(low.ctypes.data, high.ctypes.data, width * 4, pairs.ctypes.data)
        _scattered(pairs, row // 2, (len(w) + 1) // 2, out)
