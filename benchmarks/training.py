"""How fast models train, and what share of the time is not forward, backward or optimizer.

    python -m benchmarks.training [--json] [--seconds 8] [--repeats 3] [--only MODEL]

The loop of ``limner train`` runs as it is, progress included, on images made here. Only the time between the first
and the last measured step counts: evaluations and checkpoints, which come by the minute and not by the step, stay
outside. The optimizer's share includes clearing the gradients, their norm and clipping, and the moving average of the
weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning_fabric import Fabric

from limner import display
from limner.config.run_config import DataConfig, RunConfig
from limner.data import Batch, Batches, MemoryStore, Split
from limner.models import family
from limner.models.recipes import Recipe
from limner.training.loop import Hooks, train
from limner.training.objectives import SingleLoss
from limner.training.precision import FABRIC_PRECISION

WARM_UP = 5
CASES: list[tuple[str, tuple[int, int, int], int]] = [
    ("pixelcnn", (1, 28, 28), 2),
    ("pixelcnn", (3, 32, 32), 256),
    ("vae", (1, 28, 28), 2),
    ("vae", (3, 32, 32), 256),
]


class Clock:
    """Seconds spent inside wrapped functions while ``running``."""

    def __init__(self) -> None:
        self.inside, self.running = 0.0, False

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if self.running:
                self.inside += time.perf_counter() - start
            return result

        return timed


class Marked(SingleLoss):
    """The single-loss objective, which notes when each step begins."""

    clock: Clock
    marks: list[float]
    steps: int

    def step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step; the clock runs from the first measured one to the beginning of the last."""
        self.marks.append(time.perf_counter())
        self.clock.running = WARM_UP <= step < WARM_UP + self.steps
        return super().step(batch, factor, step)


def measure(
    model: str, shape: tuple[int, int, int], levels: int, precision: str, steps: int, recipe: Recipe | None = None
) -> tuple[float, float]:
    """Images a second, and the share of other work, over ``steps`` steps."""
    recipe = recipe or family(model).recipe("default", shape)
    batch = recipe.training.batch_size
    values = torch.randint(0, levels, (100 * batch, *shape), generator=torch.Generator().manual_seed(0))
    images = Split(MemoryStore(torch.round(values * 255 / (levels - 1)).to(torch.uint8)))
    epochs = (WARM_UP + steps + 1) / Batches(images, batch, 0).steps_per_epoch
    config = replace(recipe.training, epochs=epochs, evaluations=0, sample_images=0, validation_images=1)
    data = DataConfig("made", shape, levels, {"train": len(images)})
    built = RunConfig(model, data, replace(recipe, training=config)).build()
    fabric = Fabric(accelerator="auto", devices=1, precision=FABRIC_PRECISION[precision])
    objective = Marked(built.to(fabric.device), config, fabric)
    clock = objective.clock = Clock()
    objective.marks, objective.steps = [], steps
    timed = [
        (objective, "loss"),
        (objective.fabric, "backward"),
        (objective, "clear_gradients"),
        (objective.optimizers["optimizer"], "clipped_step"),
        (objective.average, "update"),
    ]
    with ExitStack() as stack:
        for target, name in timed:
            stack.enter_context(patch.object(target, name, clock.wrap(getattr(target, name))))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        show = stack.enter_context(display.training("benchmark", built.dimensions))
        train(objective, images, images, Path(folder), hooks=Hooks(progress=show))
    seconds = objective.marks[WARM_UP + steps] - objective.marks[WARM_UP]
    return batch * steps / seconds, max(0.0, 1 - clock.inside / seconds)


def main() -> None:
    """Print a row for each case, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run; the steps follow from it")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; medians are reported")
    parser.add_argument("--only", choices=sorted({model for model, *_ in CASES}), help="one model's cases")
    arguments = parser.parse_args()
    rows = []
    for model, shape, levels in CASES:
        if arguments.only not in (None, model):
            continue
        seen: dict[str, list[tuple[float, float]]] = {"float32": [], "bf16": []}
        batch = family(model).recipe("default", shape).training.batch_size
        rate, _ = measure(model, shape, levels, "bf16", 10)
        steps = max(10, int(arguments.seconds * rate / batch))
        for _ in range(arguments.repeats):
            for precision, runs in seen.items():  # in turn, so that a busy minute meets both
                runs.append(measure(model, shape, levels, precision, steps))
        row: dict[str, Any] = {"model": model, "shape": list(shape), "levels": levels}
        row |= {"batch": batch, "steps": steps}
        for precision, runs in seen.items():
            row[f"{precision}_images_per_second"] = round(statistics.median(rate for rate, _ in runs), 1)
            row[f"{precision}_other_share"] = round(statistics.median(share for _, share in runs), 4)
        row["bf16_over_float32"] = round(row["bf16_images_per_second"] / row["float32_images_per_second"], 3)
        rows.append(row)
        if not arguments.json:
            print(row)
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
