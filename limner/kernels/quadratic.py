"""Quadratic polynomials of many points: c + b·x + x·A x, the product with A staying in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from limner.kernels import digest
from limner.kernels.product import product
from limner.kernels.vectors import FAST

__all__ = ["quadratics"]

_BLOCK = 48
"""Points that are multiplied together."""


@njit(**FAST)
def _quadratics(x, a, b, c, first, last, out):
    size, (points, d), width = x.itemsize, x.shape[1:], b.shape[1]
    products = np.empty((_BLOCK, width), x.dtype)
    found = np.empty((1, 3), dtype=np.int64)
    for polynomial in range(first, last):
        for start in range(0, points, _BLOCK):
            rows = min(_BLOCK, points - start)
            found[0, 0] = x.ctypes.data + (polynomial * points + start) * d * size
            found[0, 1], found[0, 2] = d * size, d
            product(x, rows, width * size, found.ctypes.data, 1, d, a.ctypes.data + polynomial * d * width * size,
                    b.ctypes.data + polynomial * width * size, 0, products.ctypes.data, width * size)  # fmt: skip
            for row in range(rows):
                total = c[polynomial]
                for i in range(d):
                    total += products[row, i] * x[polynomial, start + row, i]
                out[polynomial, start + row] = total


def _entry(sources: str) -> Any:
    @njit(cache=True, **FAST)
    def quadratics(*arguments):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        _quadratics(*arguments)

    return quadratics


quadratics = _entry(digest(Path(__file__).parent))
"""Of polynomials ``first`` to ``last``, ``out`` (B, K) of ``x`` (B, K, d): ``a`` (B, d·width) in panels, ``b``
(B, width), ``c`` (B,), width being d in whole vectors."""
