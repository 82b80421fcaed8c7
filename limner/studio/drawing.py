"""Threads in which models work, a bounded number of them, so that the page answers meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from limner import display
from limner.studio.limits import Refused

__all__ = ["Cancelled", "Pool", "Stop"]

T = TypeVar("T")


class Cancelled(Exception):
    """Nobody waits for the work any more."""


class Stop:
    """Whether work is still wanted; for threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """It is not."""
        self._event.set()

    def check(self) -> None:
        """Raise ``Cancelled`` where it is not."""
        if self._event.is_set():
            raise Cancelled


class Pool:
    """Threads, and a limit to what waits for them.

    Args:
        threads: How many.
        waiting: Pieces of work that may wait.
        name: Of the threads.
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._room, self._lock = threads + waiting, threading.Lock()
        self._work: dict[Future[Any], Stop] = {}

    async def run(self, work: Callable[..., T], *args: Any, stop: Stop | None = None) -> T:
        """What ``work(*args)`` gives; ends early, at the next progress, where ``stop`` is asked for.

        Raises:
            Refused: Too much work waits already.
        """
        ended = stop or Stop()

        def done() -> T:
            ended.check()
            with display.told(lambda name, fraction, progress: ended.check()):
                return work(*args)

        with self._lock:
            if len(self._work) >= self._room:
                raise Refused(503, "the studio draws as much as it can at once: try again in a moment", 2)
            future = self._threads.submit(done)
            self._work[future] = ended
        future.add_done_callback(self._leave)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            ended.ask()
            raise

    def _leave(self, future: Future[Any]) -> None:
        with self._lock:
            self._work.pop(future, None)

    @property
    def busy(self) -> int:
        """Pieces of work that go on or wait."""
        return len(self._work)

    def close(self) -> None:
        """Take no more work; what has begun ends at its next progress."""
        with self._lock:
            stops = list(self._work.values())
        for stop in stops:
            stop.ask()
        self._threads.shutdown(wait=False, cancel_futures=True)
