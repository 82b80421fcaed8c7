"""Muon for many small matrices: those of one shape take their Newton-Schulz iterations as one batch of products.

The method is that of Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with all its numbers.
``torch.optim.Muon`` takes one matrix after the other, some thirty operations each: half of a hierarchical VAE's step on
a GPU, which has hardly anything to do in them (docs/notes/gpu.md).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon

__all__ = ["BatchedMuon", "orthogonalized"]


class BatchedMuon(Muon):
    """What ``torch.optim.Muon`` does, with its arguments and its state, but for the rounding of sums in bfloat16."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along ``.grad``; a matrix without one stays.

        Raises:
            ValueError: A ``closure`` is given.
        """
        if closure is not None:
            raise ValueError("a closure is not evaluated here: call backward first, then step()")
        for group in self.param_groups:
            self._move(group)

    def _move(self, group: dict[str, Any]) -> None:
        parameters: list[Tensor] = []
        gradients: list[Tensor] = []
        buffers: list[Tensor] = []
        self._init_group(group, parameters, gradients, buffers)
        if not parameters:
            return
        rate, momentum = float(group["lr"]), group["momentum"]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        moves = torch._foreach_lerp(gradients, buffers, momentum) if group["nesterov"] else buffers
        alike: dict[torch.Size, list[int]] = {}
        for i, parameter in enumerate(parameters):
            alike.setdefault(parameter.shape, []).append(i)
        numbers, steps, eps = group["ns_coefficients"], group["ns_steps"], group["eps"]
        changes = list(moves)
        for (rows, columns), places in alike.items():
            found = orthogonalized(torch.stack([moves[i] for i in places]), numbers, steps, eps)
            found = found.to(parameters[places[0]].dtype) * (-rate * _size(group["adjust_lr_fn"], rows, columns))
            for i, change in zip(places, found.unbind(), strict=True):
                changes[i] = change
        torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
        torch._foreach_add_(parameters, changes)


def orthogonalized(x: Tensor, numbers: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Near the nearest orthogonal matrix of each of N matrices ``(N, rows, columns)``, bfloat16.

    Args:
        x: The matrices.
        numbers: a, b, c of an iteration's polynomial a X + b (X Xᵀ) X + c (X Xᵀ)² X.
        steps: How many.
        eps: The smallest norm that a matrix is divided by.
    """
    a, b, c = numbers
    tall = x.shape[1] > x.shape[2]
    x = x.bfloat16()
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).contiguous()


def _size(kind: str | None, rows: int, columns: int) -> float:
    """By what the learning rate is multiplied for a matrix; see ``torch.optim.Muon``."""
    if kind == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns)) if kind in (None, "original") else 1.0
