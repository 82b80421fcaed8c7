"""What becomes of anybody's images: sizes, families and numbers of images, half a minute each.

    python -m benchmarks.own_images [--json] [--only FAMILY] [--match TEXT] [--minutes-each 0.5]

A cell is a training in a process of its own, on images cut from the two photographs that scikit-learn bundles (in grey
where they are 28 pixels wide or less). Its peak memory is the kernel's (VmHWM); its seconds are those of the training,
from when the images are loaded to the end, report included. Each cell is printed as it is done. A cell that
takes more than 14 GiB is ended, so that the machine is not lost, and so is one that does not end by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 12 << 30  # bytes that a cell may take
GUARD = 14 << 30  # resident bytes beyond which it is ended
LATE_PART, LATE_SECONDS = 0.1, 10.0  # of the budget, the larger of which a run may be late
SIZES = ((8, 8), (28, 28), (64, 64), (128, 128), (256, 256), (800, 600))  # width, height
QUICK = ("vae", "pixelcnn", "gan")  # families that are tried with every number of images
RESULT = "own-images: "


@dataclass(frozen=True)
class Cell:
    """A training.

    Attributes:
        family: Name of the model's family.
        width: Of the images, in pixels.
        height: Likewise.
        images: How many.
        size: Whether ``size`` is given, or limner chooses.
    """

    family: str
    width: int
    height: int
    images: int
    size: bool

    @property
    def name(self) -> str:
        """In words."""
        chosen = "" if self.size else ", size chosen"
        return f"{self.family} {self.width}×{self.height}, {self.images:,} images{chosen}"


def cells(names: Sequence[str]) -> list[Cell]:
    """Every family at three sizes with 200 images; some at all sizes, with 12 and 5,000, and with no size given."""
    found: list[Cell] = []
    for name in names:
        sizes = SIZES if name in QUICK else [s for s in SIZES if s[0] in (28, 128, 800)]
        found += [Cell(name, *size, 200, True) for size in sizes]
        if name in QUICK:
            found += [Cell(name, *size, 12, True) for size in ((28, 28), (128, 128), (800, 600))]
            found += [Cell(name, 28, 28, 5000, True), Cell(name, 800, 600, 200, False)]
    return found


def make_images(folder: Path, width: int, height: int, n: int) -> None:
    """Write ``n`` pieces of two photographs below ``folder``; without colour where they are 28 pixels wide or less."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for i in range(n):
        photo = photos[i % 2]
        most = min(photo.width / width, photo.height / height)
        scale = most * rng.uniform(0.3, 1.0)
        w, h = max(1, int(width * scale)), max(1, int(height * scale))
        x, y = int(rng.integers(0, photo.width - w + 1)), int(rng.integers(0, photo.height - h + 1))
        piece = photo.crop((x, y, x + w, y + h)).resize((width, height), Image.Resampling.LANCZOS)
        piece = piece.convert("L") if width <= 28 else piece
        piece.save(folder / f"{i:05d}.png" if width <= 64 else folder / f"{i:05d}.jpg", quality=92)


def train_one(cell: Cell, images: Path, runs: Path, minutes: float) -> None:
    """Train, in this process; the last line on stdout says what came of it."""
    from limner import workbench
    from limner.errors import LimnerError
    from limner.training.journal import read_metrics
    from limner.workbench import training

    began = 0.0
    load = training.load_data

    def loaded(*words: Any, **more: Any) -> Any:
        nonlocal began
        found = load(*words, **more)
        began = time.perf_counter()
        return found

    training.load_data = loaded
    size = (cell.height, cell.width) if cell.size else None
    record: dict[str, Any] = {}
    try:
        run = workbench.train(cell.family, images, size=size, minutes=minutes, runs=runs, quiet=False)
        lines = [line for line in read_metrics(run.folder) if "validation" in line]
        validations = [line["validation"] for line in lines if line["kept"]]  # of the weights that the run is left with
        config = run.config.recipe.training
        record["seconds"] = time.perf_counter() - began
        record["shape"] = list(run.config.data.shape)
        record |= {"batch_size": config.batch_size, "accumulate": config.accumulate}
        record["steps"] = run.outcome.step if run.outcome else 0
        record["samples"] = len(list((run.folder / "samples").glob("*.png")))
        record["validation"] = validations[-1] if validations else None
    except LimnerError as error:
        record |= {"refused": str(error), "seconds": time.perf_counter() - began if began else 0.0}
    print(RESULT + json.dumps(record), flush=True)
    sys.exit(2 if "refused" in record else 0)


