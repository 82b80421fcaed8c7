"""Compiled loops for the CPU: matrix products, vector arithmetic, the recurrence of an LSTM, the row sampler.

Only ``limner.accelerate`` loads this folder, and everything works without it. The modules below import numba, which
takes most of a second.
"""

from __future__ import annotations

from limner.accelerate import Hooks

__all__ = ["hooks"]


def hooks() -> Hooks:
    """What ``limner.accelerate`` asks for."""
    from limner.fast.recurrence import recurrence
    from limner.fast.sampler.compiled import compiled_sampler

    return Hooks(recurrence=recurrence, row_sampler=compiled_sampler)
