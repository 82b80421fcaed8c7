"""What compiled functions of one table of numbers have in common: arrays at addresses, and their place in a team.

A table is an array int64, of which a thread is given the address: the functions of ``limner.threads.TEAM`` come first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from limner.kernels.vectors import FAST, I64

__all__ = ["ENTRY", "TEAM", "ends", "pointer", "share", "wait_for_all"]

TEAM = 3
"""Numbers at the beginning of a table; zeros where a thread is alone."""
ENTRY = types.void(types.voidptr)
"""Of a function that ``limner.threads.in_team`` runs."""


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """An address as numba's ``carray`` takes it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic
def _ask(typingctx: Any, function: Any) -> Any:
    """What a function without arguments at an address says, int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(arguments[0], kind), []), I64)

    return types.int64(types.int64), generate


@intrinsic
def _call(typingctx: Any, function: Any) -> Any:
    """Calls a function without arguments at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.call(builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), []).as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@njit(**FAST)
def share(data):
    """Which of how many threads this one is."""
    table = carray(data, (TEAM,), np.int64)
    return (_ask(table[0]), _ask(table[1])) if table[0] else (0, 1)


@njit(**FAST)
def ends(count, unit, part, parts):
    """The first and the last of a thread's share of ``count``, in whole units."""
    units = (count + unit - 1) // unit
    return min(count, units * part // parts * unit), min(count, units * (part + 1) // parts * unit)


@njit(**FAST)
def wait_for_all(data):
    """Until all threads are here."""
    table = carray(data, (TEAM,), np.int64)
    if table[0]:
        _call(table[2])
