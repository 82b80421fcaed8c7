"""Telling whoever waits that a loop is compiled: the first time on a machine, later a copy on disk is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import event

__all__ = ["tell_once"]


class _Listener(event.Listener):
    """Told by numba of each compilation; loading from disk is none."""

    def __init__(self, compiling: Callable[[], object]) -> None:
        self.compiling, self.told = compiling, False

    def on_start(self, event: Any) -> None:
        """Before one of limner's own loops is compiled."""
        module = getattr(getattr(event.data.get("dispatcher"), "py_func", None), "__module__", "")
        if not self.told and module.startswith("limner.fast."):
            self.told = True
            self.compiling()

    def on_end(self, event: Any) -> None:
        """Nothing."""


def tell_once(compiling: Callable[[], object]) -> None:
    """Have ``compiling`` called once, before limner's first loop is compiled in this process."""
    event.register("numba:compile", _Listener(compiling))
