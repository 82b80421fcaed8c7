"""How long a step takes on this machine: real steps of a copy of the model, on few images first."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any, cast

from lightning_fabric import Fabric

from limner.data.batches import Batch
from limner.models.contracts import Model
from limner.models.recipes import AdversarialConfig, TrainingConfig
from limner.training.adversarial import Adversarial
from limner.training.objectives import Objective, SingleLoss

__all__ = ["first_images", "time_step"]

FEWEST = 2  # images of a trial: of one, BatchNorm has no variance
GROWTH = 4


def first_images(batch: Batch, n: int) -> Batch:
    """The first ``n`` images of a batch."""
    return Batch(batch.images[:n], None if batch.labels is None else batch.labels[:n])


def time_step(model: Model, config: TrainingConfig, fabric: Fabric, batch: Batch, most: int, seconds: float) -> float:
    """Seconds of a step on ``batch``, measured on ``most`` of its images at most, in about ``seconds``.

    Ever more images are tried as long as there is time; what a step on all of them takes is in proportion. The
    model and the random state are left as they were.
    """
    end, n, whole = time.perf_counter() + seconds, min(FEWEST, len(batch.images)), len(batch.images)
    trial = _objective(copy.deepcopy(model), replace(config, accumulate=1), fabric)
    trial.step(first_images(batch, n), 0.0, 0)  # the first makes what the others use
    while True:
        few, start = first_images(batch, n), time.perf_counter()
        steps = 1
        trial.step(few, 0.0, 0)  # with the penalty on a discriminator's gradient
        if isinstance(config, AdversarialConfig) and time.perf_counter() < end:
            for steps in range(2, 1 + max(config.penalty_every, config.discriminator_steps)):
                trial.step(few, 0.0, steps - 1)
        each = (time.perf_counter() - start) / steps
        more = min(n * GROWTH, most, whole)
        if more <= n or time.perf_counter() + steps * each * more / n > end:
            return each * whole / n
        n = more


def _objective(model: Model, config: TrainingConfig, fabric: Fabric) -> Objective[Any]:
    kind = Adversarial if isinstance(config, AdversarialConfig) else SingleLoss
    return kind(cast("Any", model), cast("Any", config), fabric)
