"""Damaged inputs of every kind: whatever limner reads, only a ``LimnerError`` may come of it.

    python -m benchmarks.fuzz [--minutes 1] [--inputs N] [--seed 0] [--only KIND ...] [--out fuzz-escapes] [--json]

Small whole files are damaged (`benchmarks.mutations`) and read: every format of images, archives, arrays, published
sets (`benchmarks.fuzz_sources`), and every file of a run (`benchmarks.fuzz_runs`, kinds that begin with ``run/``). An
escape is any exception but ``LimnerError``, more than 5 seconds, more than 1 GiB of memory beyond ``LIMIT``, or the end
of the process. All happens in a second process, which may die. The first inputs of each escape are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from limner.errors import LimnerError

__all__ = ["Tally", "fuzz", "kinds"]

SECONDS, BYTES = 5, 1 << 30  # what an input may take, the latter beyond ``LIMIT``
KEPT = 3  # inputs of an escape


class Tally:
    """What came of the tries: inputs by kind, how many were read and refused, and the escapes."""

    def __init__(self) -> None:
        self.inputs: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.escapes: dict[str, dict[str, Any]] = {}
        self.slowest = 0.0
        self.peak = 0  # bytes beyond those that the process began with

    def escape(self, kind: str, what: str, folder: Path, out: Path | None) -> None:
        """Count an escape, and keep its input."""
        found = self.escapes.setdefault(f"{kind}: {what}", {"count": 0, "inputs": []})
        found["count"] += 1
        if out is not None and len(found["inputs"]) < KEPT:
            place = out / f"{kind.replace('/', '-')}-{abs(hash((kind, what))) % 10**6:06}-{found['count']}"
            shutil.copytree(folder, place, dirs_exist_ok=True, symlinks=True)
            found["inputs"].append(str(place))

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        runs = sum(n for kind, n in self.inputs.items() if kind.startswith("run/"))
        return {
            "inputs": self.inputs.total() - runs,
            "run_files": runs,
            "escapes": sum(found["count"] for found in self.escapes.values()),
            "slowest_seconds": round(self.slowest, 2),
            "peak_megabytes": round(self.peak / 1e6),
            "outcomes": dict(self.outcomes),
            "kinds": dict(sorted(self.inputs.items())),
            "found": self.escapes,
        }


def kinds(run: Path | None = None, only: list[str] | None = None) -> dict[str, Any]:
    """All kinds of inputs; ``run`` is a folder of tiny trained runs, made where it is None and one is wanted."""
    from benchmarks.fuzz_runs import run_files
    from benchmarks.fuzz_sources import sources

    def wanted(name: str) -> bool:
        return not only or any(name.startswith(prefix) for prefix in only)

    made = {name: write for name, write in sources().items() if wanted(name)}
    if not only or any(prefix.startswith("run") for prefix in only):
        made |= {name: write for name, write in run_files(run).items() if wanted(name)}
    return made


def fuzz(
    written: dict[str, Any],
    seed: int,
    first: int,
    enough: Callable[[Tally], bool],
    tell: Callable[[str, Path], None] = lambda kind, folder: None,
    out: Path | None = None,
    tally: Tally | None = None,
) -> tuple[Tally, int]:
    """Try one damaged input after the other, from the try ``first`` on; gives the tally and the next try."""
    from benchmarks.fuzz_sources import KINDS

    tally = tally or Tally()
    single = [name for name in written if name in KINDS]  # eight images at a time
    runs = [name for name in written if name.startswith("run/")]
    groups = [group for group in (single, [n for n in written if n not in (*single, *runs)], runs) if group]
    weights = [1 if group is runs else 2 for group in groups]  # runs take longest
    before, i = _peak(), first
    with tempfile.TemporaryDirectory() as place:
        while not enough(tally):
            chance = random.Random(f"{seed} {i}")
            kind, folder = chance.choice(chance.choices(groups, weights)[0]), Path(place) / "input"
            folder.mkdir()
            i += 1
            n, read = written[kind](folder, chance)
            tell(kind, folder)
            began = time.perf_counter()
            outcome, what = "read", ""
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    read()
            except LimnerError as error:
                outcome = "refused"
                if "\n" in str(error):
                    what = "a message of several lines"
            except Exception as error:  # noqa: BLE001 - what this is about
                what = f"{type(error).__name__} at {_where(error)}: {' '.join(str(error).split())[:100]}"
            seconds = time.perf_counter() - began
            if not what and seconds > SECONDS:
                what = f"took {SECONDS} seconds or more"
            tally.slowest, tally.peak = max(tally.slowest, seconds), max(tally.peak, _peak() - before)
            if not what and _peak() - before > BYTES:
                what = "took more than a GiB beyond the limit"
            tally.inputs[kind] += n
            tally.outcomes["escaped" if what else outcome] += n
            if what:
                tally.escape(kind, what, folder, out)
            shutil.rmtree(folder)
    return tally, i


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _where(error: BaseException) -> str:
    """The innermost line of limner, which names an escape whatever a library says of it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "limner" in Path(f.filename).parts]
    return f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "nowhere in limner"


