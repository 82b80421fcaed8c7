"""What follows a sum, in vectors: gates, residuals, rectifiers; and the exponentials of a softmax."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.sampling.kernels import VECTOR_BYTES
from limner.sampling.program import ACTIVATIONS, POSTS

__all__ = ["exponentials", "finish"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_CONTRACT = ("contract",)
# Cephes' e^r for |r| ≤ ln 2 / 2: in float32 1 + r + r² p(r), right to 1e-7; in float64 1 + 2 r p / (q - r p), where p
# and q are polynomials in r², right to 2e-16. ln 2 is the sum of two numbers, of which the first has few digits.
_EXP32 = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_EXP64_P = (1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1)
_EXP64_Q = (
    3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.00000000000000000009e0,
)  # fmt: skip
_LN2 = {4: (0.693359375, -2.12194440e-4), 8: (6.93145751953125e-1, 1.42860682030941723212e-6)}
# Type of the exponent, its bias, where it begins, and the largest argument.
_BITS = {4: (_I32, 127, 23, 87.0), 8: (_I64, 1023, 52, 708.0)}


class _Vectors:
    """Arithmetic on vectors of one type."""

    def __init__(self, builder: Any, number: ir.Type, size: int) -> None:
        self.b, self.size, self.lanes = builder, size, VECTOR_BYTES // size
        self.kind = ir.VectorType(number, self.lanes)

    def all(self, value: float) -> ir.Constant:
        return ir.Constant(self.kind, [value] * self.lanes)

    def call(self, name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(self.kind, [self.kind] * len(arguments))
        function = cgutils.get_or_insert_function(self.b.module, kind, f"llvm.{name}.v{self.lanes}f{8 * self.size}")
        return self.b.call(function, arguments)

    def pointer(self, address: Any) -> Any:
        return self.b.inttoptr(address, self.kind.as_pointer())

    def load(self, address: Any) -> Any:
        return self.b.load(self.pointer(address), align=self.size)

    def store(self, value: Any, address: Any, left: Any) -> None:
        """The first ``left`` bytes of ``value``, or all of it."""
        full = self.b.icmp_signed(">=", left, ir.Constant(_I64, VECTOR_BYTES))
        with self.b.if_else(full) as (whole, part):
            with whole:
                self.b.store(value, self.pointer(address), align=self.size)
            with part:
                merged = self.b.select(self.first(left), value, self.load(address))
                self.b.store(merged, self.pointer(address), align=self.size)

    def first(self, left: Any) -> Any:
        """Which lanes lie in the first ``left`` bytes."""
        places = ir.Constant(ir.VectorType(_I64, self.lanes), [x * self.size for x in range(self.lanes)])
        return self.b.icmp_signed("<", places, self.splat(left))

    def splat(self, value: Any) -> Any:
        kind = ir.VectorType(value.type, self.lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def add(self, x: Any, y: Any) -> Any:
        return self.b.fadd(x, y, flags=_CONTRACT)

    def mul(self, x: Any, y: Any) -> Any:
        return self.b.fmul(x, y, flags=_CONTRACT)

    def within(self, x: Any, low: float, high: float) -> Any:
        return self.call("minnum", self.call("maxnum", x, self.all(low)), self.all(high))

    def relu(self, x: Any) -> Any:
        return self.call("maxnum", x, self.all(0.0))

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        p = self.all(coefficients[0])
        for coefficient in coefficients[1:]:
            p = self.add(self.mul(p, x), self.all(coefficient))
        return p

    def exp(self, x: Any) -> Any:
        """e^x = 2^n e^r."""
        integer, bias, shift, limit = _BITS[self.size]
        x = self.within(x, -limit, limit)
        n = self.call("floor", self.add(self.mul(x, self.all(1.4426950408889634)), self.all(0.5)))
        r = x
        for part in _LN2[self.size]:
            r = self.add(r, self.mul(n, self.all(-part)))
        if self.size == 4:
            e = self.add(self.mul(self.mul(self.polynomial(r, _EXP32), r), r), self.add(r, self.all(1.0)))
        else:
            square = self.mul(r, r)
            p = self.mul(r, self.polynomial(square, _EXP64_P))
            ratio = self.b.fdiv(p, self.b.fsub(self.polynomial(square, _EXP64_Q), p))
            e = self.add(self.mul(ratio, self.all(2.0)), self.all(1.0))
        kind = ir.VectorType(integer, self.lanes)
        bits = self.b.add(self.b.fptosi(n, kind), ir.Constant(kind, [bias] * self.lanes))
        return self.mul(e, self.b.bitcast(self.b.shl(bits, ir.Constant(kind, [shift] * self.lanes)), self.kind))

    def elu(self, x: Any) -> Any:
        """x, or e^x - 1 where x < 0."""
        below = self.add(self.exp(self.call("minnum", x, self.all(0.0))), self.all(-1.0))
        return self.add(self.relu(x), below)

    def gate(self, a: Any, b: Any, tanh: bool) -> Any:
        """tanh(a) σ(b) with one division, or a σ(b). Beyond ±40 both are constant, and e^80 is finite."""
        one = self.all(1.0)
        e = self.add(one, self.exp(self.b.fneg(self.within(b, -40.0, 40.0))))
        if not tanh:
            return self.b.fdiv(a, e)
        s = self.exp(self.mul(self.within(a, -20.0, 20.0), self.all(-2.0)))
        return self.b.fdiv(self.b.fsub(one, s), self.mul(self.add(one, s), e))


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
        v = _Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, activation, post, *rest = arguments
        end = builder.append_basic_block("end")
        which = builder.switch(builder.add(builder.mul(activation, ir.Constant(_I64, len(POSTS))), post), end)
        for a, number_of_a in ACTIVATIONS.items():
            for p, number_of_p in POSTS.items():
                block = builder.append_basic_block(f"{a}_{p}")
                which.add_case(ir.Constant(_I64, number_of_a * len(POSTS) + number_of_p), block)
                builder.position_at_end(block)
                _rows(v, a, p, *rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 14), generate


def _rows(
    v: _Vectors,
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
    b, zero = v.b, ir.Constant(_I64, 0)
    with cgutils.for_range(b, rows) as row:
        y_row, add_row, out_row, post_row = (
            b.add(address, b.mul(row.index, stride))
            for address, stride in ((y, y_stride), (add, add_stride), (out, out_stride), (post_to, post_stride))
        )
        with cgutils.for_range_slice(b, zero, length, ir.Constant(_I64, VECTOR_BYTES), inc=True) as (x, _):
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
                v.store(total, b.add(out_row, x), left)
            to = b.add(post_row, x)
            if post == "concat-elu":
                v.store(v.elu(total), to, left)
                v.store(v.elu(b.fneg(total)), b.add(to, second), left)
            elif post in ("relu", "squared-relu"):
                z = v.relu(total)
                v.store(z if post == "relu" else v.mul(z, z), to, left)


@intrinsic
def exponentials(typingctx: Any, like: Any, out: Any, x: Any, shift: Any, length: Any, sums: Any) -> Any:
    """``out = exp(x - shift)`` for ``length`` bytes from address to address, zeros up to whole vectors.

    Where ``sums`` is an address and not 0, the sum of each vector goes there, float64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = _Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, out, x, shift, length, sums = arguments
        less, double = v.splat(shift), ir.DoubleType()
        name = f"llvm.vector.reduce.fadd.v{v.lanes}f{8 * v.size}"
        kind = ir.FunctionType(v.kind.element, [v.kind.element, v.kind])
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        zero, step = ir.Constant(_I64, 0), ir.Constant(_I64, VECTOR_BYTES)
        with cgutils.for_range_slice(builder, zero, length, step, inc=True) as (at, count):
            e = v.exp(builder.fsub(v.load(builder.add(x, at)), less))
            e = builder.select(v.first(builder.sub(length, at)), e, v.all(0.0))
            builder.store(e, v.pointer(builder.add(out, at)), align=v.size)
            with builder.if_then(builder.icmp_signed("!=", sums, zero)):
                total = builder.call(reduce, [ir.Constant(v.kind.element, 0.0), e], fastmath=("reassoc",))
                to = builder.inttoptr(sums, double.as_pointer())
                total = total if v.size == 8 else builder.fpext(total, double)
                builder.store(total, builder.gep(to, [count]))
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64, like.dtype, types.int64, types.int64), generate
