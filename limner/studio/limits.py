"""How much the studio takes in and does at a time, and what it says where that is too much."""

from __future__ import annotations

from dataclasses import dataclass

from limner.errors import LimnerError

__all__ = ["Limits", "Refused"]


@dataclass(frozen=True)
class Limits:
    """Of one studio."""

    upload_bytes: int = 1 << 28
    """Of all files of one upload."""
    upload_files: int = 2000
    """Of images in one upload."""
    uploads: int = 50
    """Uploads that are kept."""
    kept_bytes: int = 1 << 31
    """Of all uploads together."""
    body_bytes: int = 1 << 25
    """Of any other request."""
    message_bytes: int = 1 << 23
    """Of a message on a WebSocket."""
    sockets: int = 100
    """WebSockets that are open."""
    sample_n: int = 64
    """Images drawn by one request."""
    complete_n: int = 16
    """Completions drawn by one request."""
    jobs_waiting: int = 8
    """Trainings that wait, and evaluations."""
    draws: int = 2
    """Drawings at a time."""
    draws_waiting: int = 14
    """Drawings that wait."""
    models: int = 4
    """Models that are held."""
    games: int = 16
    """Games of two players that are held."""


class Refused(LimnerError):
    """A request that is answered with another status than 400.

    Attributes:
        status: Of HTTP.
        retry_after: Seconds after which it may be tried again, where that helps.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
