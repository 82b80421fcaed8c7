"""What follows a sum, in vectors: gates, residuals, rectifiers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.fast.sampler.program import ACTIVATIONS, POSTS
from limner.fast.tile import VECTOR_BYTES
from limner.fast.vectors import I64, Vectors

__all__ = ["finish"]


@intrinsic
def finish(
    typingctx: Any,
    like: Any,
    activation: Any,
    post: Any,
    rows: Any,
    length: Any,
    half: Any,
    y: Any,
    y_stride: Any,
    add: Any,
    add_stride: Any,
    out: Any,
    out_stride: Any,
    post_to: Any,
    second: Any,
    post_stride: Any,
) -> Any:
    """``z = activation(y) + add`` → ``out``, ``post(z)`` → ``post_to``, for ``rows`` rows of ``length`` bytes.

    The post "plus": ``z = activation(y)`` → ``out``, ``z + add`` → ``post_to``.

    Args:
        typingctx: numba's.
        like: An array of the type of all numbers.
        activation: One of ACTIVATIONS.
        post: One of POSTS.
        rows: How many.
        length: Bytes of a row of z.
        half: Bytes from a gate's first half to its second.
        y: Address of the sums, padded to whole vectors.
        y_stride: Bytes from row to row; so are all strides.
        add: Address, or 0.
        add_stride: See ``y_stride``.
        out: Address, or 0.
        out_stride: See ``y_stride``.
        post_to: Address, where there is a post.
        second: Bytes from there to the second half of a concat-elu.
        post_stride: See ``y_stride``.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, activation, post, *rest = arguments
        end = builder.append_basic_block("end")
        which = builder.switch(builder.add(builder.mul(activation, ir.Constant(I64, len(POSTS))), post), end)
        for a, number_of_a in ACTIVATIONS.items():
            for p, number_of_p in POSTS.items():
                block = builder.append_basic_block(f"{a}_{p}")
                which.add_case(ir.Constant(I64, number_of_a * len(POSTS) + number_of_p), block)
                builder.position_at_end(block)
                _rows(v, a, p, *rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 14), generate


def _rows(
    v: Vectors,
    activation: str,
    post: str,
    rows: Any,
    length: Any,
    half: Any,
    y: Any,
    y_stride: Any,
    add: Any,
    add_stride: Any,
    out: Any,
    out_stride: Any,
    post_to: Any,
    second: Any,
    post_stride: Any,
) -> None:
    b, zero = v.b, ir.Constant(I64, 0)
    with cgutils.for_range(b, rows) as row:
        y_row, add_row, out_row, post_row = (
            b.add(address, b.mul(row.index, stride))
            for address, stride in ((y, y_stride), (add, add_stride), (out, out_stride), (post_to, post_stride))
        )
        with cgutils.for_range_slice(b, zero, length, ir.Constant(I64, VECTOR_BYTES), inc=True) as (x, _):
            left, y_at = b.sub(length, x), b.add(y_row, x)
            z = v.load(y_at)
            if activation != "none":
                z = v.gate(z, v.load(b.add(y_at, half)), activation == "tanh-gate")
            before = b.block
            with b.if_then(b.icmp_signed("!=", add, zero)):
                more, there = v.add(z, v.load(b.add(add_row, x))), b.block
            total = b.phi(v.kind)
            total.add_incoming(z, before)
            total.add_incoming(more, there)
            with b.if_then(b.icmp_signed("!=", out, zero)):
                v.store(z if post == "plus" else total, b.add(out_row, x), left)
            to = b.add(post_row, x)
            if post == "concat-elu":
                v.store(v.elu(total), to, left)
                v.store(v.elu(b.fneg(total)), b.add(to, second), left)
            elif post == "plus":
                v.store(total, to, left)
            elif post in ("relu", "squared-relu"):
                z = v.relu(total)
                v.store(z if post == "relu" else v.mul(z, z), to, left)