def _work(pipe: Connection, asked: argparse.Namespace, run: Path, first: int) -> None:
    """The second process: tells what it is at, and the tally every second."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))  # the machine lives
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff talks
    written, tally, told = kinds(run, asked.only), Tally(), time.time()
    i = first

    def enough(tally: Tally) -> bool:
        return bool(tally.inputs) and (time.time() - told > 1 or tally.peak > BYTES)

    while True:
        told, tally = time.time(), Tally()
        tally, i = fuzz(written, asked.seed, i, enough, lambda *at: pipe.send(at), asked.out, tally)
        pipe.send((tally, i))
        if tally.peak > BYTES:
            return  # the peak stays: a new process begins anew


def _added(total: Tally, part: Tally) -> None:
    total.inputs += part.inputs
    total.outcomes += part.outcomes
    total.slowest, total.peak = max(total.slowest, part.slowest), max(total.peak, part.peak)
    for name, found in part.escapes.items():
        known = total.escapes.setdefault(name, {"count": 0, "inputs": []})
        known["count"] += found["count"]
        known["inputs"] = (known["inputs"] + found["inputs"])[:KEPT]


def main() -> None:
    """Fuzz for some minutes and print what came of it; exit code 1 where anything escaped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--inputs", type=int, default=0, metavar="N", help="end after so many inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="I", help="the first try: go on where another ended")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="kinds that begin so: png, zip, run/config.toml ...")
    parser.add_argument("--out", type=Path, default=Path("fuzz-escapes"), help="where inputs that escape are kept")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    from benchmarks.fuzz_runs import tiny_runs

    total, i = Tally(), asked.first
    with tempfile.TemporaryDirectory() as folder:
        with_runs = not asked.only or any(kind.startswith("run") for kind in asked.only)
        run = tiny_runs(Path(folder)) if with_runs else Path(folder)
        end = time.time() + 60 * asked.minutes
        spawn = multiprocessing.get_context("spawn")
        while time.time() < end and not 0 < asked.inputs <= total.inputs.total():
            pipe, theirs = spawn.Pipe()
            worker = spawn.Process(target=_work, args=(theirs, asked, run, i), daemon=True)
            worker.start()
            theirs.close()
            at: tuple[str, Path] | None = None
            since = i
            try:
                while time.time() < end and not 0 < asked.inputs <= total.inputs.total():
                    if not pipe.poll(60 if at is None else 12 * SECONDS):
                        raise EOFError("it hangs")
                    said = pipe.recv()
                    if isinstance(said[0], Tally):
                        _added(total, said[0])
                        i = since = said[1]
                    else:
                        at, since = said, since + 1
            except (EOFError, OSError) as error:
                if at is not None and worker.exitcode != 0:
                    worker.join(1)
                    total.inputs[at[0]] += 1
                    total.escape(at[0], f"the process ended ({worker.exitcode}): {error}", at[1], asked.out)
                i = since
            worker.kill()
            worker.join()
    record = total.record() | {"seed": asked.seed, "first": asked.first, "next": i}
    if asked.json:
        print(json.dumps(record))
    else:
        print(f"{record['inputs']:,} inputs and {record['run_files']:,} files of runs, {record['escapes']} escapes")
        for name, found in record["found"].items():
            print(f"{found['count']:6} × {name}  {' '.join(found['inputs'][:1])}")
    sys.exit(record["escapes"] > 0)


if __name__ == "__main__":
    main()