def run_cell(cell: Cell, images: Path, minutes: float, folder: Path) -> dict[str, Any]:
    """The cell in a process of its own, watched: what it took, how it ended and what it reached."""
    words = [cell.family, str(cell.width), str(cell.height), str(cell.images), str(int(cell.size))]
    command = [sys.executable, "-m", "benchmarks.own_images", "--cell", *words, str(images), str(folder), str(minutes)]
    log = folder / "stderr"
    folder.mkdir(parents=True)
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        peak, ended = 0, None
        deadline = time.monotonic() + 60 * minutes * 3 + 240
        while process.poll() is None:
            peak = max(peak, *(_status(process.pid, "VmHWM") or [0]))
            if sum(_status(process.pid, "VmRSS")) > GUARD or time.monotonic() > deadline:
                ended = "memory" if time.monotonic() <= deadline else "time"
                process.kill()
            time.sleep(0.1)
        out = process.stdout.read() if process.stdout else ""
    told = log.read_text(encoding="utf-8", errors="replace")
    results = [json.loads(line.removeprefix(RESULT)) for line in out.splitlines() if line.startswith(RESULT)]
    found: dict[str, Any] = results[0] if results else {}
    budget = 60 * minutes
    seconds = found.get("seconds")
    return {
        "cell": cell.name,
        **vars(cell),
        "exit": process.returncode,
        "ended_for": ended,
        "traceback": "Traceback" in told,
        "peak_gib": round(peak / 2**30, 2),
        "within_memory": peak <= MEMORY,
        "within_budget": seconds is not None and seconds <= budget + max(LATE_PART * budget, LATE_SECONDS),
        **found,
        "said": [line for line in told.splitlines() if line.strip()][-12:],
    }


def _status(pid: int, name: str) -> list[int]:
    """Bytes of ``VmHWM`` or ``VmRSS`` of a process; empty once it has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")]
    return []


def measured(chosen: Sequence[Cell], minutes: float) -> Iterator[dict[str, Any]]:
    """Each cell's record, as it is done."""
    with tempfile.TemporaryDirectory() as folder:
        made: dict[tuple[int, int, int], Path] = {}
        for number, cell in enumerate(chosen):
            key = (cell.width, cell.height, cell.images)
            if key not in made:
                made[key] = Path(folder) / "{}x{}-{}".format(*key)
                make_images(made[key], *key)
            yield run_cell(cell, made[key], minutes, Path(folder) / f"cell-{number}")


def row(record: dict[str, Any]) -> str:
    """A line of the docs' table."""
    if "refused" in record:
        reached = f"refused: {record['refused']}"
    elif "steps" in record:
        validation = record.get("validation") or {}
        named = next(((k, v) for k, v in validation.items() if k in ("nats", "error", "distance", "accuracy")), None)
        values = record["shape"][0] * record["shape"][1] * record["shape"][2]
        figure = "" if named is None else f", {named[0]} {named[1]:.4g}"
        if named is not None and named[0] == "nats":
            figure = f", {named[1] / values / 0.6931472:.3f} bits/dim"
        size = f"{record['shape'][2]}×{record['shape'][1]}"
        parts = f" in {record['accumulate']} parts" if record["accumulate"] > 1 else ""
        reached = f"{record['steps']:,} steps of {record['batch_size']}{parts} at {size}{figure}"
    else:
        reached = f"ENDED ({record['ended_for'] or record['exit']})"
    seconds = f"{record['seconds']:.0f}" if record.get("seconds") is not None else "?"
    kept = "yes" if record["within_budget"] else "NO"
    return f"| {record['cell']} | {record['peak_gib']:.1f} | {seconds} | {kept} | {reached} |"


def main() -> None:
    """Print a row for each cell, and with ``--json`` all of them as one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; rows go to stderr")
    parser.add_argument("--only", metavar="FAMILY", help="one family's cells")
    parser.add_argument("--minutes-each", type=float, default=0.5, help="budget of a cell")
    parser.add_argument("--match", default="", help="only cells whose name has this in it, as in 128×128")
    parser.add_argument("--cell", nargs=8, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        name, width, height, n, size, images, folder, minutes = arguments.cell
        cell = Cell(name, int(width), int(height), int(n), size == "1")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        train_one(cell, Path(images), Path(folder) / "runs", float(minutes))
    from limner.models import families

    chosen = [c for c in cells(list(families())) if arguments.only in (None, c.family) and arguments.match in c.name]
    records = []
    out = sys.stderr if arguments.json else sys.stdout
    print("| cell | peak GiB | seconds | budget kept | reached |\n|---|---|---|---|---|", file=out, flush=True)
    for record in measured(chosen, arguments.minutes_each):
        records.append(record)
        print(row(record), file=out, flush=True)
    bad = [r["cell"] for r in records if r["traceback"] or not r["within_memory"] or not r["within_budget"]]
    if arguments.json:
        cores = len(os.sched_getaffinity(0))
        print(json.dumps({"minutes": arguments.minutes_each, "cores": cores, "failed": bad, "cells": records}))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
