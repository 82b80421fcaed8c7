"""Compiled loops for the CPU: matrix products, vector arithmetic, the recurrence of an LSTM, the row sampler.

Only ``limner.accelerate`` loads this folder, and everything works without it. The modules below import numba, which
takes most of a second.
"""

from __future__ import annotations

from collections.abc import Callable

from limner.accelerate import Hooks

__all__ = ["hooks"]


def hooks(compiling: Callable[[], object]) -> Hooks:
    """What ``limner.accelerate`` asks for.

    Args:
        compiling: Called once, when a loop is about to be compiled because there is no copy of it on disk.
    """
    from limner.fast.first_compile import tell_once
    from limner.fast.recurrence import recurrence
    from limner.fast.sampler.compiled import compiled_sampler

    tell_once(compiling)
    return Hooks(recurrence=recurrence, row_sampler=compiled_sampler)
