"""Several processes of one command on this machine, which torchrun would do for several machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import FrameType

__all__ = ["launch"]

GRACE = 30.0  # seconds in which the others may end by themselves, once one has failed
STOPPED = 130  # the exit code of a training that was asked to stop, and saved
SIGNALS = [s for name in ("SIGINT", "SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)) is not None]


def launch(words: Sequence[str], count: int) -> int:
    """Run ``limner WORDS`` in ``count`` processes; gives the exit code of all.

    A signal goes to each of them. Where one fails the others end too.
    """
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {"OMP_NUM_THREADS": threads} | os.environ | {"WORLD_SIZE": str(count)}
    with tempfile.TemporaryDirectory(prefix="limner-") as folder:
        environment["LIMNER_RENDEZVOUS"] = f"file://{folder}/rendezvous"
        children: list[subprocess.Popen[bytes]] = []

        def pass_on(number: int, frame: FrameType | None) -> None:
            for child in children:
                child.send_signal(number)

        before = {s: signal.signal(s, pass_on) for s in SIGNALS}
        try:
            for rank in range(count):
                own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                command = [sys.executable, "-m", "limner", *words]
                # In a group of their own: Ctrl-C in a terminal reaches this process, which passes it on once.
                children.append(subprocess.Popen(command, env=own, start_new_session=True))
            return _end_of(children)
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
            for s, handler in before.items():
                signal.signal(s, handler)


def _end_of(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; the first failure counts."""
    failed: int | None = None
    until = float("inf")
    while any(child.poll() is None for child in children) and time.monotonic() < until:
        bad = [(rank, child.returncode) for rank, child in enumerate(children) if child.returncode]
        if bad and failed is None:
            rank, failed = bad[0]
            until = time.monotonic() + GRACE
            if failed < 0:  # by a signal that it could not catch
                said = f"process {rank} of {len(children)} was killed by {signal.Signals(-failed).name}"
                print(f"limner: {said}: the others end; the last checkpoint is whole", file=sys.stderr, flush=True)
        time.sleep(0.05)
    codes = [child.poll() for child in children]
    if STOPPED in codes:
        return STOPPED
    failed = failed if failed is not None else next((code for code in codes if code), 0)
    return 75 if failed < 0 else failed  # EX_TEMPFAIL: to be tried again
