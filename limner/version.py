"""Which limner this is."""

from __future__ import annotations

import importlib.metadata

__all__ = ["version"]


def version() -> str:
    """Of the installed package; ``unknown`` where its folder was copied, not installed."""
    try:
        return importlib.metadata.version("limner")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
