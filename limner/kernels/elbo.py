r"""The ELBO of a dense VAE of binary pictures and its gradient, all layers in two functions that a team runs.

Encoder and decoder have three layers each, 0 to 5; layer 2 gives μ and r of :math:`\ln σ = 7 \tanh(r / 7)`, layer 5 the
logits. What a layer gives lies in rows of whole vectors, those beyond its outputs being zero. Each thread of the team
takes some pictures as far as the gradient of each layer's outputs, and then some rows of each weight's gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, cfunc, njit

from limner.kernels import digest
from limner.kernels import elbo_table as t
from limner.kernels.bernoulli import activate_with_slopes, bernoulli_slope, row_log_prob
from limner.kernels.elbo_table import array, inputs, six
from limner.kernels.panels import (
    clear,
    halved,
    into_panels,
    matrix,
    panel_width,
    row_panels,
    transposed_rows,
    weight_panels,
)
from limner.kernels.product import product_at
from limner.kernels.team import ENTRY, ends, pointer, share, wait_for_all
from limner.kernels.tile import VECTOR_BYTES
from limner.kernels.vectors import FAST, exponentials

__all__ = ["backward", "forward"]

NEVER = np.float32(-1e4)
"""The logit of a pixel that is not there: it adds ln(1 + e^-80) = 0 in float32."""
ZERO, HALF, ONE, SEVEN = (np.float32(x) for x in (0, 0.5, 1, 7))
"""A whole number and a float32 would make a float64."""


@njit(**FAST)
def _multiply(table, x, first, last, inputs, weights, start, out, spare):
    """Rows ``first`` to ``last`` of ``x``, in whole vectors, times a matrix in panels, plus ``start``."""
    found = np.empty(3, np.int64)
    found[0], found[1], found[2] = x.ctypes.data + first * x.shape[1] * 4, x.shape[1] * 4, inputs
    if table[t.BFLOAT16]:
        halved(x, first, last, spare)
        found[0], found[1], found[2] = spare.ctypes.data, x.shape[1] * 2, len(weights) // out.shape[1]
    width = out.shape[1] * 4
    product_at(table[t.PRODUCT], last - first, width, found.ctypes.data, 1, found[2], weights.ctypes.data,
               start.ctypes.data, 0, out.ctypes.data + first * width, width)  # fmt: skip


@njit(**FAST)
def _pack(table, part, parts, spare):
    """The weights as both passes multiply with them."""
    weights, biases, starts = six(table, t.WEIGHTS), six(table, t.BIASES), six(table, t.STARTS)
    forwards, backwards, xs = six(table, t.FORWARDS), six(table, t.BACKWARDS), inputs(table)
    bf16, turn = table[t.BFLOAT16] != 0, 0
    for i in range(len(weights)):
        w, start, done = weights[i], starts[i][0], 0
        by = array(table, t.SCALE)[0, 0] if i == t.LOGITS else ONE
        rows = forwards[i].shape[1] // len(start)
        while done < len(start):
            wide = panel_width(len(start) - done)
            if turn % parts == part:
                panel = matrix(forwards[i][0], rows * done, rows, wide)
                weight_panels(w, by, done, bf16, panel, spare)
                for j in range(done, done + wide):
                    start[j] = by * biases[i][0, j] if j < len(w) else NEVER if i == t.LOGITS else ZERO
            done += wide
            turn += 1
        if i:
            first, last = ends(len(w), 2, part, parts)
            row_panels(w, first, last, bf16, backwards[i][0], xs[i].shape[1], spare)


@njit(**FAST)
def _see(table, first, last):
    """What the encoder sees, and pixels 0 or 1, of values 0 and 255; gives whether there are others."""
    seen, pixels, bad = array(table, t.SEEN), array(table, t.PIXELS), 0
    at = table[t.PICTURES]
    count, size = table[t.PICTURES + 1], table[t.PICTURES + 2]
    pictures = carray(pointer(at), (count, size), np.uint8)
    for row in range(first, last):
        picture, x, y = pictures[row], pixels[row], seen[row]
        for j in range(size):
            value = picture[j]
            bad |= (value != 0) & (value != 255)
            x[j] = np.float32(value & 1)
        clear(x, size)
        for j in range(size):
            y[j] = x[j] + x[j] - ONE
        if table[t.KEEP]:
            keep = array(table, t.KEEP)[row]
            for j in range(size):
                y[j] *= keep[j]
        clear(y, size)
    return bad


@njit(**FAST)
def _sample(table, first, last):
    """z = μ + σ ε and the KL of each row; ``bent`` is tanh(r / 7)."""
    code, noise, terms = array(table, t.OUTPUTS + 3 * t.CODE), array(table, t.NOISE), array(table, t.TERMS)
    z, sigma, bent = array(table, t.Z), array(table, t.SIGMA), array(table, t.BENT)
    latent, width = noise.shape[1], z.shape[1] * 4
    at, length = first * width, (last - first) * width
    for row in range(first, last):
        for j in range(latent):
            bent[row, j] = code[row, latent + j] / SEVEN
        clear(bent[row], latent)
    activate_with_slopes(bent.ctypes.data + at, sigma.ctypes.data + at, length, True)
    for row in range(first, last):
        for j in range(z.shape[1]):
            sigma[row, j] = SEVEN * bent[row, j]
    exponentials(z, sigma.ctypes.data + at, sigma.ctypes.data + at, ZERO, length, 0)
    for row in range(first, last):
        kl = ZERO
        for j in range(latent):
            mean, s = code[row, j], sigma[row, j]
            z[row, j] = mean + s * noise[row, j]
            kl += HALF * (mean * mean + s * s - ONE) - SEVEN * bent[row, j]
        clear(z[row], latent)
        terms[1, row] = kl


@njit(**FAST)
def _unsample(table, first, last):
    """The gradient in μ and r from that in z and of the KL: by way of z only, or of its closed form."""
    code, noise, by_terms = array(table, t.OUTPUTS + 3 * t.CODE), array(table, t.NOISE), array(table, t.TERMS)
    z, sigma, bent = array(table, t.Z), array(table, t.SIGMA), array(table, t.BENT)
    d_z, d_code = array(table, t.D_Z), array(table, t.D + 3 * t.CODE)
    latent, doubly = noise.shape[1], table[t.DOUBLY] != 0
    for row in range(first, last):
        by = by_terms[1, row]
        for j in range(latent):
            s, error, mean, slope = sigma[row, j], noise[row, j], code[row, j], d_z[row, j]
            if doubly:
                d_mean = slope + by * (z[row, j] - error / s)
                d_log_std = d_mean * s * error
            else:
                d_mean = slope + by * mean
                d_log_std = slope * s * error + by * (s * s - ONE)
            d_code[row, j] = d_mean
            d_code[row, latent + j] = d_log_std * (ONE - bent[row, j] * bent[row, j])
        clear(d_code[row], 2 * latent)


@njit(**FAST)
def _forward(table, first, last, spare):
    outputs, slopes, starts = six(table, t.OUTPUTS), six(table, t.SLOPES), six(table, t.STARTS)
    weights, forwards, xs = six(table, t.WEIGHTS), six(table, t.FORWARDS), inputs(table)
    for i in range(len(outputs)):
        out = outputs[i]
        _multiply(table, xs[i], first, last, weights[i].shape[1], forwards[i][0], starts[i][0], out, spare)
        if i == t.CODE:
            _sample(table, first, last)
        elif i != t.LOGITS:
            at, width = first * out.shape[1] * 4, out.shape[1] * 4
            activate_with_slopes(
                out.ctypes.data + at, slopes[i].ctypes.data + at, (last - first) * width, table[t.TANH] != 0
            )
    logits, pixels, terms = outputs[t.LOGITS], array(table, t.PIXELS), array(table, t.TERMS)
    sums = np.empty((2, VECTOR_BYTES // 4), np.float32)
    for row in range(first, last):
        at = row * logits.shape[1] * 4
        terms[0, row] = -row_log_prob(logits, logits.ctypes.data + at, pixels.ctypes.data + at, logits.shape[1], sums)


@njit(**FAST)
def _backward(table, first, last, part, spare):
    """The gradient of each layer's outputs, as columns too, and each layer's inputs in panels, of some rows."""
    logits, pixels, by_terms = array(table, t.OUTPUTS + 3 * t.LOGITS), array(table, t.PIXELS), array(table, t.TERMS)
    ds, slopes, backwards, xs = six(table, t.D), six(table, t.SLOPES), six(table, t.BACKWARDS), inputs(table)
    columns, panels, d_starts = six(table, t.D_COLUMNS), six(table, t.X_PANELS), six(table, t.D_STARTS)
    weights, zeros, scale = six(table, t.WEIGHTS), array(table, t.ZEROS)[0], array(table, t.SCALE)[0, 0]
    bf16 = table[t.BFLOAT16] != 0
    sums = np.empty(VECTOR_BYTES // 4, np.float32)
    clear(sums, 0)
    width = logits.shape[1] * 4
    for row in range(first, last):
        at = row * width
        bernoulli_slope(logits.ctypes.data + at, pixels.ctypes.data + at, ds[t.LOGITS].ctypes.data + at, width,
                         by_terms[0, row] * scale, sums.ctypes.data)  # fmt: skip
    total_scale = ZERO
    for lane in range(len(sums)):
        total_scale += sums[lane]
    array(table, t.D_SCALE)[0, part] = total_scale / (scale * scale)
    for i in range(t.LOGITS, -1, -1):
        d, total = ds[i], d_starts[i][part]
        clear(total, 0)
        for row in range(first, last):
            for j in range(len(total)):
                total[j] += d[row, j]
        transposed_rows(d, first, last, bf16, columns[i], spare)
        into_panels(xs[i], first, last, bf16, panels[i][0], spare)
        if i == 0:
            break
        d_x = array(table, t.D_Z) if i == t.CODE + 1 else ds[i - 1]
        _multiply(table, d, first, last, len(weights[i]), backwards[i][0], zeros, d_x, spare)
        if i == t.CODE + 1:
            _unsample(table, first, last)
        else:
            slope = slopes[i - 1]
            for row in range(first, last):
                for j in range(d_x.shape[1]):
                    d_x[row, j] *= slope[row, j]


@njit(**FAST)
def _collect(table, part, parts, spare):
    """The gradients of some rows of each weight."""
    gradients, bias_gradients, d_starts = six(table, t.GRADIENTS), six(table, t.BIAS_GRADIENTS), six(table, t.D_STARTS)
    columns, panels, xs = six(table, t.D_COLUMNS), six(table, t.X_PANELS), inputs(table)
    zeros = array(table, t.ZEROS)
    found = np.empty(3, np.int64)
    for i in range(len(gradients)):
        gradient, width, count = gradients[i], xs[i].shape[1], panels[i].shape[1] // xs[i].shape[1]
        start, end = ends(len(gradient), t.ROWS, part, parts)
        for first in range(start, end, t.ROWS):
            rows = min(t.ROWS, end - first)
            found[0], found[1], found[2] = columns[i][first].ctypes.data, columns[i].shape[1] * 4, count
            product_at(table[t.PRODUCT], rows, width * 4, found.ctypes.data, 1, count, panels[i].ctypes.data,
                       zeros.ctypes.data, 0, spare.ctypes.data, width * 4)  # fmt: skip
            made = matrix(spare, 0, rows, width)
            for row in range(rows):
                to, given = gradient[first + row], made[row]
                for j in range(len(to)):
                    to[j] = given[j]
        if i % parts == part:
            for j in range(len(gradient)):
                total = ZERO
                for other in range(parts):
                    total += d_starts[i][other, j]
                bias_gradients[i][0, j] = total


def _entries(sources: str) -> tuple[Any, Any]:
    @cfunc(ENTRY, cache=True, **FAST)
    def forward(data):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        table, (part, parts) = carray(data, (t.LENGTH,), np.int64), share(data)
        spare = array(table, t.SPARE)[part]
        first, last = ends(table[t.PICTURES_COUNT], t.SHARE, part, parts)
        _pack(table, part, parts, spare)
        bad = _see(table, first, last)
        array(table, t.BAD)[0, part] = bad
        wait_for_all(data)
        _forward(table, first, last, spare)

    @cfunc(ENTRY, cache=True, **FAST)
    def backward(data):
        sources  # noqa: B018
        table, (part, parts) = carray(data, (t.LENGTH,), np.int64), share(data)
        spare = array(table, t.SPARE)[part]
        first, last = ends(table[t.PICTURES_COUNT], t.SHARE, part, parts)
        _backward(table, first, last, part, spare)
        wait_for_all(data)
        _collect(table, part, parts, spare)

    return forward, backward


forward, backward = _entries(digest(Path(__file__).parent))
"""Of the address of a table, by ``limner.threads.in_team``."""
