"""What training and sampling cost, against pixels, images in a batch and processes: seconds, bytes, exponents.

    python -m benchmarks.scaling [--json] [--models pixelcnn vae gan] [--sides 28 64 128] [--batches 8 32] [--ranks 1 2]

Colour images of smooth noise. Each cell is a process of its own: the median of some steps after the first, their images
a second, the peak of resident memory above that of the process before its first step, and the seconds of drawing four
images. The exponents are of y = a x^b between the smallest and the largest x, the rest being equal.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import resource
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from benchmarks.crashes import CONTEXT
from limner import sampling
from limner.data.batches import Batch
from limner.models import family
from limner.models.recipes import AdversarialConfig
from limner.noise import seeded
from limner.training.adversarial import Adversarial
from limner.training.memory import keep_freed_memory
from limner.training.objectives import SingleLoss
from limner.training.processes import joined

SECONDS = 6.0  # of steps in a cell


def images_of(n: int, side: int) -> torch.Tensor:
    """Smooth colour noise, uint8 ``(n, 3, side, side)``."""
    rough = torch.rand(n, 3, max(2, side // 8), max(2, side // 8), generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(rough, (side, side), mode="bilinear", align_corners=False)
    return (smooth * 255).to(torch.uint8)


def _cell(rank: int, count: int, where: str, model: str, side: int, batch: int, queue: Any) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LIMNER_RENDEZVOUS=where)
    with joined() as processes:
        chosen = family(model)
        recipe = chosen.recipe("default", (3, side, side))
        with seeded(0):
            network: Any = chosen.model(recipe.network, (3, side, side), 256)
        network = network.to(memory_format=torch.channels_last)
        fabric, config = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"), recipe.training
        kind: Any = Adversarial if isinstance(config, AdversarialConfig) else SingleLoss
        objective = kind(network, config, fabric, processes=processes)
        images = Batch(images_of(batch, side))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        objective.step(images, 1.0, 0)
        seconds: list[float] = []
        while processes.agreed(sum(seconds)) < SECONDS and len(seconds) < 200:
            start = time.perf_counter()
            objective.step(images, 1.0, 1 + len(seconds))
            seconds.append(time.perf_counter() - start)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if processes.first:
            start = time.perf_counter()
            if side <= 64 or model in ("vae", "gan"):
                sampling.sample(network.eval(), 4, generator=torch.Generator().manual_seed(0))
            drawing = time.perf_counter() - start
            step = statistics.median(seconds)
            found = {"step_seconds": step, "images_per_second": batch / step, "peak_bytes": peak}
            if side <= 64 or model in ("vae", "gan"):
                found["sampling_seconds"] = drawing
            queue.put(found)


def measure(model: str, side: int, batch: int, ranks: int) -> dict[str, Any]:
    """One cell."""
    queue = CONTEXT.Queue()
    where = f"file:///tmp/limner-scaling-{os.getpid()}-{time.monotonic_ns()}"
    cells = [CONTEXT.Process(target=_cell, args=(r, ranks, where, model, side, batch, queue)) for r in range(ranks)]
    for cell in cells:
        cell.start()
    found: dict[str, Any] = queue.get(timeout=600)
    for cell in cells:
        cell.join()
    return {"model": model, "side": side, "batch": batch, "ranks": ranks} | found


def exponents(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each figure against pixels, batch and ranks: b of y = a x^b from the smallest to the largest x."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        for along, figures in (
            ("side", ("step_seconds", "peak_bytes", "sampling_seconds")),
            ("batch", ("step_seconds", "peak_bytes")),
            ("ranks", ("images_per_second",)),
        ):
            others = [key for key in ("side", "batch", "ranks") if key != along]
            least = {key: min(row[key] for row in own) for key in others}
            line = sorted((r for r in own if all(r[k] == least[k] for k in others)), key=lambda r: r[along])
            for figure in figures:
                points = [(row[along] ** (2 if along == "side" else 1), row[figure]) for row in line if figure in row]
                if len(points) > 1 and min(points[0][1], points[-1][1]) > 0:
                    b = math.log(points[-1][1] / points[0][1]) / math.log(points[-1][0] / points[0][0])
                    against = "pixels" if along == "side" else along
                    found.append({"model": model, "figure": figure, "against": against, "exponent": round(b, 2)})
    return found


def main() -> None:
    """Print a line a cell and the exponents, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--models", nargs="+", default=["pixelcnn", "vae", "gan"])
    parser.add_argument("--sides", nargs="+", type=int, default=[28, 64, 128])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    arguments = parser.parse_args()
    rows = []
    for model in arguments.models:
        least = arguments.sides[0], arguments.batches[0], arguments.ranks[0]
        for cell in itertools.product(arguments.sides, arguments.batches, arguments.ranks):
            if sum(a != b for a, b in zip(cell, least, strict=True)) > 1:
                continue  # along each axis, not everywhere
            rows.append(measure(model, *cell))
            if not arguments.json:
                print(rows[-1], flush=True)
    found = exponents(rows)
    if arguments.json:
        print(json.dumps({"cells": rows, "exponents": found}))
    else:
        print(*found, sep="\n")


if __name__ == "__main__":
    main()
