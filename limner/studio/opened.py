"""Opened runs: a few models are held, each as long as its weights on the disk are the same."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from limner.errors import LimnerError
from limner.runs import CONFIG, runs_folder
from limner.studio.limits import Refused
from limner.training.checkpoints import MODEL
from limner.workbench import Run, open_run

__all__ = ["Models", "Opened", "run_folder", "weights_of"]

NAME = re.compile(r"[\w][\w.+=-]{0,199}")  # as limner.runs has it: no separator, no hidden file
Signature = tuple[int, int, int]


def run_folder(name: str) -> Path:
    """The folder of the run called ``name`` in the folder of runs, and nowhere else.

    Raises:
        Refused: There is none.
    """
    if NAME.fullmatch(name):
        folder = runs_folder() / name
        if (folder / CONFIG).is_file():
            return folder
    raise Refused(404, f"there is no run {name[:50]!r}")


def _signature(path: Path) -> Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


_digests: dict[Path, tuple[Signature, str]] = {}


def weights_of(folder: Path) -> str | None:
    """A hash of the run's weights; None where it has none yet."""
    path = folder / MODEL
    signature = _signature(path)
    if signature is None:
        return None
    known = _digests.get(path)
    if known is None or known[0] != signature:
        try:
            known = signature, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        except OSError:
            return None
        if len(_digests) > 1000:
            _digests.clear()
        _digests[path] = known
    return known[1]


@dataclass
class Opened:
    """A run whose model is loaded.

    Attributes:
        run: The run.
        weights: A hash of the file that its weights are from.
        lock: Held by who uses the model.
    """

    run: Run
    weights: str
    lock: threading.RLock = field(default_factory=threading.RLock)


class Models:
    """The runs that were used last, ``most`` of them; for threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def get(self, name: str) -> Opened:
        """The run called ``name`` with the weights that it has now.

        Raises:
            LimnerError: There is no such run, or it has no weights yet.
        """
        folder = run_folder(name)
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            weights = weights_of(folder)
            with self._lock:
                held = self._held.get(name)
                if held is not None and held.weights == weights:
                    self._held.move_to_end(name)
                    return held
            return self._load(name, folder)

    def _load(self, name: str, folder: Path) -> Opened:
        for _ in range(5):  # a training may replace the weights meanwhile
            before = weights_of(folder)
            run = open_run(folder)
            run.model  # noqa: B018 - is loaded
            if before is not None and before == weights_of(folder):
                opened = Opened(run, before)
                with self._lock:
                    self._held[name] = opened
                    self._held.move_to_end(name)
                    while len(self._held) > self.most:
                        self._loading.pop(self._held.popitem(last=False)[0], None)
                return opened
        raise LimnerError(f"run {name!r} is being trained, and its weights change too fast to be read: try again")

    def forget(self, name: str) -> None:
        """Let a run go that is deleted."""
        with self._lock:
            self._held.pop(name, None)
