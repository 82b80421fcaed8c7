"""The runs' folders, looked at twice a second while a page listens: also runs that a terminal trains are live."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.files import is_locked
from limner.runs import CONFIG, EVALUATIONS, LOCK, runs_folder
from limner.studio.describing import clean, sheet_url
from limner.studio.events import Hub
from limner.training.journal import METRICS

__all__ = ["watch"]

EVERY = 0.5  # seconds
MOST = 1 << 20  # bytes of metrics that are told at once

log = logging.getLogger("uvicorn.error")


@dataclass
class Seen:
    """What was there when a run was looked at."""

    metrics: tuple[int, int] = (0, 0)  # inode, bytes
    evaluations: int = 0
    sheets: set[str] = field(default_factory=set)
    running: bool = False


def _size(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size


def _look(folder: Path) -> Seen:
    try:
        sheets = {name for name in os.listdir(folder / "samples") if name.endswith(".png") and name[:-4].isdecimal()}
    except OSError:
        sheets = set()
    return Seen(_size(folder / METRICS), _size(folder / EVALUATIONS)[1], sheets, is_locked(folder / LOCK))


def _news(folder: Path, before: Seen, now: Seen) -> Iterator[dict[str, Any]]:
    """What is new of a run."""
    said = {"type": "run", "run": folder.name}
    if now.metrics != before.metrics:
        yield said | {"what": "metrics", "metrics": _lines(folder / METRICS, before.metrics, now.metrics)}
    for sheet in sorted(now.sheets - before.sheets):
        yield said | {"what": "sheet", "step": int(sheet[:-4]), "url": sheet_url(folder.name, sheet)}
    if now.evaluations != before.evaluations:
        yield said | {"what": "evaluation"}
    if before.running and not now.running:
        yield said | {"what": "finished"}


def _lines(path: Path, before: tuple[int, int], now: tuple[int, int]) -> list[Any]:
    """The new lines of a file that has only grown; none where it is another."""
    start, end = before[1], now[1]
    if (before[0] not in (0, now[0])) or end <= start or end - start > MOST:
        return []
    try:
        with path.open("rb") as file:
            file.seek(start)
            return [json.loads(line) for line in file.read(end - start).splitlines() if line.strip()]
    except (OSError, ValueError):
        return []


def _scan(known: dict[str, Seen], first: bool) -> list[dict[str, Any]]:
    """What is new of all runs; ``known`` is brought to now."""
    parent = runs_folder()
    try:
        names = [e.name for e in os.scandir(parent) if not e.name.startswith(".")]
    except OSError:
        names = []
    there = {name: parent / name for name in names if (parent / name / CONFIG).is_file()}
    events = []
    for name in [name for name in known if name not in there]:
        del known[name]
        events.append({"type": "run", "run": name, "what": "deleted"})
    for name, folder in there.items():
        now = _look(folder)
        if name not in known and not first:
            events.append({"type": "run", "run": name, "what": "created"})
        if not first:
            events += _news(folder, known.get(name, Seen()), now)
        known[name] = now
    return [clean(event) for event in events]


async def watch(hub: Hub) -> None:
    """Tell the hub what is new of the runs, for ever."""
    known: dict[str, Seen] = {}
    first = True
    while True:
        await asyncio.sleep(EVERY)
        if not hub.listeners:
            first = True  # what happened meanwhile, a page reads when it comes
            continue
        try:
            for event in await asyncio.to_thread(_scan, known, first):
                hub.tell(event)
            first = False
        except OSError:
            log.exception("the runs could not be looked at")
