"""A name for compiled code that is kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["digest"]


def digest(folder: Path, *names: str) -> str:
    """Of the modules ``names`` in ``folder`` and of all here: compiled code is kept while none of them changes."""
    files = [folder / f"{name}.py" for name in names] + sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
