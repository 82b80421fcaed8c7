"""Compiled kernels for the CPU (the extra ``fast``): matrix products, vector arithmetic, the recurrence of an LSTM.

The modules below import numba, which takes most of a second: import them where they are used.
"""

import hashlib
import importlib.util
from pathlib import Path

__all__ = ["available", "digest"]


def available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def digest(folder: Path, *names: str) -> str:
    """Of the modules ``names`` in ``folder`` and of all kernels: compiled code is kept while none of them changes."""
    files = [folder / f"{name}.py" for name in names] + sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
