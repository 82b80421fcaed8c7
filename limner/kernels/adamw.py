"""A step of AdamW (1711.05101) with the gradient clipped, and of a moving average, over all parameters in one go."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, cfunc, njit

from limner.kernels import digest
from limner.kernels.team import ENTRY, TEAM, ends, pointer, share, wait_for_all
from limner.kernels.vectors import FAST

__all__ = ["DECAY", "HEADER", "LEARNING_RATE", "MOST", "NORM", "NUMBERS", "ROW", "SUMS", "TEAM", "average", "step"]

HEADER = TEAM + 2
"""Numbers before a table's rows: the team, how many rows, and the address of the float64 numbers below."""
ROW = 7
"""Addresses of a parameter, its gradient, both moments and its count of steps; its size; whether it decays. In
``average``: of the averaged parameter and the parameter; the size is in its place."""
LEARNING_RATE, DECAY, NORM, SUMS, MOST = 0, 5, 6, 7, 256
"""Places of the numbers: learning rate, both β, ε, the norm to clip at or 0, the weight decay; then what the step
gives, the gradient's norm, and the squares of as many threads as there may be. ``average``: the weight comes first."""
NUMBERS = SUMS + MOST
LINE = 16
"""Numbers in a line of the cache: no two threads write to one."""


@njit(**FAST)
def _floats(address, first, last):
    return carray(pointer(address + 4 * first), (last - first,), np.float32)


@njit(**FAST)
def _squares(gradient):
    total = 0.0
    for start in range(0, len(gradient), 4096):
        some, end = np.float32(0), min(len(gradient), start + 4096)
        for j in range(start, end):
            some += gradient[j] * gradient[j]
        total += some
    return total


@njit(**FAST)
def _move(p, g, m, v, shrink, clip, beta2, rest1, rest2, size, root, eps):
    for j in range(len(p)):
        gradient = clip * g[j]
        first = m[j] + rest1 * (gradient - m[j])
        second = beta2 * v[j] + rest2 * gradient * gradient
        m[j], v[j] = first, second
        p[j] = shrink * p[j] - size * first / (math.sqrt(second) * root + eps)


def _entries(sources: str) -> tuple[Any, Any]:
    @cfunc(ENTRY, cache=True, **FAST)
    def step(data):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        part, parts = share(data)
        header = carray(data, (HEADER,), np.int64)
        rows = carray(data, (HEADER + ROW * header[TEAM],), np.int64)[HEADER:].reshape(-1, ROW)
        numbers = carray(pointer(header[TEAM + 1]), (NUMBERS,), np.float64)
        squares = 0.0
        for row in rows:
            squares += _squares(_floats(row[1], *ends(row[5], LINE, part, parts)))
        numbers[SUMS + part] = squares
        wait_for_all(data)
        norm = math.sqrt(numbers[SUMS : SUMS + parts].sum())
        if part == 0:
            numbers[NORM] = norm
        if math.isfinite(norm):
            rate, beta1, beta2 = numbers[LEARNING_RATE], numbers[LEARNING_RATE + 1], numbers[LEARNING_RATE + 2]
            eps, most, decay = numbers[LEARNING_RATE + 3], numbers[LEARNING_RATE + 4], numbers[DECAY]
            clip = min(1.0, most / (norm + 1e-6)) if most else 1.0
            for row in rows:
                first, last = ends(row[5], LINE, part, parts)
                count = _floats(row[4], 0, 1)[0] + 1.0
                shrink, size = 1 - rate * decay * row[6], rate / (1 - beta1**count)
                root = 1 / math.sqrt(1 - beta2**count)
                _move(_floats(row[0], first, last), _floats(row[1], first, last), _floats(row[2], first, last),
                      _floats(row[3], first, last), np.float32(shrink), np.float32(clip), np.float32(beta2),
                      np.float32(1 - beta1), np.float32(1 - beta2), np.float32(size), np.float32(root),
                      np.float32(eps))  # fmt: skip
            wait_for_all(data)
            if part == 0:
                for row in rows:
                    _floats(row[4], 0, 1)[0] += 1
        wait_for_all(data)

    @cfunc(ENTRY, cache=True, **FAST)
    def average(data):
        sources  # noqa: B018
        part, parts = share(data)
        header = carray(data, (HEADER,), np.int64)
        rows = carray(data, (HEADER + ROW * header[TEAM],), np.int64)[HEADER:].reshape(-1, ROW)
        weight = np.float32(carray(pointer(header[TEAM + 1]), (NUMBERS,), np.float64)[0])
        rest = np.float32(1) - weight  # float32 and a whole number would be float64
        for row in rows:
            first, last = ends(row[5], LINE, part, parts)
            mean, p = _floats(row[0], first, last), _floats(row[1], first, last)
            if weight < 0.5:
                for j in range(len(mean)):
                    mean[j] += weight * (p[j] - mean[j])
            else:
                for j in range(len(mean)):
                    mean[j] = p[j] - rest * (p[j] - mean[j])

    return step, average


step, average = _entries(digest(Path(__file__).parent))
"""Of the address of a table, by ``limner.threads.in_team``. A step changes nothing where the norm is not finite."""
