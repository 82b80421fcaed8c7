"""Compiled loops for the CPU: matrix products, vector arithmetic, the recurrence of an LSTM, the row sampler.

Only ``limner.accelerate`` loads this folder, and everything works without it. The modules below import numba, which
takes most of a second.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from limner.accelerate import Hooks

__all__ = ["digest", "hooks"]


def hooks() -> Hooks:
    """What ``limner.accelerate`` asks for."""
    from limner.fast.recurrence import recurrence
    from limner.fast.sampler.compiled import compiled_sampler

    return Hooks(recurrence=recurrence, row_sampler=compiled_sampler)


def digest(folder: Path, *names: str) -> str:
    """Of the modules ``names`` in ``folder`` and of all here: compiled code is kept while none of them changes."""
    files = [folder / f"{name}.py" for name in names] + sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
