"""Arithmetic on vector registers in LLVM's language, for numba to compile: exponentials, gates, rectifiers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.fast.tile import VECTOR_BYTES

__all__ = ["FAST", "I64", "Vectors", "exponentials"]

FAST: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}
"""How all compiled loops are compiled."""
_I32, I64 = ir.IntType(32), ir.IntType(64)
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
_BITS = {4: (_I32, 127, 23, 87.0), 8: (I64, 1023, 52, 708.0)}


class Vectors:
    """Arithmetic on vectors of one type."""

    def __init__(self, builder: Any, number: ir.Type, size: int) -> None:
        self.b, self.size, self.lanes = builder, size, VECTOR_BYTES // size
        self.kind = ir.VectorType(number, self.lanes)

    def all(self, value: float) -> ir.Constant:
        """A constant in each lane."""
        return ir.Constant(self.kind, [value] * self.lanes)

    def call(self, name: str, *arguments: Any) -> Any:
        """One of LLVM's intrinsics of this type."""
        kind = ir.FunctionType(self.kind, [self.kind] * len(arguments))
        function = cgutils.get_or_insert_function(self.b.module, kind, f"llvm.{name}.v{self.lanes}f{8 * self.size}")
        return self.b.call(function, arguments)

    def pointer(self, address: Any) -> Any:
        """An address as that of a vector."""
        return self.b.inttoptr(address, self.kind.as_pointer())

    def load(self, address: Any) -> Any:
        """The vector at an address."""
        return self.b.load(self.pointer(address), align=self.size)

    def store(self, value: Any, address: Any, left: Any) -> None:
        """The first ``left`` bytes of ``value``, or all of it."""
        full = self.b.icmp_signed(">=", left, ir.Constant(I64, VECTOR_BYTES))
        with self.b.if_else(full) as (whole, part):
            with whole:
                self.b.store(value, self.pointer(address), align=self.size)
            with part:
                merged = self.b.select(self.first(left), value, self.load(address))
                self.b.store(merged, self.pointer(address), align=self.size)

    def first(self, left: Any) -> Any:
        """Which lanes lie in the first ``left`` bytes."""
        places = ir.Constant(ir.VectorType(I64, self.lanes), [x * self.size for x in range(self.lanes)])
        return self.b.icmp_signed("<", places, self.splat(left))

    def splat(self, value: Any) -> Any:
        """A number in each lane."""
        kind = ir.VectorType(value.type, self.lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def add(self, x: Any, y: Any) -> Any:
        """x + y."""
        return self.b.fadd(x, y, flags=_CONTRACT)

    def mul(self, x: Any, y: Any) -> Any:
        """x y."""
        return self.b.fmul(x, y, flags=_CONTRACT)

    def within(self, x: Any, low: float, high: float) -> Any:
        """x between two bounds; no longer a NaN."""
        return self.call("minnum", self.call("maxnum", x, self.all(low)), self.all(high))

    def relu(self, x: Any) -> Any:
        """max(x, 0)."""
        return self.call("maxnum", x, self.all(0.0))

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        """By Horner's rule, the highest power first."""
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

    def sub(self, x: Any, y: Any) -> Any:
        """x - y."""
        return self.b.fsub(x, y, flags=_CONTRACT)

    def sigmoid(self, x: Any) -> Any:
        """σ(x); a NaN stays one."""
        e = self.exp(self.b.fneg(self.within(x, -80.0, 80.0)))
        return self.add(self.b.fdiv(self.all(1.0), self.add(e, self.all(1.0))), self.b.fsub(x, x))

    def tanh(self, x: Any) -> Any:
        """The hyperbolic tangent (1 - s) / (1 + s), s = e^(-2x); beyond ±20 it is constant; a NaN stays one."""
        one = self.all(1.0)
        s = self.exp(self.mul(self.within(x, -20.0, 20.0), self.all(-2.0)))
        return self.add(self.b.fdiv(self.b.fsub(one, s), self.add(one, s)), self.b.fsub(x, x))

    def gate(self, a: Any, b: Any, tanh: bool) -> Any:
        """tanh(a) σ(b) with one division, or a σ(b). Beyond ±40 both are constant, and e^80 is finite."""
        one = self.all(1.0)
        e = self.add(one, self.exp(self.b.fneg(self.within(b, -40.0, 40.0))))
        if not tanh:
            return self.b.fdiv(a, e)
        s = self.exp(self.mul(self.within(a, -20.0, 20.0), self.all(-2.0)))
        return self.b.fdiv(self.b.fsub(one, s), self.mul(self.add(one, s), e))


@intrinsic
def exponentials(typingctx: Any, like: Any, out: Any, x: Any, shift: Any, length: Any, sums: Any) -> Any:
    """``out = exp(x - shift)`` for ``length`` bytes from address to address, zeros up to whole vectors.

    Where ``sums`` is an address and not 0, the sum of each vector goes there, float64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = signature.args[0].dtype
        v = Vectors(builder, context.get_data_type(number), number.bitwidth // 8)
        _, out, x, shift, length, sums = arguments
        less, double = v.splat(shift), ir.DoubleType()
        name = f"llvm.vector.reduce.fadd.v{v.lanes}f{8 * v.size}"
        kind = ir.FunctionType(v.kind.element, [v.kind.element, v.kind])
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        zero, step = ir.Constant(I64, 0), ir.Constant(I64, VECTOR_BYTES)
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
