"""What the routes share."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.runs import runs_folder
from limner.studio.describing import UPLOADS
from limner.studio.drawing import Pool
from limner.studio.events import Hub
from limner.studio.jobs import Jobs
from limner.studio.limits import Limits, Refused
from limner.studio.opened import Models
from limner.workbench.duel import Duel

__all__ = ["Kept", "Studio"]


class Kept:
    """A few things by name, ``most`` at most; the one that was used longest ago goes first. For threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._things: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, name: str, value: Any) -> None:
        """Keep ``value``."""
        with self._lock:
            self._things[name] = value
            self._things.move_to_end(name)
            while len(self._things) > self.most:
                self._things.popitem(last=False)

    def used(self, name: str) -> Any:
        """What has that name, or None."""
        with self._lock:
            if name in self._things:
                self._things.move_to_end(name)
            return self._things.get(name)


@dataclass
class Studio:
    """One server.

    Attributes:
        limits: How much it takes in.
        hub: All that happens.
        jobs: What takes long.
        models: Opened runs.
        slow: Threads that draw.
        quick: A thread for what must answer at once: the pad.
        drawn: Samples that were drawn lately.
        previews: Contact sheets of named sources.
        games: Of two players.
        token: That must be given; None where the studio is this machine's only.
        host: Where it listens.
        warm: Whether a process waits for the next job.
    """

    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    host: str = "127.0.0.1"
    warm: bool = False
    hub: Hub = field(default_factory=Hub)

    def __post_init__(self) -> None:
        self.jobs, self.models = Jobs(self.hub, self.limits), Models(self.limits.models)
        self.slow = Pool(self.limits.draws, self.limits.draws_waiting, "draw")
        self.quick = Pool(1, 4 * self.limits.sockets, "walk")
        self.drawn, self.previews = Kept(32), Kept(16)
        self.games: dict[str, Duel] = {}
        self.uploading = asyncio.Semaphore(2)

    def game(self, name: str) -> Duel:
        """The game of that name.

        Raises:
            Refused: There is none.
        """
        if (found := self.games.get(name)) is None:
            raise Refused(404, "there is no such game any more: begin another")
        return found

    @property
    def uploads(self) -> Path:
        """Where uploads lie."""
        return runs_folder() / UPLOADS

    def new_game(self, game: Duel) -> str:
        """Keep a game; gives its name."""
        name = f"g{secrets.token_hex(4)}"
        self.games[name] = game
        while len(self.games) > self.limits.games:
            self.games.pop(next(iter(self.games)))
        return name
