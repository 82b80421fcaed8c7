"""Commands in processes of their own, killed at a random moment or at one of their writes, and what is left compared.

Shared by `benchmarks.faults` and the tests.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open

__all__ = ["CONTEXT", "TIMES", "Aim", "Ended", "Worker", "differences", "mounted", "save_often", "tensors"]

TIMES = ("seconds", "images_per_second")
CONTEXT = multiprocessing.get_context("forkserver")  # processes are forked from one that has all of these imported
CONTEXT.set_forkserver_preload(["benchmarks.crashes", "limner.workbench", "sklearn.datasets"])


class Aim(NamedTuple):
    """A moment: the ``n``-th time that ``event`` (as in ``replace model.safetensors``) comes in a process."""

    event: str
    n: int = 1


class Ended(NamedTuple):
    """How a process ended: its exit code (-9: killed), and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Whether it said one line and left with exit code 2."""
        return self.code == 2 and self.out == "" and self.err.startswith("limner: ") and self.err.count("\n") == 1


class Worker:
    """Starts ``limner WORDS`` in ``folder``, in a process forked from one that has everything imported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        *words: str,
        aim: Aim | None = None,
        seen: Path | None = None,
        most: int = 0,
        barrier: Barrier | None = None,
    ) -> Running:
        """Start a command.

        Args:
            words: Of the command line.
            aim: When it kills itself.
            seen: A file that is told the events, a line each.
            most: Bytes that a file may grow to (a full disk); 0: any number.
            barrier: Waited for before the command begins.
        """
        self.started += 1
        log = self.folder / f"process-{self.started}"
        process = CONTEXT.Process(target=_command, args=(words, self.folder, log, aim, seen, most, barrier))
        process.start()
        return Running(process, log)

    def call(self, *words: str, **more: Any) -> Ended:
        """Start a command and wait for its end."""
        return self.start(*words, **more).wait()


class Running:
    """A process that was started."""

    def __init__(self, process: multiprocessing.process.BaseProcess, log: Path) -> None:
        self.process, self.log = process, log

    def wait_for(self, path: Path) -> None:
        """Wait until there is such a file, or the process has ended without one."""
        while not path.is_file() and self.process.is_alive():
            time.sleep(0.002)

    def wait(self, seconds: float | None = None) -> Ended:
        """Wait for its end, for ``seconds`` at most and then kill it."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        out, err = (self.log.with_suffix(kind) for kind in (".out", ".err"))
        told = [file.read_text(encoding="utf-8") if file.is_file() else "" for file in (out, err)]
        for file in (out, err):
            file.unlink(missing_ok=True)
        return Ended(self.process.exitcode or 0, *told)


def _command(
    words: Sequence[str],
    folder: Path,
    log: Path,
    aim: Aim | None,
    seen: Path | None,
    most: int,
    barrier: Barrier | None,
) -> None:
    os.chdir(folder)
    os.environ.pop("LIMNER_RUNS", None)
    for kind, stream in ((".out", 1), (".err", 2)):
        os.dup2(os.open(log.with_suffix(kind), os.O_WRONLY | os.O_CREAT), stream)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    from limner.cli import main

    if aim or seen:
        _watch(aim, seen)
    if most:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    if barrier is not None:
        barrier.wait()
    main(list(words))


def _watch(aim: Aim | None, seen: Path | None) -> None:
    """Call an event before every write, flush and rename, and in the midst; die at the one that was aimed at."""
    from limner.training.journal import Journal

    counts: Counter[str] = Counter()
    told = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if seen else -1

    def event(kind: str, path: str | os.PathLike[str], halve: Callable[[], object] = lambda: None) -> None:
        name = re.sub(r"\.tmp-.*|^\.", "", os.path.basename(path))
        label = f"{kind} {re.sub('[0-9]{6}', 'NNNNNN', name)}"
        counts[label] += 1
        if told >= 0:
            os.write(told, f"{label}\n".encode())
        if aim is not None and aim == (label, counts[label]):
            halve()
            os.kill(os.getpid(), signal.SIGKILL)

    def flush(handle: int, *, real: Callable[[int], None] = os.fsync) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if ".tmp-" in path:
            event("half", path, lambda: os.ftruncate(handle, os.fstat(handle).st_size // 2))
        event("fsync", path)
        real(handle)

    def replace(old: Any, new: Any, *, real: Callable[..., None] = os.replace) -> None:
        event("replace", new)
        real(old, new)
        event("replaced", new)

    def write(self: Any, step: int, record: Any, *, real: Callable[..., None] = Journal.write) -> None:
        event("line", "metrics.jsonl", lambda: (self._file.write('{"step": '), self._file.flush()))
        real(self, step, record)

    def opened(name: str, words: tuple[Any, ...]) -> None:
        if name == "open" and isinstance(words[1], str) and set(words[1]) & set("wxa") and words[0] != seen:
            event("open", os.fsdecode(words[0]) if not isinstance(words[0], int) else str(words[0]))

    os.fsync, os.replace, Journal.write = flush, replace, write  # type: ignore[assignment, method-assign]
    sys.addaudithook(opened)


def tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and header of a file, read as any program would."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["limner"])
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


def differences(folder: Path, reference: Path) -> list[str]:
    """What two finished runs differ in, bit for bit but for times; none for one that was stopped and resumed."""
    import torch

    from limner.training.journal import read_metrics

    found = []
    for name in ("model.safetensors", "state.safetensors"):
        (ours, header), (theirs, expected) = tensors(folder / name), tensors(reference / name)
        if ours.keys() != theirs.keys():
            found.append(f"{name}: other tensors")
        same = (k for k in ours.keys() & theirs.keys() if ours[k].dtype == theirs[k].dtype)
        if sum(torch.equal(ours[k], theirs[k]) for k in same) != len(theirs):
            found.append(f"{name}: other values")
        for each in (header, expected):
            each.pop("seconds", None), each.pop("blake2b", None)
        if header != expected:
            found.append(f"{name}: another header")
    lines, wanted = (
        [{k: v for k, v in r.items() if k not in TIMES} for r in read_metrics(f)] for f in (folder, reference)
    )
    if lines != wanted:
        found.append("metrics.jsonl: other lines")
    if left := [str(p.relative_to(folder)) for p in folder.rglob(".*.tmp-*")]:
        found.append(f"temporaries are left: {left}")
    images, expected_images = ({p.name: p.read_bytes() for p in (f / "samples").iterdir()} for f in (folder, reference))
    if images != expected_images:
        found.append("samples: other images")
    found += [f"{page} is missing" for page in ("report.html", "README.md") if not (folder / page).is_file()]
    return found


def save_often(folder: Path, saves: int) -> None:
    """Save weights that are all the number of the save, which stands in the header too."""
    import torch

    from limner.models.vae import VAE, VAEConfig
    from limner.training.checkpoints import save_model, save_state

    model = VAE(VAEConfig(hidden=64), (1, 8, 8), 17).requires_grad_(False)
    averaged = copy.deepcopy(model)
    for step in range(saves):
        for parameter in (*model.parameters(), *averaged.parameters()):
            parameter.fill_(step)
        save_model(folder, model, averaged, {"step": step})
        save_state(folder, {"all": torch.full((50_000,), float(step))}, {"step": step})


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path | None]:
    """A small disk of its own at ``folder``; None where we have no right to mount."""
    folder.mkdir()
    try:
        done = (
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode
            == 0
        )
    except FileNotFoundError:
        done = False
    try:
        yield folder if done else None
    finally:
        if done:
            subprocess.run(["umount", folder], check=True)
