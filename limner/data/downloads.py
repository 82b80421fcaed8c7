"""Fetching public files, from one mirror after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from limner.data.options import Progress
from limner.errors import LimnerError, reason_of

__all__ = ["Remote", "fetch"]

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


@dataclass(frozen=True)
class Remote:
    """A public file."""

    name: str  # as it is kept
    mirrors: Sequence[str]  # addresses, in the order to try them
    md5: str | None = None  # None where none is published


class _Bar:
    """What pooch wants of a progress bar."""

    def __init__(self, name: str, on_progress: Progress | None) -> None:
        self.name, self.on_progress, self.total, self.done = name, on_progress, 0, 0

    def update(self, n: int) -> None:
        self.done += n
        if self.on_progress is not None:
            self.on_progress(f"downloading {self.name}", self.done, max(self.total, self.done))

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def fetch(remote: Remote, folder: Path, on_progress: Progress | None = None) -> Path:
    """Download ``remote`` into ``folder``: whole and with its checksum, or not at all.

    Raises:
        LimnerError: No mirror gave the file.
    """
    import pooch

    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)  # progress goes to on_progress, not to stderr
    failures: list[str] = []
    try:
        for url in remote.mirrors:
            bar = _Bar(remote.name, on_progress)
            try:
                path = pooch.retrieve(
                    url,
                    known_hash=remote.md5 and f"md5:{remote.md5}",
                    fname=remote.name,
                    path=folder,
                    downloader=pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT),
                )
            except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong checksum a ValueError
                failures.append(f"{urlsplit(url).hostname}: {_why(error)}")
            else:
                return Path(path)
    finally:
        log.setLevel(level)
    raise LimnerError(f"cannot download {remote.name} ({'; '.join(failures)}): put the file into {folder} yourself")


def _why(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "no permission to write there"
    if isinstance(error, ValueError) and "hash" in str(error):
        return "wrong checksum"
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    known = {"ConnectTimeout": "no answer", "ReadTimeout": "no answer", "ConnectionError": "no connection"}
    return known.get(type(error).__name__) or reason_of(error)
