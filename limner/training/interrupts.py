"""Ctrl-C and SIGTERM between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["asked_to_stop"]


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a step is never cut in half; a second Ctrl-C is not caught."""
    asked = threading.Event()
    caught = threading.current_thread() is threading.main_thread()  # Python allows it to no other
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM) if caught}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    for s in before:
        signal.signal(s, ask)
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
