"""What a training will need, before it begins: memory of a step, in how many parts a batch fits, the largest images.

A step is rehearsed on torch's meta device, where tensors have a shape and no bytes (``limner.models.cost``): the
objective's own losses, forward and backward. Where a model cannot run there, nothing is said and nothing is chosen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from limner.data.batches import Batch
from limner.models.contracts import Model
from limner.models.cost import SCRATCH, counting, imagined
from limner.models.gan import OBJECTIVES
from limner.models.recipes import AdversarialConfig, TrainingConfig
from limner.training.adversarial import Adversarial
from limner.training.objectives import SingleLoss
from limner.training.processes import ALONE

__all__ = ["parts_that_fit", "step_bytes"]

STATE_BYTES = 4 * 4  # a parameter: weight, two moments, moving average in float32; the gradient is counted
SAVED_BYTES = 2 * STATE_BYTES  # while a checkpoint is written, with copies of all these


def _rehearse(model: Model, config: TrainingConfig, batch: Batch) -> None:
    """Differentiate the losses of a step; nothing moves."""

    def differentiate(losses: Iterable[Tensor]) -> None:
        model.zero_grad(set_to_none=True)
        for loss in losses:
            loss.backward()
            del loss

    # What the losses ask of an objective; its optimizers and its generators have no place on the meta device.
    parts: dict[str, Any] = {
        "model": model.train(),
        "config": config,
        "random": None,
        "dropout": None,
        "processes": ALONE,
    }
    parts["fabric"] = SimpleNamespace(autocast=contextlib.nullcontext)
    if isinstance(config, AdversarialConfig):
        players = Adversarial.__new__(Adversarial)
        vars(players).update(parts, losses=OBJECTIVES[config.objective])
        differentiate(players.discriminator_losses(batch, {}, 0))
        differentiate(players.generator_losses(batch, [], {}))
    else:
        objective = SingleLoss.__new__(SingleLoss)
        vars(objective).update(parts)
        differentiate(objective.losses(batch, {}))


def step_bytes(build: Callable[[], Model], config: TrainingConfig, images: int) -> int | None:
    """Bytes that training takes with ``images`` of the model that ``build`` makes going through together.

    Weights, gradients, moments, moving average, activations; None where they cannot be counted.
    """
    try:
        model = imagined(build)
        labels = torch.zeros(images, dtype=torch.int64, device="meta") if model.classes else None
        batch = Batch(torch.zeros(images, *model.shape, dtype=torch.uint8, device="meta"), labels)
        with counting() as live:
            _rehearse(model, replace(config, accumulate=1), batch)
    except Exception:  # noqa: BLE001 - whatever another package's model does there
        return None
    parameters = sum(p.numel() for p in model.parameters())
    return int(max(parameters * STATE_BYTES + SCRATCH * live.most, parameters * SAVED_BYTES))


def parts_that_fit(
    build: Callable[[], Model], config: TrainingConfig, images: int, room: int
) -> tuple[int, int] | None:
    """The smallest power of two, or ``config.accumulate``, of parts in which a batch of ``images`` fits into ``room``.

    And the bytes that it takes then; (0, bytes of one image) where even that is too much. None where they cannot be
    counted.
    """
    parts = config.accumulate
    while True:
        needed = step_bytes(build, config, -(-images // parts))
        if needed is None:
            return None
        if needed <= room:
            return parts, needed
        if parts >= images:
            return 0, needed
        parts = 1 << parts.bit_length()
