"""What can be made faster from outside: the recurrence of an LSTM, and the row sampler.

Both are written in plain PyTorch and complete without this file. ``limner.fast`` holds compiled loops for the CPU; it
needs the package numba and is loaded by name when something asks for it first. Where numba is absent, or the
environment says ``LIMNER_ACCELERATE=0``, nothing is loaded and the plain code runs. So it does where loading fails, and
a warning says so.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from limner.errors import LimnerWarning, reason_of

__all__ = ["Hooks", "hooks", "on_compile"]

_tell: list[Callable[[], None]] = []


@dataclass(frozen=True)
class Hooks:
    """What ``limner.fast`` offers.

    Attributes:
        recurrence: ``recurrence(inputs, weight, directions)`` gives the hidden states of ``limner.nn.recurrent``, or
            None where it has no loop for these tensors.
        row_sampler: ``row_sampler(model)`` gives the class of a ``sampling.rows.RowSampler`` for this model, or None.
    """

    recurrence: Callable[..., Any]
    row_sampler: Callable[..., Any]


def hooks() -> Hooks | None:
    """The accelerators; None without numba, or where ``LIMNER_ACCELERATE=0``."""
    return None if os.environ.get("LIMNER_ACCELERATE", "1") == "0" else _loaded()


def on_compile(tell: Callable[[], None] | None) -> None:
    """Have ``tell`` called when a loop is compiled for the first time on this machine (seconds); None: nobody."""
    _tell[:] = [] if tell is None else [tell]


@functools.cache
def _loaded() -> Hooks | None:
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        found: Hooks = importlib.import_module("limner.fast").hooks(lambda: [tell() for tell in _tell])
    except Exception as error:  # noqa: BLE001 - of numba, llvmlite, or this machine
        why = f"{type(error).__name__}: {reason_of(error)}"
        warnings.warn(f"the compiled loops cannot be loaded ({why}): plain PyTorch runs", LimnerWarning, stacklevel=2)
        return None
    return found
