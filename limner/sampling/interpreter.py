"""The compiled loop that runs a ``Program``: one function for all models, compiled once a precision and kept on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from limner.sampling.activations import finish
from limner.sampling.draws import FAST, draw
from limner.sampling.kernels import ROWS, VECTOR_BYTES, VECTORS, tile
from limner.sampling.program import FIELDS

__all__ = ["CHUNK", "PLACES", "draw_rows"]

CHUNK = 24 * 1024
"""Bytes of sums worked on at once, so that they are still in the first cache when they are activated."""

_STEP, _PHASE_I, _PHASE_J, _COLUMNS, _FLAT, _TAP, _TAPS, _WEIGHTS, _WIDTH, _INPUTS = range(10)
_START, _START_AT, _ACTIVATION, _COUNT, _RAW, _RAW_AT, _OUT, _OUT_AT, _POST, _POST_TO, _POST_AT, _ADD, _ADD_AT = range(
    10, len(FIELDS)
)
_OFFSET, _CHANNELS, _ROWS, _SPAN, _PAD, _LEVEL = range(6)
# What an operation touches besides its taps: the fields of its buffer and channel.
_TOUCHED = ((_START, _START_AT), (_RAW, _RAW_AT), (_OUT, _OUT_AT), (_POST_TO, _POST_AT), (_ADD, _ADD_AT))
_FROM, _SUMS, _Z, _AFTER, _PLUS = range(len(_TOUCHED))
PLACES = len(_TOUCHED)
# Where such a thing lies in the row that is drawn: address in column 0 (0: nowhere), bytes from column to column and
# from image to image, level.
_ADDRESS, _BY_COLUMN, _BY_IMAGE, _AT_LEVEL = range(4)


@njit(**FAST)
def _locate(place, buffers, b, i, di, dj, channel, images, base, size):  # noqa: ANN001, ANN202
    """Fill ``place`` for the row of buffer ``b`` that is ``di`` rows from row i of pixels."""
    column = size * images * buffers[b, _CHANNELS]
    row = ((i >> buffers[b, _LEVEL]) + di) % buffers[b, _ROWS] * buffers[b, _SPAN]
    place[_ADDRESS] = base + size * (buffers[b, _OFFSET] + channel) + (row + dj + buffers[b, _PAD]) * column
    place[_BY_COLUMN], place[_BY_IMAGE], place[_AT_LEVEL] = column, size * buffers[b, _CHANNELS], buffers[b, _LEVEL]


@njit(**FAST)
def _plan(i, operations, taps, buffers, images, base, constants, size, places, sources):  # noqa: ANN001, ANN202
    """Where everything lies in row i."""
    for x in range(len(operations)):
        for q in range(PLACES):
            buffer, channel = _TOUCHED[q]
            b, at = operations[x, buffer], operations[x, channel]
            if b >= 0:
                _locate(places[x, q], buffers, b, i, 0, 0, at, images, base, size)
            else:  # a sum that begins with a bias, or nothing
                places[x, q] = 0
                if q == _FROM:
                    places[x, q, _ADDRESS] = constants + size * at
    for t in range(len(taps)):
        b, di, dj, channel, _ = taps[t]
        _locate(sources[t], buffers, b, i, di, dj, channel, images, base, size)


@njit(**FAST)
def _at(place, j):  # noqa: ANN001, ANN202
    return place[_ADDRESS] + (j >> place[_AT_LEVEL]) * place[_BY_COLUMN]


@njit(**FAST)
def _operate(o, places, sources, taps, j, rows, acts, constants, found, scratch):  # noqa: ANN001, ANN202
    """An operation for ``rows`` neighbours in memory, the images of column j or those of a whole row."""
    size = acts.itemsize
    for t in range(o[_TAPS]):
        source = sources[o[_TAP] + t]
        found[t, 0], found[t, 1], found[t, 2] = _at(source, j), source[_BY_IMAGE], taps[o[_TAP] + t, 4]
    where = np.int64(found.ctypes.data)
    start, by_start = _at(places[_FROM], j), places[_FROM, _BY_IMAGE]
    if o[_FLAT] == 2 and rows > 1:
        by_start = 0  # one image, whose class's bias is the same for the whole row
    sums, by_sums = _at(places[_SUMS], j), places[_SUMS, _BY_IMAGE]
    z, by_z = _at(places[_Z], j), places[_Z, _BY_IMAGE]
    after, by_after = _at(places[_AFTER], j), places[_AFTER, _BY_IMAGE]
    plus, by_plus = _at(places[_PLUS], j), places[_PLUS, _BY_IMAGE]
    width = o[_WIDTH] * size
    keep = sums != 0
    if not keep:
        sums, by_sums = np.int64(scratch.ctypes.data), width
    most = max(ROWS, CHUNK // width)
    first = 0
    while first < rows:
        last = min(first + most, rows)
        into = sums + first * by_sums if keep else sums
        panel, done = constants + o[_WEIGHTS] * size, 0
        tiles = (last - first + ROWS - 1) // ROWS
        while done < width:
            vectors = VECTORS[-1]
            for v in VECTORS:
                if v * VECTOR_BYTES <= width - done:
                    vectors = v
                    break
            row, left = first, tiles
            while row < last:
                count = (last - row + left - 1) // left if left > 1 else last - row
                tile(
                    acts, count, vectors, where, o[_TAPS], row, panel, start + row * by_start + done, by_start,
                    into + (row - first) * by_sums + done, by_sums,
                )  # fmt: skip
                row += count
                left -= 1
            done += vectors * VECTOR_BYTES
            panel += vectors * VECTOR_BYTES * o[_INPUTS]
        if z != 0 or after != 0:
            finish(
                acts, o[_ACTIVATION], o[_POST], last - first, o[_COUNT] * size, width // 2, into, by_sums,
                plus + first * by_plus, by_plus, z + first * by_z, by_z,
                after + first * by_after, by_after // 2, by_after,
            )  # fmt: skip
        first = last


@njit(cache=True, **FAST)
def draw_rows(  # noqa: ANN201
    acts: Any, weights: Any, operations: Any, taps: Any, buffers: Any, row_range: Any, pixel_ranges: Any, images: Any,
    source: Any, embedding: Any, head: Any, components: Any, parameters: Any, parameters_at: Any,
    uniforms: Any, k: Any, keep: Any, record: Any, places: Any, sources: Any, found: Any, scratch: Any,
    begin: Any, end: Any,
):  # fmt: skip
    """Draw rows ``begin`` to ``end`` of ``images`` pictures.

    Args:
        acts: All buffers.
        weights: The program's, like the next two.
        operations: See ``program.FIELDS``.
        taps: Buffer, di, dj, channel, K.
        buffers: Offset in ``acts``, channels, rows, columns with both borders, border, level.
        row_range: The operations of a row.
        pixel_ranges: Those of each group, ``(groups, 2)``.
        images: How many.
        source: The buffer of drawn intensities.
        embedding: See ``Program``.
        head: Place in ``HEADS``.
        components: Of a mixture.
        parameters: The buffer of the last layer.
        parameters_at: Where each channel's begin.
        uniforms: float64 ``(images, C, H, W)``.
        k: Levels int64 ``(images, C, H, W)``; where ``keep`` they are given.
        keep: bool ``(images, H, W)``, or empty.
        record: Takes the parameters of row ``begin``, ``(W, images, ·)``, or empty.
        places: Room for the places of each operation, ``(operations, PLACES, 4)``.
        sources: Room for those of each tap, ``(taps, 4)``.
        found: Room for the taps of one operation, ``(·, 3)``.
        scratch: Room for the sums of a chunk.
        begin: The first row.
        end: One past the last.
    """
    channels, width, levels = k.shape[1], k.shape[3], embedding.shape[1]
    groups, size = len(pixel_ranges), acts.itemsize
    base, constants = np.int64(acts.ctypes.data), np.int64(weights.ctypes.data)
    drawn, result = buffers[source, _CHANNELS], buffers[parameters, _CHANNELS]
    result_at = buffers[parameters, _OFFSET]
    for i in range(begin, end):
        _plan(i, operations, taps, buffers, images, base, constants, size, places, sources)
        for x in range(row_range[0], row_range[1]):
            o = operations[x]
            if i & (o[_STEP] - 1) != o[_PHASE_I]:
                continue
            if o[_FLAT] == 1 or (o[_FLAT] == 2 and images == 1):
                rows = o[_COLUMNS] * images
                _operate(o, places[x], sources, taps, 0, rows, acts, constants, found, scratch)
            else:
                for j in range(o[_PHASE_J], width, o[_STEP]):
                    _operate(o, places[x], sources, taps, j, images, acts, constants, found, scratch)
        row = buffers[source, _OFFSET] + (i % buffers[source, _ROWS]) * buffers[source, _SPAN] * images * drawn
        for j in range(width):
            column = row + (j + buffers[source, _PAD]) * images * drawn
            for g in range(groups):
                for x in range(pixel_ranges[g, 0], pixel_ranges[g, 1]):
                    o = operations[x]
                    if i & (o[_STEP] - 1) == o[_PHASE_I] and j & (o[_STEP] - 1) == o[_PHASE_J]:
                        _operate(o, places[x], sources, taps, j, images, acts, constants, found, scratch)
                for c in range(g, g + 1) if groups == channels else range(channels):
                    for m in range(images):
                        if len(keep) == 0 or not keep[m, i, j]:
                            at = result_at + m * result + parameters_at[c]
                            u = uniforms[m, c, i, j]
                            k[m, c, i, j] = draw(head, acts, at, c, components, levels, u, k[m, :, i, j], scratch)
                        for x in range(embedding.shape[2]):
                            acts[column + m * drawn + c + x] = embedding[c, k[m, c, i, j], x]
            if len(record):
                for m in range(images):
                    for x in range(result):
                        record[j, m, x] = acts[result_at + m * result + x]
