r"""The ELBO of a dense VAE of binary pictures and its gradient, all layers in two functions that a team runs.

Encoder and decoder have three layers each, 0 to 5; layer 2 gives μ and r of :math:`\ln σ = 7 \tanh(r / 7)`, layer 5 the
logits. What a layer gives lies in rows of whole vectors, those beyond its outputs being zero. Each thread of the team
takes some pictures as far as the gradient of each layer's outputs, and then some rows of each weight's gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.kernels import digest
from limner.kernels.bernoulli import row_log_prob
from limner.kernels.panels import halved, into_panels, panel_width, row_panels, transposed_rows, weight_panels
from limner.kernels.product import product_at
from limner.kernels.team import ENTRY, TEAM, pointer, share, wait_for_all
from limner.kernels.tile import VECTOR_BYTES
from limner.kernels.vectors import FAST, I64, Vectors, exponentials

__all__ = ["ARRAYS", "CODE", "HEADER", "LENGTH", "LOGITS", "ROWS", "SHARE", "backward", "forward"]

CODE, LOGITS = 2, 5
NEVER = -1e4
"""The logit of a pixel that is not there: it adds ln(1 + e^-80) = 0 in float32."""
ROWS, SHARE = 48, 16
"""Rows of a weight's gradient that are multiplied together; pictures of a share, but for the last, are multiples."""
HEADER = TEAM + 5
"""The team; pictures; whether tanh, whether doubly, whether bfloat16; the address of ``product``."""
ARRAYS = {
    name: HEADER + 3 * at
    for name, at in {
        **{name: at for at, name in enumerate(("pictures", "keep", "noise", "terms", "scale", "bad", "seen", "pixels"))},
        **{name: 8 + at for at, name in enumerate(("z", "sigma", "bent", "d_z", "d_scale", "spare", "zeros"))},
        **{
            name: 15 + 6 * at
            for at, name in enumerate(
                ("weights", "biases", "gradients", "bias_gradients", "outputs", "slopes", "starts", "forwards",
                 "backwards", "d", "d_columns", "x_panels", "d_starts")
            )  # fmt: skip
        },
    }.items()
}
"""Where a table has an array's address, rows and columns; the last thirteen are six, a layer's behind another's."""
LENGTH = HEADER + 3 * (15 + 6 * 13)
(_PICTURES, _KEEP, _NOISE, _TERMS, _SCALE, _BAD, _SEEN, _PIXELS, _Z, _SIGMA, _BENT, _D_Z, _D_SCALE, _SPARE, _ZEROS,
 _WEIGHTS, _BIASES, _GRADIENTS, _BIAS_GRADIENTS, _OUTPUTS, _SLOPES, _STARTS, _FORWARDS, _BACKWARDS, _D, _D_COLUMNS,
 _X_PANELS, _D_STARTS) = ARRAYS.values()  # fmt: skip


@intrinsic
def _activate(typingctx: Any, at: Any, slopes: Any, length: Any, tanh: Any) -> Any:
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
def _bernoulli_slope(typingctx: Any, logits: Any, x: Any, out: Any, length: Any, by: Any, sums: Any) -> Any:
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


@njit(**FAST)
def _array(table, at):
    return carray(pointer(table[at]), (table[at + 1], table[at + 2]), np.float32)


@njit(**FAST)
def _six(table, at):
    return (_array(table, at), _array(table, at + 3), _array(table, at + 6), _array(table, at + 9),
            _array(table, at + 12), _array(table, at + 15))  # fmt: skip


@njit(**FAST)
def _inputs(table):
    """What each layer is given."""
    a, b, _, c, d, _ = _six(table, _OUTPUTS)
    return _array(table, _SEEN), a, b, _array(table, _Z), c, d


