"""What happens, for every page that listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["Hub"]

MOST = 1000  # events that a page may be behind, before it is left alone


class Hub:
    """Hands every event to all that listen; used in the event loop's thread only."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[dict[str, Any] | None]] = set()

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._queues)

    def tell(self, event: dict[str, Any]) -> None:
        """Give ``event`` to all; a listener that is far behind hears None, the end."""
        for queue in list(self._queues):
            behind = queue.qsize() >= MOST
            if behind:
                self._queues.discard(queue)
            queue.put_nowait(None if behind else event)

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Queue[dict[str, Any] | None]]:
        """A queue of all events from now on."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)
