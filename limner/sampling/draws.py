"""The distributions' inverse CDFs for the compiled loop.

One uniform decides one value by the rules of ``distributions/``, in float64; only the softmax of a float32 network
takes its exponentials in float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from limner.sampling.activations import exponentials

__all__ = ["FAST", "HEADS", "draw"]

HEADS = ("Bernoulli", "Categorical", "DiscretizedGaussian", "LogisticMixture")
"""The distributions by their place in ``draw``."""
FAST: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}
BLOCK = 16  # levels whose probabilities are summed at once


@njit(**FAST)
def draw(head, p, at, channel, components, levels, u, earlier, scratch):  # noqa: ANN001, ANN201
    """The level of one value.

    Args:
        head: Place of the distribution in ``HEADS``.
        p: Holds the parameters, from ``at`` on.
        at: See ``p``.
        channel: Of a mixture, whose parameters are those of all channels.
        components: M of a mixture.
        levels: L.
        u: The uniform; of a Gaussian its normal quantile.
        earlier: Levels of the pixel's channels.
        scratch: Room for L numbers, rounded up to whole vectors.
    """
    if head == 0:
        return np.int64(u >= 1 / (1 + math.exp(np.float64(p[at]))))
    if head == 1:
        return _categorical(p, at, levels, u, scratch)
    if head == 2:
        low, high = math.log(0.05 / (levels - 1)), math.log(2.0)
        std = math.exp(_bounded(np.float64(p[at + 1]) + math.log(0.25), low, high))
        x = (np.float64(p[at]) + 0.5 + std * u) * (levels - 1) + 0.5
        return np.int64(math.floor(min(max(x, 0.0), levels - 1.0)))
    return _mixture(p, at, channel, components, levels, u, earlier)


@njit(**FAST)
def _softplus(x):  # noqa: ANN001, ANN202
    return x if x > 20 else math.log1p(math.exp(x))  # torch's threshold


@njit(**FAST)
def _bounded(x, low, high):  # noqa: ANN001, ANN202
    return high - _softplus(high - low - _softplus(x - low))


@njit(**FAST)
def _categorical(p, at, levels, u, e):  # noqa: ANN001, ANN202
    largest = p[at]
    for k in range(1, levels):
        largest = max(largest, p[at + k])
    size = p.itemsize
    exponentials(p, np.int64(e.ctypes.data), np.int64(p.ctypes.data) + at * size, largest, levels * size)
    total = 0.0
    for begin in range(0, levels, BLOCK):
        total += _sum(e, begin, min(begin + BLOCK, levels))
    aim, below = u * total, 0.0
    for begin in range(0, levels, BLOCK):
        end = min(begin + BLOCK, levels)
        block = _sum(e, begin, end)
        if aim < below + block:
            for k in range(begin, end):
                below += e[k]
                if aim < below:
                    return k
            return end - 1
        below += block
    return levels - 1


@njit(**FAST)
def _sum(e, begin, end):  # noqa: ANN001, ANN202
    total = e[begin]
    for k in range(begin + 1, end):
        total += e[k]
    return total


@njit(**FAST)
def _mixture(p, at, channel, m, levels, u, earlier):  # noqa: ANN001, ANN202
    """``LogisticMixture.given`` and ``icdf``, for one value."""
    channels = len(earlier)
    low, high = math.log(0.05 * 2 / (levels - 1)), math.log(4.0)
    weight, mean, per_scale = np.empty(m), np.empty(m), np.empty(m)
    for x in range(m):
        weight[x] = p[at + x]
    for c in range(channel + 1):
        for x in range(m):
            scale = np.float64(p[at + m * (1 + channels + c) + x]) - math.log(1.5 * m)
            per_scale[x] = math.exp(-_bounded(scale, low, high))
            mean[x] = p[at + m * (1 + c) + x] + ((2.0 * x + 1) / m - 1)
            for before in range(c):
                slope = p[at + m * (1 + 2 * channels + c * (c - 1) // 2 + before) + x]
                mean[x] += math.tanh(np.float64(slope)) * (earlier[before] * (2.0 / (levels - 1)) - 1)
        if c < channel:  # how well each component explains this channel
            for x in range(m):
                half = per_scale[x] / (levels - 1)
                centre = (earlier[c] * (2.0 / (levels - 1)) - 1 - mean[x]) * per_scale[x]
                below, above = -_softplus(-centre - half), -_softplus(centre - half)
                if earlier[c] == 0:
                    weight[x] += below
                elif earlier[c] == levels - 1:
                    weight[x] += above
                else:
                    weight[x] += below + above + math.log(-math.expm1(-2 * half))
    largest, total = weight[0], 0.0
    for x in range(1, m):
        largest = max(largest, weight[x])
    for x in range(m):
        weight[x] = math.exp(weight[x] - largest)
        total += weight[x]
    first, last = 0, levels - 1
    while first < last:
        middle = (first + last) // 2
        upper, cdf = (2.0 * middle + 1) / (levels - 1) - 1, 0.0
        for x in range(m):
            cdf += weight[x] / (1 + math.exp(-(upper - mean[x]) * per_scale[x]))
        if u * total >= cdf:
            first = middle + 1
        else:
            last = middle
    return first
