r"""The recurrence of a two-dimensional LSTM and its gradient, as compiled loops over pixels.

.. math:: [o, f, i, g] = [σ, σ, σ, \tanh](a_p + \sum_t W_t^T h_{p + t}), \quad
          c_p = f \odot c_{p+s} + i \odot g, \quad h_p = o \odot \tanh c_p

at each pixel p in raster order, or with the columns from right to left: t runs over a few neighbours that come before
p, and s is the one whose cell is carried on (arXiv 1601.06759, equation 3). Outside of the image h = c = 0. The
gradient runs the other way; what it leaves, the gradient of :math:`a`, gives those of all weights by matrix products.

Arrays are ``(H, W, B, D, ·)``: B images, D directions. No row is skewed here: with one pixel after another there is
nothing to gain from diagonals, and the B images are the rows of the products.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.fast.digest import digest
from limner.fast.kept import njit_kept
from limner.fast.product import product
from limner.fast.tile import VECTOR_BYTES
from limner.fast.vectors import FAST, I64, Vectors

__all__ = ["backward", "forward"]


@njit(**FAST)
def _forward(
    inputs, gates, cells, hidden, total, weights, offsets, cell, leftwards, lower, d, first, last, zeros, found
):
    rows, columns, images, directions, width = inputs.shape
    size, m, features = inputs.itemsize, last - first, width // 4
    by_gate, by_state = directions * width * size, directions * features * size  # bytes from image to image
    begin = first * directions + d
    at_inputs, at_gates = inputs.ctypes.data + begin * width * size, gates.ctypes.data + begin * width * size
    at_cells, at_hidden = cells.ctypes.data + begin * features * size, hidden.ctypes.data + begin * features * size
    nothing, taps = zeros.ctypes.data, len(offsets)
    for i in range(rows):
        for step in range(columns):
            j = columns - 1 - step if leftwards else step
            for t in range(taps):
                a, b = i + offsets[t, 0], j + offsets[t, 1]
                inside = 0 <= a < rows and 0 <= b < columns
                found[t, 0] = at_hidden + (a * columns + b) * images * by_state if inside else nothing
                found[t, 1] = by_state if inside else 0
                found[t, 2] = features
            p = (i * columns + j) * images
            product(inputs, m, width * size, found.ctypes.data, taps, taps * features, weights.ctypes.data,
                    at_inputs + p * by_gate, by_gate, at_gates + p * by_gate, by_gate)  # fmt: skip
            a, b = i + cell[0], j + cell[1]
            inside = 0 <= a < rows and 0 <= b < columns
            before = at_cells + (a * columns + b) * images * by_state if inside else nothing
            step_forward(inputs, m, features * size, at_gates + p * by_gate, by_gate, before, by_state if inside else 0,
                         at_cells + p * by_state, by_state, at_hidden + p * by_state, by_state)  # fmt: skip
            if i + lower < rows:
                for image in range(first, last):
                    for x in range(features):
                        here = hidden[i, j, image, d, x]
                        total[i + lower, j, image, x] = here if d == 0 else total[i + lower, j, image, x] + here


@njit(**FAST)
def _backward(
    gates, cells, gradient, d_gates, weights, offsets, cell, leftwards, lower, d, first, last, zeros, found, into, carry
):
    rows, columns, images, directions, width = gates.shape
    size, m, features = gates.itemsize, last - first, width // 4
    by_gate, by_state, by_total = directions * width * size, directions * features * size, features * size
    begin = first * directions + d
    at_gates, at_d_gates = gates.ctypes.data + begin * width * size, d_gates.ctypes.data + begin * width * size
    at_cells, at_gradient = cells.ctypes.data + begin * features * size, gradient.ctypes.data + first * by_total
    nothing, taps, along = zeros.ctypes.data, len(offsets), cell[1] != 0
    carry[:] = 0
    for i in range(rows - 1, -1, -1):
        if along:  # the cell of a row's end leads nowhere
            carry[0] = 0
        for step in range(columns - 1, -1, -1):
            j = columns - 1 - step if leftwards else step
            for t in range(taps):
                a, b = i - offsets[t, 0], j - offsets[t, 1]
                inside = 0 <= a < rows and 0 <= b < columns
                found[t, 0] = at_d_gates + (a * columns + b) * images * by_gate if inside else nothing
                found[t, 1] = by_gate if inside else 0
                found[t, 2] = width
            p, below = (i * columns + j) * images, ((i + lower) * columns + j) * images
            inside = i + lower < rows
            product(gates, m, by_total, found.ctypes.data, taps, taps * width, weights.ctypes.data,
                    at_gradient + below * by_total if inside else nothing, by_total if inside else 0,
                    into.ctypes.data, by_total)  # fmt: skip
            a, b = i + cell[0], j + cell[1]
            inside = 0 <= a < rows and 0 <= b < columns
            before = at_cells + (a * columns + b) * images * by_state if inside else nothing
            step_backward(gates, m, by_total, at_gates + p * by_gate, at_d_gates + p * by_gate, by_gate,
                          before, by_state if inside else 0, at_cells + p * by_state, by_state, into.ctypes.data,
                          carry.ctypes.data + (0 if along else j) * carry.strides[0])  # fmt: skip


@intrinsic
def step_forward(
    typingctx: Any,
    like: Any,
    rows: Any,
    length: Any,
    gates: Any,
    gate_stride: Any,
    before: Any,
    before_stride: Any,
    cell: Any,
    cell_stride: Any,
    hidden: Any,
    hidden_stride: Any,
) -> Any:
    """Gates' sums → gates; cells before → cells, hidden states; ``rows`` images, ``length`` bytes a gate."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, rows, length, *arrays = arguments
        b = builder
        with cgutils.for_range(b, rows) as row:
            gates, before, cell, hidden = (
                b.add(at, b.mul(row.index, by)) for at, by in zip(arrays[::2], arrays[1::2], strict=True)
            )
            with _vectors(b, length) as x:
                places = _gates(b, gates, length, x)
                sums = [v.load(place) for place in places]
                o, f, i = (v.sigmoid(s) for s in sums[:3])
                g = v.tanh(sums[3])
                c = v.add(v.mul(f, v.load(b.add(before, x))), v.mul(i, g))
                for place, value in zip(places, (o, f, i, g), strict=True):
                    _store(v, value, place)
                _store(v, c, b.add(cell, x))
                _store(v, v.mul(o, v.tanh(c)), b.add(hidden, x))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 10), generate


