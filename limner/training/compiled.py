"""AdamW and the moving average of the weights on the CPU: tables for the loops of ``limner.kernels.adamw``.

Torch's own, an operation or two for each parameter, take a fifth of a small network's step (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import AdamW

from limner import kernels
from limner.threads import in_team, shared_with_torch, team_size

__all__ = ["adamw_step", "follow"]


def adamw_step(adamw: AdamW, rate: float, clip_norm: float) -> float | None:
    """A step along ``.grad``, scaled so that its norm is at most ``clip_norm`` (0: as it is); gives its norm before.

    Nothing is changed where the norm is not finite. None, and nothing is done, where it takes torch: on another device,
    in another type, in the first step, which makes the state.
    """
    if not _ready():
        return None
    rows, moved, kept = [], [], []  # what is kept lives until the step is done
    for group in adamw.param_groups:
        for parameter in group["params"]:
            gradient, state = parameter.grad, adamw.state.get(parameter)
            if gradient is None:
                continue
            if not state or not _plain(parameter) or gradient.dtype != torch.float32:
                return None
            moments = state["exp_avg"], state["exp_avg_sq"]
            if not all(_alike(parameter, x) for x in moments):
                return None
            if not _alike(parameter, gradient):
                gradient = torch.empty_like(parameter).copy_(gradient)
                kept.append(gradient)
            moved.append(parameter)
            pointers = [x.data_ptr() for x in (parameter, gradient, *moments, state["step"])]
            rows.append((*pointers, parameter.numel(), group["weight_decay"] > 0))
    if not rows:
        return None
    from limner.kernels import adamw as loops

    group = adamw.param_groups[0]
    numbers = np.zeros(loops.NUMBERS)
    decay = max(g["weight_decay"] for g in adamw.param_groups)
    numbers[: loops.NORM] = rate, *group["betas"], group["eps"], clip_norm, decay
    _run(loops.step.address, rows, numbers)
    increment_version(moved)
    return float(numbers[loops.NORM])


@torch.no_grad()
def follow(averaged: Sequence[Tensor], current: Sequence[Tensor], weight: float) -> bool:
    """Move each of ``averaged`` by ``weight`` of the way to its like; False, and nothing is done, where torch must."""
    if not (_ready() and all(_plain(a) and _plain(c) and _alike(a, c) for a, c in zip(averaged, current, strict=True))):
        return False
    from limner.kernels import adamw as loops

    numbers = np.zeros(loops.NUMBERS)
    numbers[0] = weight
    pairs = zip(averaged, current, strict=True)
    _run(loops.average.address, [(a.data_ptr(), c.data_ptr(), 0, 0, 0, a.numel(), 0) for a, c in pairs], numbers)
    increment_version(averaged)
    return True


def _ready() -> bool:
    return kernels.available() and shared_with_torch()


def _plain(x: Tensor) -> bool:
    """Whether its numbers are float32 in the CPU's memory without gaps."""
    whole = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
    return x.device.type == "cpu" and x.dtype == torch.float32 and whole


def _alike(x: Tensor, y: Tensor) -> bool:
    """Whether both have their numbers in the same order."""
    if x.stride() == y.stride():
        return True
    return all(n == 1 or i == j for n, i, j in zip(x.shape, x.stride(), y.stride(), strict=True))


def _run(function: int, rows: list[tuple[int, ...]], numbers: np.ndarray) -> None:
    from limner.kernels import adamw as loops

    room = [0] * loops.TEAM
    table = np.array([*room, len(rows), numbers.ctypes.data, *(x for row in rows for x in row)], np.int64)
    in_team(function, table, min(team_size(), loops.MOST))
