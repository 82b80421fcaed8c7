"""Which limner this is."""

from __future__ import annotations

import importlib.metadata

__all__ = ["FEATURES", "version"]

# Of the features that samples are looked at with: figures of different versions do not compare. 1, which no record
# names, was a network that told labels, or how an image was turned.
FEATURES = 2


def version() -> str:
    """Of the installed package; ``unknown`` where its folder was copied, not installed."""
    try:
        return importlib.metadata.version("limner")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
