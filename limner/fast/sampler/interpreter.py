"""The compiled loop that runs a ``Program``: one function for all models, compiled once a precision, kept on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numba import njit

from limner.fast.digest import digest
from limner.fast.kept import njit_kept
from limner.fast.lstm import step_forward
from limner.fast.sampler.activations import finish
from limner.fast.sampler.draws import PATCH, draw, draw_patch
from limner.fast.sampler.program import FIELDS, POSTS
from limner.fast.tile import ROWS, VECTOR_BYTES, VECTORS, tile
from limner.fast.vectors import FAST

__all__ = ["CHUNK", "PLACES", "draw_row"]

CHUNK = 24 * 1024
"""Bytes of sums worked on at once, so that they are still in the first cache when they are activated."""

_STEP, _PHASE_I, _PHASE_J, _COLUMNS, _FLAT, _TAP, _TAPS, _WEIGHTS, _WIDTH, _INPUTS = range(10)
_START, _START_AT, _ACTIVATION, _COUNT, _RAW, _RAW_AT, _OUT, _OUT_AT = range(10, 18)
_POST, _POST_TO, _POST_AT, _ADD, _ADD_AT, _CELL, _CELL_AT, _CARRY = range(18, len(FIELDS))
_RMS_NORM, _CONCAT_ELU, _NORM_THEN_ELU = POSTS["rms-norm"], POSTS["concat-elu"], POSTS["rms-norm-concat-elu"]
_OFFSET, _CHANNELS, _ROWS, _SPAN, _PAD, _LEVEL = range(6)
# What an operation touches besides its taps: the fields of its buffer and channel.
_TOUCHED = (
    (_START, _START_AT), (_RAW, _RAW_AT), (_OUT, _OUT_AT), (_POST_TO, _POST_AT), (_ADD, _ADD_AT), (_CELL, _CELL_AT),
)  # fmt: skip
_FROM, _SUMS, _Z, _AFTER, _PLUS, _MEMORY = range(len(_TOUCHED))
PLACES = len(_TOUCHED)
# Where such a thing lies in the row that is drawn: address in column 0 (0: nowhere), bytes from column to column and
# from image to image, level.
_ADDRESS, _BY_COLUMN, _BY_IMAGE, _AT_LEVEL = range(4)


@njit(**FAST)
def _locate(places, x, q, buffers, b, i, di, dj, channel, images, base, size):
    """Fill ``places[x, q]`` for the row of buffer ``b`` that is ``di`` rows from row i of pixels."""
    column = size * images * buffers[b, _CHANNELS]
    row = ((i >> buffers[b, _LEVEL]) + di) % buffers[b, _ROWS] * buffers[b, _SPAN]
    places[x, q, _ADDRESS] = base + size * (buffers[b, _OFFSET] + channel) + (row + dj + buffers[b, _PAD]) * column
    places[x, q, _BY_COLUMN], places[x, q, _BY_IMAGE] = column, size * buffers[b, _CHANNELS]
    places[x, q, _AT_LEVEL] = buffers[b, _LEVEL]


@njit(**FAST)
def _plan(i, operations, taps, buffers, images, base, constants, size, places, sources):
    """Where everything lies in row i."""
    for x in range(len(operations)):
        for q in range(PLACES):
            buffer, channel = _TOUCHED[q]
            b, at = operations[x, buffer], operations[x, channel]
            if b >= 0:
                _locate(places, x, q, buffers, b, i, 0, 0, at, images, base, size)
            else:  # a sum that begins with a bias, or nothing
                places[x, q] = 0
                if q == _FROM:
                    places[x, q, _ADDRESS] = constants + size * at
    for t in range(len(taps)):
        b, di, dj, channel, _ = taps[t]
        _locate(sources, t, 0, buffers, b, i, di, dj, channel, images, base, size)


@njit(**FAST)
def _at(places, x, q, j):
    return places[x, q, _ADDRESS] + (j >> places[x, q, _AT_LEVEL]) * places[x, q, _BY_COLUMN]


@njit(**FAST)
def _operate(begin, end, operations, places, sources, taps, i, j, rows, images, acts, constants, found, scratch):
    """Operations ``begin`` to ``end``, as far as they are due at pixel (i, j).

    Each is for ``rows`` neighbours in memory: the images of column j, or those of a whole row. This loop stands inside,
    and takes no views of arrays, because a call and the counting of a view cost as much as a small product.
    """
    size, where = acts.itemsize, np.int64(found.ctypes.data)
    for x in range(begin, end):
        past = operations[x, _STEP] - 1
        down, right = i - operations[x, _PHASE_I], j - operations[x, _PHASE_J]
        if (down | right) < 0 or (down | right) & past:
            continue
        first_tap, count = operations[x, _TAP], operations[x, _TAPS]
        for t in range(count):
            found[t, 0] = _at(sources, first_tap + t, 0, j)
            found[t, 1], found[t, 2] = sources[first_tap + t, 0, _BY_IMAGE], taps[first_tap + t, 4]
        start, by_start = _at(places, x, _FROM, j), places[x, _FROM, _BY_IMAGE]
        if operations[x, _FLAT] == 2 and rows > images:
            by_start = 0  # one image, whose class's bias is the same for the whole row
        sums, by_sums = _at(places, x, _SUMS, j), places[x, _SUMS, _BY_IMAGE]
        z, by_z = _at(places, x, _Z, j), places[x, _Z, _BY_IMAGE]
        after, by_after = _at(places, x, _AFTER, j), places[x, _AFTER, _BY_IMAGE]
        plus, by_plus = _at(places, x, _PLUS, j), places[x, _PLUS, _BY_IMAGE]
        cell, by_cell = _at(places, x, _MEMORY, j), places[x, _MEMORY, _BY_IMAGE]
        before = cell + operations[x, _CARRY] * places[x, _MEMORY, _BY_COLUMN]
        width, post = operations[x, _WIDTH] * size, operations[x, _POST]
        keep = sums != 0
        if not keep:
            sums, by_sums = np.int64(scratch.ctypes.data), width
        first, most = 0, rows
        if rows > ROWS:
            most = max(ROWS, CHUNK // width)
        while first < rows:
            last = min(first + most, rows)
            into = sums + first * by_sums if keep else sums
            panel, done = constants + operations[x, _WEIGHTS] * size, 0
            while done < width:
                vectors = VECTORS[-1]
                for v in VECTORS:
                    if v * VECTOR_BYTES <= width - done:
                        vectors = v
                        break
                row, left = first, (last - first + ROWS - 1) // ROWS
                while row < last:
                    high = (last - row + left - 1) // left if left > 1 else last - row
                    tile(
                        acts, high, vectors, where, count, row, panel, start + row * by_start + done, by_start,
                        into + (row - first) * by_sums + done, by_sums,
                    )  # fmt: skip
                    row += high
                    left -= 1
                done += vectors * VECTOR_BYTES
                panel += vectors * VECTOR_BYTES * operations[x, _INPUTS]
            if cell != 0:  # the hidden states take the place of the gates
                step_forward(
                    acts, last - first, width // 4, into, by_sums, before + first * by_cell, by_cell,
                    cell + first * by_cell, by_cell, into, by_sums,
                )  # fmt: skip
            if z != 0 or after != 0:
                finish(
                    acts, operations[x, _ACTIVATION], post, last - first, operations[x, _COUNT] * size, width // 2,
                    into, by_sums, plus + first * by_plus, by_plus, z + first * by_z, by_z,
                    after + first * by_after, by_after // 2, by_after,
                )  # fmt: skip
            if post in (_RMS_NORM, _NORM_THEN_ELU):
                number, to = operations[x, _COUNT], after + first * by_after
                _normalise(acts, last - first, number, z + first * by_z, by_z, to, by_after)
                if post == _NORM_THEN_ELU:
                    finish(
                        acts, 0, _CONCAT_ELU, last - first, number * size, 0, to, by_after, 0, 0, 0, 0,
                        to, by_after // 2, by_after,
                    )  # fmt: skip
            first = last


@njit(**FAST)
def _normalise(acts, rows, count, z, by_z, after, by_after):
    """Rows of z divided by their root mean square."""
    base, size = np.int64(acts.ctypes.data), acts.itemsize
    for m in range(rows):
        x, y = (z - base + m * by_z) // size, (after - base + m * by_after) // size
        total = 0.0
        for f in range(count):
            total += acts[x + f] * acts[x + f]
        scale = 1 / math.sqrt(total / count + 1e-6)
        for f in range(count):
            acts[y + f] = acts[x + f] * scale


@njit(**FAST)
def _fill(acts, position, buffers, place, label, images):
    """What depends on the position, and on the class."""
    columns, channels = position.shape
    for j in range(columns):
        for m in range(images):
            to = buffers[place, _OFFSET] + (j * images + m) * channels
            for x in range(channels):
                acts[to + x] = position[j, x]
            if label >= 0:
                more = buffers[label, _OFFSET] + m * channels
                for x in range(channels):
                    acts[to + x] += acts[more + x]


@njit(**FAST)
def _draw_row(
    acts, weights, operations, taps, buffers, row_range, pixel_ranges, images,
    source, embedding, head, components, levels, patch, parameters,
    parameters_at, uniforms, k, keep, record, places, sources, found,
    scratch, work, i, place, label, position,
):  # fmt: skip
    """Draw a row of ``images`` images, or a row of patches.

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
        levels: L.
        patch: Side of a patch.
        parameters: The buffer of the last layer.
        parameters_at: Where each channel's begin.
        uniforms: float64 ``(images, C, H, W)``.
        k: Levels int64 ``(images, C, H, W)``; where ``keep`` they are given.
        keep: bool ``(images, H, W)``, or empty.
        record: Takes the parameters of the row, ``(W / patch, images, ·)``, or empty.
        places: Room for the places of each operation, ``(operations, PLACES, 4)``.
        sources: Room for those of each tap, ``(taps, 1, 4)``.
        found: Room for the taps of one operation, ``(·, 3)``.
        scratch: Room for the sums of a chunk.
        work: See ``draw``.
        i: Which row.
        place: The buffer of what depends on the position, or -1.
        label: The buffer of what is added to it, or -1.
        position: ``(rows, columns, channels)``.
    """
    channels, width = k.shape[1], k.shape[3] // patch
    groups, size = len(pixel_ranges), acts.itemsize
    base, constants = np.int64(acts.ctypes.data), np.int64(weights.ctypes.data)
    drawn, result = buffers[source, _CHANNELS], buffers[parameters, _CHANNELS]
    result_at = buffers[parameters, _OFFSET]
    _plan(i, operations, taps, buffers, images, base, constants, size, places, sources)
    if place >= 0:
        _fill(acts, position[i], buffers, place, label, images)
    for x in range(row_range[0], row_range[1]):
        flat, rows = operations[x, _FLAT], operations[x, _COLUMNS] * images
        if flat == 1 or (flat == 2 and images == 1):
            _operate(x, x + 1, operations, places, sources, taps, i, 0, rows, images, acts, constants, found, scratch)
        else:
            for step in range(width):
                j = width - 1 - step if operations[x, _CARRY] == 1 else step
                _operate(
                    x, x + 1, operations, places, sources, taps, i, j, images, images, acts, constants, found, scratch
                )
    row = buffers[source, _OFFSET] + (i % buffers[source, _ROWS]) * buffers[source, _SPAN] * images * drawn
    for j in range(width):
        column = row + (j + buffers[source, _PAD]) * images * drawn
        for g in range(groups):
            _operate(
                pixel_ranges[g, 0], pixel_ranges[g, 1], operations, places, sources, taps, i, j, images, images,
                acts, constants, found, scratch,
            )  # fmt: skip
            if head == PATCH:
                for m in range(images):
                    at = result_at + m * result
                    given = keep[m] if len(keep) else np.empty((0, 0), dtype=np.bool_)
                    symbol = draw_patch(
                        acts, at, embedding.shape[1], levels, patch, i * patch, j * patch,
                        uniforms[m], k[m], given, scratch,
                    )  # fmt: skip
                    for x in range(drawn):
                        acts[column + m * drawn + x] = embedding[0, symbol, x]
                continue
            first, last = (g, g + 1) if groups == channels else (0, channels)
            for m in range(images):
                at, given = result_at + m * result, len(keep) > 0 and keep[m, i, j]
                for c in range(first, last):
                    level = draw(
                        head, acts, at + parameters_at[c], c, components, levels, uniforms[m, c, i, j],
                        k, m, i, j, scratch, work,
                    )  # fmt: skip
                    if not given:
                        k[m, c, i, j] = level
                    for x in range(embedding.shape[2]):
                        acts[column + m * drawn + c + x] = embedding[c, k[m, c, i, j], x]
        if len(record):
            for m in range(images):
                for x in range(result):
                    record[j, m, x] = acts[result_at + m * result + x]


def _entry(sources):
    """The function above, kept on disk for as long as none of the files that it is made from changes."""

    @njit_kept
    def draw_row(*arguments):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        _draw_row(*arguments)

    return draw_row


draw_row = _entry(digest(Path(__file__).parent, "activations", "draws", "interpreter", "program"))
"""``_draw_row``; in a process that runs it for the first time after an installation it is compiled for some seconds."""