@intrinsic
def step_backward(
    typingctx: Any,
    like: Any,
    rows: Any,
    length: Any,
    gates: Any,
    d_gates: Any,
    gate_stride: Any,
    before: Any,
    before_stride: Any,
    cell: Any,
    stride: Any,
    d_hidden: Any,
    carry: Any,
) -> Any:
    """The gradients of hidden states and, ``carry``, of cells → those of the gates' sums and of the cells before.

    ``d_hidden`` and ``carry`` have no gaps between images.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, rows, length, gates, d_gates, gate_stride, before, before_stride, cell, stride, d_hidden, carry = arguments
        b, one = builder, v.all(1.0)

        def slope(y: Any) -> Any:  # of σ, where its value is y
            return v.mul(y, v.sub(one, y))

        with cgutils.for_range(b, rows) as row:
            gates, d_gates, before, cell, d_hidden, carry = (
                b.add(at, b.mul(row.index, by))
                for at, by in (
                    (gates, gate_stride), (d_gates, gate_stride), (before, before_stride), (cell, stride),
                    (d_hidden, length), (carry, length),
                )
            )  # fmt: skip
            with _vectors(b, length) as x:
                o, f, i, g = (v.load(place) for place in _gates(b, gates, length, x))
                squashed, dh = v.tanh(v.load(b.add(cell, x))), v.load(b.add(d_hidden, x))
                more = v.load(b.add(carry, x))
                dc = v.add(v.mul(v.mul(dh, o), v.sub(one, v.mul(squashed, squashed))), more)
                gradients = (
                    v.mul(v.mul(dh, squashed), slope(o)),
                    v.mul(v.mul(dc, v.load(b.add(before, x))), slope(f)),
                    v.mul(v.mul(dc, g), slope(i)),
                    v.mul(v.mul(dc, i), v.sub(one, v.mul(g, g))),
                )
                for place, value in zip(_gates(b, d_gates, length, x), gradients, strict=True):
                    _store(v, value, place)
                _store(v, v.mul(dc, f), b.add(carry, x))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 11), generate


def _vectors(b: Any, length: Any) -> Any:
    """A loop over the offsets of whole vectors."""
    return _Offsets(cgutils.for_range_slice(b, ir.Constant(I64, 0), length, ir.Constant(I64, VECTOR_BYTES), inc=True))


class _Offsets:
    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def __enter__(self) -> Any:
        return self.loop.__enter__()[0]

    def __exit__(self, *why: Any) -> Any:
        return self.loop.__exit__(*why)


def _gates(b: Any, at: Any, length: Any, x: Any) -> list[Any]:
    """Addresses of a vector of o, f, i and g."""
    return [b.add(b.add(at, x), b.mul(length, ir.Constant(I64, gate))) for gate in range(4)]


def _store(v: Vectors, value: Any, address: Any) -> None:
    v.b.store(value, v.pointer(address), align=v.size)


def _entries(sources: str) -> tuple[Any, Any]:
    @njit_kept
    def forward(*arguments):
        sources  # noqa: B018 - what a function encloses belongs to the name of its copy on disk
        _forward(*arguments)

    @njit_kept
    def backward(*arguments):
        sources  # noqa: B018
        _backward(*arguments)

    return forward, backward


forward, backward = _entries(digest(Path(__file__).parent))
