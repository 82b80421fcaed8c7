"""A matrix product that keeps its sums in registers, written in LLVM's vector language for numba to compile.

numba's own loops are vectorised but not blocked: each product would load and store its sum. Here a tile of up to
``ROWS`` rows by ``vectors`` vectors of outputs stays in registers while all inputs stream by, which reaches most of
the processor's peak at any number of rows.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

__all__ = ["ROWS", "VECTORS", "VECTOR_BYTES", "tile"]

_CPU = {name for name, has in binding.get_host_cpu_features().items() if has}
VECTOR_BYTES = 64 if "avx512f" in _CPU else 32 if "avx" in _CPU else 16
"""Width of a vector register."""
ROWS = 6
"""Most rows of a tile."""
VECTORS = (4, 2, 1) if "avx512f" in _CPU or "neon" in _CPU else (2, 1)
"""Widths of a tile, in vectors: 6 × 4 sums need 32 registers, 6 × 2 need 16."""

_I64 = ir.IntType(64)


def _number(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


@intrinsic
def tile(
    typingctx: Any,
    like: Any,
    rows: Any,
    vectors: Any,
    taps: Any,
    count: Any,
    first: Any,
    weights: Any,
    start: Any,
    start_stride: Any,
    out: Any,
    out_stride: Any,
) -> Any:
    r"""``out[r] = start[r] + Σ_t Σ_k input_t[first + r, k] · weights[t, k]`` for ``rows`` rows of ``vectors`` vectors.

    Args:
        typingctx: numba's.
        like: An array of the type of all numbers.
        rows: 1 .. ROWS.
        vectors: One of VECTORS.
        taps: Address of ``count`` triples int64: address of input t, bytes from row to row, K > 0.
        count: How many taps, at least 1.
        first: The first row.
        weights: Address of the weights, ``(Σ K, vectors × lanes)``.
        start: Address of what the sums begin with.
        start_stride: Bytes from row to row; 0 for a bias.
        out: Address of the result.
        out_stride: Bytes from row to row.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        lanes = 8 * VECTOR_BYTES // number.bitwidth
        kind = ir.VectorType(context.get_data_type(number), lanes)
        _, rows, vectors, *rest = arguments
        end = builder.append_basic_block("end")
        which = builder.switch(builder.add(builder.mul(vectors, _number(16)), rows), end)
        for v in VECTORS:
            for r in range(1, ROWS + 1):
                block = builder.append_basic_block(f"tile_{r}x{v}")
                which.add_case(_number(16 * v + r), block)
                builder.position_at_end(block)
                _emit(builder, kind, r, v, *rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 10), generate


