"""Matrix products of any size, made of tiles."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from limner.kernels import digest
from limner.kernels.team import pointer
from limner.kernels.tile import BF16, ROWS, VECTOR_BYTES, VECTORS, tile
from limner.kernels.vectors import FAST, I64

__all__ = ["addresses", "product", "product_at"]

KIND = types.void(*[types.int64] * 10)
"""Of ``product`` without ``like``."""


@njit(**FAST)
def product(like, rows, width, found, count, inputs, weights, start, by_start, out, by_out):
    """``out = start + Σ taps`` for ``rows`` rows of ``width`` bytes; ``weights`` lie in panels as wide as a tile."""
    done, panel = 0, weights
    while done < width:
        vectors = VECTORS[-1]
        for v in VECTORS:
            if v * VECTOR_BYTES <= width - done:
                vectors = v
                break
        row, left = 0, (rows + ROWS - 1) // ROWS
        while row < rows:
            high = (rows - row + left - 1) // left
            tile(like, high, vectors, found, count, row, panel, start + row * by_start + done, by_start,
                 out + row * by_out + done, by_out)  # fmt: skip
            row += high
            left -= 1
        done += vectors * VECTOR_BYTES
        panel += vectors * VECTOR_BYTES * inputs


@intrinsic
def product_at(
    typingctx: Any,
    function: Any,
    rows: Any,
    width: Any,
    found: Any,
    count: Any,
    inputs: Any,
    weights: Any,
    start: Any,
    by_start: Any,
    out: Any,
    by_out: Any,
) -> Any:
    """``product`` by one of its ``addresses``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 10).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


def _entries(sources: str) -> tuple[Any, Any]:
    @cfunc(KIND, cache=True, **FAST)
    def floats(rows, width, found, count, inputs, weights, start, by_start, out, by_out):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        like = carray(pointer(out), (1,), np.float32)
        product(like, rows, width, found, count, inputs, weights, start, by_start, out, by_out)

    if not BF16:
        return floats, None

    @cfunc(KIND, cache=True, **FAST)
    def halves(rows, width, found, count, inputs, weights, start, by_start, out, by_out):
        sources  # noqa: B018
        like = carray(pointer(out), (1,), np.uint32)
        product(like, rows, width, found, count, inputs, weights, start, by_start, out, by_out)

    return floats, halves


@functools.cache
def addresses() -> tuple[int, int]:
    """Of ``product`` compiled for float32, and for pairs of bfloat16 (0 where the processor has no such numbers).

    Whoever calls it by its address need not be compiled together with it, which takes seconds.
    """
    floats, halves = _entries(digest(Path(__file__).parent))
    return floats.address, halves.address if halves else 0
