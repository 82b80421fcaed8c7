"""How long a training step takes on this machine: real steps on real images, few and bounded."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from limner.data.batches import Batches
from limner.data.imageset import Split
from limner.training.objectives import Objective

__all__ = ["seconds_a_step"]

PIXELS = 50_000  # of all images of a step that is measured, which bounds its memory
MOST_STEPS = 4  # whose mean it is: a penalty every fourth counts


def seconds_a_step(objective: Objective[Any], images: Split, *, limit: float) -> float:
    """Seconds of one step of ``objective`` with its batch size; its weights are changed.

    Where a whole batch would take too long or too much memory, a smaller one is measured, and what each further image
    costs is added.

    Args:
        objective: Makes the steps.
        images: What it learns from.
        limit: Seconds that measuring may take, but for two steps of the smallest batch at least.
    """
    config = objective.config
    started = time.perf_counter()

    def measured(batch_size: int, steps: int) -> float:
        batches = Batches(images, batch_size, config.seed)
        begun, done = time.perf_counter(), 0
        while done < steps and (done == 0 or (time.perf_counter() - started) * (done + 1) / done < limit):
            objective.step(batches.at(done), 1.0, done)
            done += 1
        if objective.model.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begun) / done

    whole = min(config.batch_size, len(images))
    small = min(2, whole)
    measured(small, 1)  # compiles, and takes memory for the first time
    of_small = measured(small, 1)
    left = limit - (time.perf_counter() - started)
    _, h, w = images.store.shape
    room = min(PIXELS // (h * w), math.floor(small * max(0.0, left) / 2 / of_small))
    large = max(small, min(whole, room))
    if large == small:
        return of_small * whole / small
    measured(large, 1)
    of_large = measured(large, MOST_STEPS)
    each = max(of_large - of_small, 0.0) / (large - small)
    return of_large + each * (whole - large)