def _emit(
    b: Any,
    kind: ir.VectorType,
    rows: int,
    vectors: int,
    taps: Any,
    count: Any,
    first: Any,
    weights: Any,
    start: Any,
    start_stride: Any,
    out: Any,
    out_stride: Any,
) -> None:
    """The code of one tile size: a loop over taps around a loop over k, whose sums are ``rows × vectors`` phis.

    A single row has too few sums to hide that each takes a few cycles: it takes several k at once, each with its own.
    The sums of each tap begin at zero, so that rounding errors are those of K terms and not of all.
    """
    size, lanes = VECTOR_BYTES // kind.count, kind.count
    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    width = vectors * VECTOR_BYTES
    anything, zero = ir.Constant(kind, ir.Undefined), ir.Constant(kind, [0.0] * lanes)
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

    def at(address: Any, offset: int) -> Any:
        return b.inttoptr(b.add(address, _number(offset)), kind.as_pointer())

    def phis(block: Any, values: list[Any]) -> list[Any]:
        made = [b.phi(value.type) for value in values]
        incoming(made, block, values)
        return made

    def incoming(made: list[Any], block: Any, values: list[Any]) -> None:
        for phi, value in zip(made, values, strict=True):
            phi.add_incoming(value, block)

    def products(k: Any, weights: Any, sums: list[Any]) -> list[Any]:
        """The sums with one k more."""
        w = [b.load(at(weights, v * VECTOR_BYTES), align=size) for v in range(vectors)]
        more = []
        for r in range(rows):
            x = b.load(b.gep(inputs_at[r], [k]), align=size)
            x = b.shuffle_vector(b.insert_element(anything, x, ir.Constant(ir.IntType(32), 0)), anything, places)
            more += [_sum(b, sums[r * vectors + v], x, w[v]) for v in range(vectors)]
        return more

    before = b.block
    starts = [b.add(start, b.mul(start_stride, _number(r))) for r in range(rows)]
    begin = [b.load(at(starts[r], v * VECTOR_BYTES), align=size) for r, v in cells]
    each_tap, each_k, next_tap, done = (b.append_basic_block(name) for name in ("tap", "k", "next", "done"))
    b.branch(each_tap)

    b.position_at_end(each_tap)
    outer = phis(before, [_number(0), weights, *begin])
    t, at_tap, *sums = outer
    entry = b.inttoptr(b.add(taps, b.mul(t, _number(24))), _I64.as_pointer())
    address, stride, inputs = (b.load(b.gep(entry, [_number(i)])) for i in range(3))
    rows_at = [b.add(address, b.mul(stride, b.add(first, _number(r)))) for r in range(rows)]
    inputs_at = [b.inttoptr(a, kind.element.as_pointer()) for a in rows_at]
    unrolled = max(1, 8 // len(cells)) if rows == 1 else 1
    before_tap = sums
    state, left = [_number(0), at_tap, *[zero] * len(cells)], each_tap
    if unrolled > 1:
        several, merge = b.append_basic_block("several"), b.append_basic_block("merge")
        whole = b.and_(inputs, _number(-unrolled))
        spread = [_number(0), at_tap, *[zero] * (len(cells) * unrolled)]
        b.cbranch(b.icmp_signed(">", whole, _number(0)), several, merge)

        b.position_at_end(several)
        inner = phis(each_tap, spread)
        k, at_k, *sums = inner
        more = []
        for u in range(unrolled):
            mine = sums[u * len(cells) : (u + 1) * len(cells)]
            more += products(b.add(k, _number(u)), b.add(at_k, _number(u * width)), mine)
        after = [b.add(k, _number(unrolled)), b.add(at_k, _number(unrolled * width)), *more]
        incoming(inner, several, after)
        b.cbranch(b.icmp_signed("<", after[0], whole), several, merge)

        b.position_at_end(merge)
        merged = phis(each_tap, spread)
        incoming(merged, several, after)
        k, at_k, *sums = merged
        for u in range(1, unrolled):
            mine = sums[u * len(cells) : (u + 1) * len(cells)]
            sums[: len(cells)] = [b.fadd(x, y) for x, y in zip(sums[: len(cells)], mine, strict=True)]
        state, left = [k, at_k, *sums[: len(cells)]], merge
        b.cbranch(b.icmp_signed("<", k, inputs), each_k, next_tap)
    else:
        b.branch(each_k)

    b.position_at_end(each_k)
    inner = phis(left, state)
    k, at_k, *sums = inner
    after = [b.add(k, _number(1)), b.add(at_k, _number(width)), *products(k, at_k, sums)]
    incoming(inner, each_k, after)
    b.cbranch(b.icmp_signed("<", after[0], inputs), each_k, next_tap)

    b.position_at_end(next_tap)
    ends = phis(each_k, after[1:])
    if unrolled > 1:
        incoming(ends, merge, state[1:])
    ends[1:] = [b.fadd(x, y) for x, y in zip(before_tap, ends[1:], strict=True)]
    t_next = b.add(t, _number(1))
    incoming(outer, next_tap, [t_next, *ends])
    b.cbranch(b.icmp_signed("<", t_next, count), each_tap, done)

    b.position_at_end(done)
    rows_out = [b.add(out, b.mul(out_stride, _number(r))) for r in range(rows)]
    for (r, v), value in zip(cells, ends[1:], strict=True):
        b.store(value, at(rows_out[r], v * VECTOR_BYTES), align=size)


def _sum(b: Any, total: Any, x: Any, w: Any) -> Any:
    """``total + x w``."""
    return b.fadd(b.fmul(x, w, flags=("contract",)), total, flags=("contract",))
