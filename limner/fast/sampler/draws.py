"""The distributions' inverse CDFs for the compiled loop.

One uniform decides one value by the rules of ``distributions/``, in float64; only the softmax of a float32 network
takes its exponentials in float32.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from limner.fast.tile import VECTOR_BYTES
from limner.fast.vectors import FAST, exponentials

__all__ = ["HEADS", "PATCH", "draw", "draw_patch"]

HEADS = ("Bernoulli", "Categorical", "DiscretizedGaussian", "LogisticMixture", "Patch")
"""The distributions by their place in ``draw``."""
PATCH = HEADS.index("Patch")
"""The joint softmax over the values of a patch, which ``draw_patch`` draws."""


@njit(**FAST)
def draw(head, p, at, channel, components, levels, u, k, m, i, j, scratch, work):
    """The level of one value.

    Args:
        head: Place of the distribution in ``HEADS``.
        p: Holds the parameters, from ``at`` on.
        at: See ``p``.
        channel: Of a mixture, whose parameters are those of all channels.
        components: M of a mixture.
        levels: L.
        u: The uniform; of a Gaussian its normal quantile.
        k: Levels ``(images, C, H, W)``; of this pixel those of the earlier channels are drawn.
        m: Which image.
        i: Row.
        j: Column.
        scratch: Room for L numbers, rounded up to whole vectors.
        work: Zeros at first, float64 ``(5, ·)``: a mixture's state between the channels of a pixel, M rounded up to
            whole vectors; a softmax's sums.
    """
    if head == 0:
        return np.int64(u >= 1 / (1 + math.exp(np.float64(p[at]))))
    if head == 1:
        return _categorical(p, at, levels, u, scratch, work)
    if head == 2:
        low, high = math.log(0.05 / (levels - 1)), math.log(2.0)
        std = math.exp(_bounded(np.float64(p[at + 1]) + math.log(0.25), low, high))
        x = (np.float64(p[at]) + 0.5 + std * u) * (levels - 1) + 0.5
        return np.int64(math.floor(min(max(x, 0.0), levels - 1.0)))
    return _mixture(p, at, channel, components, levels, u, k[m, :, i, j], work)


@njit(**FAST)
def _softplus(x):
    return x if x > 20 else math.log1p(math.exp(x))  # torch's threshold


@njit(**FAST)
def _softplus_all(work, values, room, m):
    """``_softplus`` of ``m`` values, whose exponentials go to ``room``, another row of ``work``."""
    for x in range(m):
        room[x] = min(values[x], 20.0)
    to = np.int64(room.ctypes.data)
    exponentials(work, to, to, 0.0, work.shape[1] * 8, 0)
    for x in range(m):
        values[x] = values[x] if values[x] > 20 else math.log1p(room[x])


@njit(**FAST)
def _bounded(x, low, high):
    return high - _softplus(high - low - _softplus(x - low))


@njit(**FAST | {"fastmath": True})
def _largest(p, at, levels):
    largest = p[at]
    for k in range(1, levels):
        largest = max(largest, p[at + k])
    return largest


@njit(**FAST)
def _probabilities(p, at, levels, e, sums):
    """e^(logit - largest), and where ``sums`` is an address, the sums of each vector of them."""
    size = p.itemsize
    largest = _largest(p, at, levels)
    exponentials(p, np.int64(e.ctypes.data), np.int64(p.ctypes.data) + at * size, largest, levels * size, sums)


@njit(**FAST)
def _categorical(p, at, levels, u, e, work):
    _probabilities(p, at, levels, e, np.int64(work.ctypes.data))
    lanes, total = VECTOR_BYTES // p.itemsize, 0.0
    blocks = (levels + lanes - 1) // lanes
    for x in range(blocks):
        total += work[0, x]
    aim, below = u * total, 0.0
    for x in range(blocks):
        if aim < below + work[0, x]:
            for k in range(x * lanes, min((x + 1) * lanes, levels)):
                below += e[k]
                if aim < below:
                    return k
            return min((x + 1) * lanes, levels) - 1
        below += work[0, x]
    return levels - 1


@njit(**FAST)
def _mixture(p, at, channel, m, levels, u, pixel, work):
    """``LogisticMixture.given`` and ``icdf``; the channels of a pixel come one after the other, and share ``work``.

    A vector of exponentials costs what two single ones do, so all are taken ``m`` at a time.
    """
    weight, mean, per_scale, a, b = work[0], work[1], work[2], work[3], work[4]
    channels, size = len(pixel), work.shape[1] * 8
    to_a, to_b, to_scale = np.int64(a.ctypes.data), np.int64(b.ctypes.data), np.int64(per_scale.ctypes.data)
    gap = 2.0 / (levels - 1)
    if channel == 0:
        for x in range(m):
            weight[x] = p[at + x]
    else:  # how well each component explains the channel before, whose mean and scale are still here
        k = pixel[channel - 1]
        for x in range(m):
            half, centre = per_scale[x] / (levels - 1), (k * gap - 1 - mean[x]) * per_scale[x]
            a[x], b[x] = -abs(centre + half), -abs(half - centre)
        exponentials(work, to_a, to_a, 0.0, size, 0)
        exponentials(work, to_b, to_b, 0.0, size, 0)
        for x in range(m):
            half, centre = per_scale[x] / (levels - 1), (k * gap - 1 - mean[x]) * per_scale[x]
            if k < levels - 1:  # ln σ(centre + half)
                weight[x] += min(centre + half, 0.0) - math.log1p(a[x])
            if k > 0:  # ln σ(half - centre)
                weight[x] += min(half - centre, 0.0) - math.log1p(b[x])
            if 0 < k < levels - 1:
                weight[x] += math.log(-math.expm1(-2 * half))
    low, high = math.log(0.05 * gap), math.log(4.0)
    for x in range(m):
        per_scale[x] = p[at + m * (1 + channels + channel) + x] - math.log(1.5 * m) - low
    _softplus_all(work, per_scale, a, m)
    for x in range(m):
        per_scale[x] = high - low - per_scale[x]
    _softplus_all(work, per_scale, a, m)
    for x in range(m):
        per_scale[x] -= high  # - ln s
    exponentials(work, to_scale, to_scale, 0.0, size, 0)
    for x in range(m):
        mean[x] = p[at + m * (1 + channel) + x] + ((2.0 * x + 1) / m - 1)
    for before in range(channel):
        slope = at + m * (1 + 2 * channels + channel * (channel - 1) // 2 + before)
        for x in range(m):
            mean[x] += math.tanh(np.float64(p[slope + x])) * (pixel[before] * gap - 1)
    largest = weight[0]
    for x in range(1, m):
        largest = max(largest, weight[x])
    exponentials(work, to_b, np.int64(weight.ctypes.data), largest, size, 0)
    total = 0.0
    for x in range(m):
        total += b[x]
    first, last = 0, levels - 1
    while first < last:
        middle = (first + last) // 2
        upper, cdf = (2.0 * middle + 1) / (levels - 1) - 1, 0.0
        for x in range(m):
            a[x] = (mean[x] - upper) * per_scale[x]
        exponentials(work, to_a, to_a, 0.0, size, 0)
        for x in range(m):
            cdf += b[x] / (1 + a[x])
        if u * total >= cdf:
            first = middle + 1
        else:
            last = middle
    return first


@njit(**FAST)
def draw_patch(p, at, symbols, levels, patch, i, j, uniforms, k, keep, e):
    """Draw the values of one patch, each given those before it, from a softmax over all patches; returns the patch.

    Args:
        p: Holds the logits, from ``at`` on.
        at: See ``p``.
        symbols: How many patches there are, levels^values; the first value counts most.
        levels: L.
        patch: Its side.
        i: Its first row.
        j: Its first column.
        uniforms: ``(C, H, W)``.
        k: Levels ``(C, H, W)``, filled.
        keep: bool ``(H, W)`` of values that are given, or empty.
        e: Room for the probabilities, rounded up to whole vectors.
    """
    _probabilities(p, at, symbols, e, 0)
    symbol, left = 0, symbols
    for a in range(i, i + patch):
        for b in range(j, j + patch):
            for c in range(len(k)):
                left //= levels
                if len(keep) == 0 or not keep[a, b]:
                    total = 0.0
                    for x in range(symbol, symbol + levels * left):
                        total += e[x]
                    aim, below, level = uniforms[c, a, b] * total, 0.0, levels - 1
                    for candidate in range(levels - 1):
                        for x in range(symbol + candidate * left, symbol + (candidate + 1) * left):
                            below += e[x]
                        if aim < below:
                            level = candidate
                            break
                    k[c, a, b] = level
                symbol += k[c, a, b] * left
    return symbol