@njit(**FAST)
def _ends(count, unit, part, parts):
    """The first and the last of a share, in whole units."""
    units = (count + unit - 1) // unit
    return min(count, units * part // parts * unit), min(count, units * (part + 1) // parts * unit)


@njit(**FAST)
def _multiply(table, x, first, last, inputs, weights, start, out, spare):
    """Rows ``first`` to ``last`` of ``x``, in whole vectors, times a matrix in panels, plus ``start``."""
    found = np.empty(3, np.int64)
    found[0], found[1], found[2] = x.ctypes.data + first * x.shape[1] * 4, x.shape[1] * 4, inputs
    if table[TEAM + 3]:
        halved(x, first, last, spare)
        found[0], found[1], found[2] = spare.ctypes.data, x.shape[1] * 2, len(weights) // out.shape[1]
    width = out.shape[1] * 4
    product_at(table[TEAM + 4], last - first, width, found.ctypes.data, 1, found[2], weights.ctypes.data,
               start.ctypes.data, 0, out.ctypes.data + first * width, width)  # fmt: skip


@njit(**FAST)
def _pack(table, part, parts, spare):
    """The weights as both passes multiply with them."""
    weights, biases, starts = _six(table, _WEIGHTS), _six(table, _BIASES), _six(table, _STARTS)
    forwards, backwards, xs = _six(table, _FORWARDS), _six(table, _BACKWARDS), _inputs(table)
    bf16, turn = table[TEAM + 3] != 0, 0
    for i in range(len(weights)):
        w, start, done = weights[i], starts[i][0], 0
        by = _array(table, _SCALE)[0, 0] if i == LOGITS else np.float32(1)
        rows = forwards[i].shape[1] // len(start)
        while done < len(start):
            wide = panel_width(len(start) - done)
            if turn % parts == part:
                panel = forwards[i][0][rows * done : rows * (done + wide)].reshape(rows, wide)
                weight_panels(w, by, done, bf16, panel, spare)
                for j in range(done, done + wide):
                    start[j] = by * biases[i][0, j] if j < len(w) else NEVER if i == LOGITS else 0.0
            done += wide
            turn += 1
        if i:
            first, last = _ends(len(w), 2, part, parts)
            row_panels(w, first, last, bf16, backwards[i][0], xs[i].shape[1], spare)


@njit(**FAST)
def _see(table, first, last):
    """What the encoder sees, and pixels 0 or 1, of values 0 and 255; gives whether there are others."""
    seen, pixels, bad = _array(table, _SEEN), _array(table, _PIXELS), 0
    at = table[_PICTURES]
    count, size = table[_PICTURES + 1], table[_PICTURES + 2]
    pictures = carray(pointer(at), (count, size), np.uint8)
    for row in range(first, last):
        picture, x, y = pictures[row], pixels[row], seen[row]
        for j in range(size):
            value = picture[j]
            bad |= (value != 0) & (value != 255)
            x[j] = np.float32(value & 1)
        x[size:] = 0
        for j in range(size):
            y[j] = 2 * x[j] - 1
        if table[_KEEP]:
            keep = _array(table, _KEEP)[row]
            for j in range(size):
                y[j] *= keep[j]
        y[size:] = 0
    return bad


@njit(**FAST)
def _sample(table, first, last):
    """z = μ + σ ε and the KL of each row; ``bent`` is tanh(r / 7)."""
    code, noise, terms = _array(table, _OUTPUTS + 3 * CODE), _array(table, _NOISE), _array(table, _TERMS)
    z, sigma, bent = _array(table, _Z), _array(table, _SIGMA), _array(table, _BENT)
    latent, width = noise.shape[1], z.shape[1] * 4
    at, length = first * width, (last - first) * width
    for row in range(first, last):
        for j in range(latent):
            bent[row, j] = code[row, latent + j] / 7
        bent[row, latent:] = 0
    _activate(bent.ctypes.data + at, sigma.ctypes.data + at, length, True)
    for row in range(first, last):
        for j in range(z.shape[1]):
            sigma[row, j] = 7 * bent[row, j]
    exponentials(z, sigma.ctypes.data + at, sigma.ctypes.data + at, np.float32(0), length, 0)
    for row in range(first, last):
        kl = np.float32(0)
        for j in range(latent):
            mean, s = code[row, j], sigma[row, j]
            z[row, j] = mean + s * noise[row, j]
            kl += np.float32(0.5) * (mean * mean + s * s - 1) - 7 * bent[row, j]
        z[row, latent:] = 0
        terms[1, row] = kl


@njit(**FAST)
def _unsample(table, first, last):
    """The gradient in μ and r from that in z and of the KL: by way of z only, or of its closed form."""
    code, noise, by_terms = _array(table, _OUTPUTS + 3 * CODE), _array(table, _NOISE), _array(table, _TERMS)
    z, sigma, bent = _array(table, _Z), _array(table, _SIGMA), _array(table, _BENT)
    d_z, d_code = _array(table, _D_Z), _array(table, _D + 3 * CODE)
    latent, doubly = noise.shape[1], table[TEAM + 2] != 0
    for row in range(first, last):
        by = by_terms[1, row]
        for j in range(latent):
            s, error, mean, slope = sigma[row, j], noise[row, j], code[row, j], d_z[row, j]
            if doubly:
                d_mean = slope + by * (z[row, j] - error / s)
                d_log_std = d_mean * s * error
            else:
                d_mean = slope + by * mean
                d_log_std = slope * s * error + by * (s * s - 1)
            d_code[row, j] = d_mean
            d_code[row, latent + j] = d_log_std * (1 - bent[row, j] * bent[row, j])
        d_code[row, 2 * latent :] = 0


@njit(**FAST)
def _forward(table, first, last, spare):
    outputs, slopes, starts = _six(table, _OUTPUTS), _six(table, _SLOPES), _six(table, _STARTS)
    weights, forwards, xs = _six(table, _WEIGHTS), _six(table, _FORWARDS), _inputs(table)
    for i in range(len(outputs)):
        out = outputs[i]
        _multiply(table, xs[i], first, last, weights[i].shape[1], forwards[i][0], starts[i][0], out, spare)
        if i == CODE:
            _sample(table, first, last)
        elif i != LOGITS:
            at, width = first * out.shape[1] * 4, out.shape[1] * 4
            _activate(out.ctypes.data + at, slopes[i].ctypes.data + at, (last - first) * width, table[TEAM + 1] != 0)
    logits, pixels, terms = outputs[LOGITS], _array(table, _PIXELS), _array(table, _TERMS)
    sums = np.empty((2, VECTOR_BYTES // 4), np.float32)
    for row in range(first, last):
        at = row * logits.shape[1] * 4
        terms[0, row] = -row_log_prob(logits, logits.ctypes.data + at, pixels.ctypes.data + at, logits.shape[1], sums)


@njit(**FAST)
def _backward(table, first, last, part, spare):
    """The gradient of each layer's outputs, as columns too, and each layer's inputs in panels, of some rows."""
    logits, pixels, by_terms = _array(table, _OUTPUTS + 3 * LOGITS), _array(table, _PIXELS), _array(table, _TERMS)
    ds, slopes, backwards, xs = _six(table, _D), _six(table, _SLOPES), _six(table, _BACKWARDS), _inputs(table)
    columns, panels, d_starts = _six(table, _D_COLUMNS), _six(table, _X_PANELS), _six(table, _D_STARTS)
    weights, zeros, scale = _six(table, _WEIGHTS), _array(table, _ZEROS)[0], _array(table, _SCALE)[0, 0]
    bf16 = table[TEAM + 3] != 0
    sums = np.zeros(VECTOR_BYTES // 4, np.float32)
    width = logits.shape[1] * 4
    for row in range(first, last):
        at = row * width
        _bernoulli_slope(logits.ctypes.data + at, pixels.ctypes.data + at, ds[LOGITS].ctypes.data + at, width,
                         by_terms[0, row] * scale, sums.ctypes.data)  # fmt: skip
    _array(table, _D_SCALE)[0, part] = sums.sum() / (scale * scale)
    for i in range(LOGITS, -1, -1):
        d, total = ds[i], d_starts[i][part]
        total[:] = 0
        for row in range(first, last):
            for j in range(len(total)):
                total[j] += d[row, j]
        transposed_rows(d, first, last, bf16, columns[i], spare)
        into_panels(xs[i], first, last, bf16, panels[i][0], spare)
        if i == 0:
            break
        d_x = _array(table, _D_Z) if i == CODE + 1 else ds[i - 1]
        _multiply(table, d, first, last, len(weights[i]), backwards[i][0], zeros, d_x, spare)
        if i == CODE + 1:
            _unsample(table, first, last)
        else:
            slope = slopes[i - 1]
            for row in range(first, last):
                for j in range(d_x.shape[1]):
                    d_x[row, j] *= slope[row, j]


@njit(**FAST)
def _collect(table, part, parts, spare):
    """The gradients of some rows of each weight."""
    gradients, bias_gradients, d_starts = _six(table, _GRADIENTS), _six(table, _BIAS_GRADIENTS), _six(table, _D_STARTS)
    columns, panels, xs = _six(table, _D_COLUMNS), _six(table, _X_PANELS), _inputs(table)
    zeros = _array(table, _ZEROS)
    found = np.empty(3, np.int64)
    for i in range(len(gradients)):
        gradient, width, count = gradients[i], xs[i].shape[1], panels[i].shape[1] // xs[i].shape[1]
        start, end = _ends(len(gradient), ROWS, part, parts)
        for first in range(start, end, ROWS):
            rows = min(ROWS, end - first)
            found[0], found[1], found[2] = columns[i][first].ctypes.data, columns[i].shape[1] * 4, count
            product_at(table[TEAM + 4], rows, width * 4, found.ctypes.data, 1, count, panels[i].ctypes.data,
                       zeros.ctypes.data, 0, spare.ctypes.data, width * 4)  # fmt: skip
            made = spare[: rows * width].reshape(rows, width)
            for row in range(rows):
                to, given = gradient[first + row], made[row]
                for j in range(len(to)):
                    to[j] = given[j]
        if i % parts == part:
            for j in range(len(gradient)):
                bias_gradients[i][0, j] = d_starts[i][:parts, j].sum()


def _entries(sources: str) -> tuple[Any, Any]:
    @cfunc(ENTRY, cache=True, **FAST)
    def forward(data):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        table, (part, parts) = carray(data, (LENGTH,), np.int64), share(data)
        spare = _array(table, _SPARE)[part]
        first, last = _ends(table[TEAM], SHARE, part, parts)
        _pack(table, part, parts, spare)
        bad = _see(table, first, last)
        _array(table, _BAD)[0, part] = bad
        wait_for_all(data)
        _forward(table, first, last, spare)

    @cfunc(ENTRY, cache=True, **FAST)
    def backward(data):
        sources  # noqa: B018
        table, (part, parts) = carray(data, (LENGTH,), np.int64), share(data)
        spare = _array(table, _SPARE)[part]
        first, last = _ends(table[TEAM], SHARE, part, parts)
        _backward(table, first, last, part, spare)
        wait_for_all(data)
        _collect(table, part, parts, spare)

    return forward, backward


forward, backward = _entries(digest(Path(__file__).parent))
"""Of the address of a table, by ``limner.threads.in_team``."""
