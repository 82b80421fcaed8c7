"""Matrix products of any size, made of tiles."""

from __future__ import annotations

from numba import njit

from limner.fast.tile import ROWS, VECTOR_BYTES, VECTORS, tile
from limner.fast.vectors import FAST

__all__ = ["product"]


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
