"""Ctrl-C, SIGTERM and a closed terminal between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["asked_to_stop"]

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS = [s for s in (signal.SIGINT, signal.SIGTERM, HANGUP) if s is not None]


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or SIGHUP (the terminal was closed) sets, so that a step is never cut in half.

    A second Ctrl-C or SIGTERM is not caught, a second SIGHUP is: shell and system send one each. Under nohup none is.
    """
    asked = threading.Event()
    caught = threading.current_thread() is threading.main_thread()  # Python allows it to no other
    before = {s: signal.getsignal(s) for s in SIGNALS if caught}
    if before.get(HANGUP) == signal.SIG_IGN:
        del before[HANGUP]

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        if number != HANGUP:
            signal.signal(number, before[signal.Signals(number)])

    for s in before:
        signal.signal(s, ask)
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
