"""The optimizers behind one small interface: AdamW for all weights, or Muon for the matrices among them.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes each weight matrix along the nearest
orthogonal matrix of its averaged gradient. A convolution's kernel is the matrix of its outputs by all the rest. Biases,
embeddings, and a network's first and last layers stay with AdamW, as its authors found best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import AdamW, Optimizer

from limner.models.contracts import Model
from limner.models.recipes import TrainingConfig

__all__ = ["BatchedMuon", "Optimizers", "orthogonalized"]

ADAMW_STATE = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE = ("momentum_buffer",)
MOMENTUM = 0.95


class Optimizers:
    """What changes the parameters of ``module``.

    Args:
        module: Where it is a ``Model``, its ``muon_parameters()`` names the weights that Muon may take; of others none.
        config: The numbers; ``optimizer`` chooses.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig) -> None:
        self.names = dict(module.named_parameters())
        parts = module.muon_parameters() if config.optimizer == "muon" and isinstance(module, Model) else {}
        self.matrices = {n: _matrices(self.names[n], count) for n, count in parts.items()}
        rest = [p for n, p in self.names.items() if n not in self.matrices]
        self.adamw = AdamW(
            [
                {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
                {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
            ],
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.all: list[tuple[Optimizer, float]] = [(self.adamw, config.learning_rate)]
        if self.matrices:
            rate = config.matrix_learning_rate
            decay = config.weight_decay * config.learning_rate / rate  # the same pull a step on every weight
            matrices = list(chain(*self.matrices.values()))
            self.muon = BatchedMuon(matrices, rate, decay, bf16=config.precision == "bf16")
            self.all.append((self.muon, rate))

    @property
    def steps(self) -> int:
        """How many were made, those before a restored state among them."""
        return next((int(state["step"]) for state in self.adamw.state.values()), 0)

    def clipped_step(self, factor: float, clip_norm: float) -> float:
        """One step along ``.grad``, clipped at ``clip_norm`` or not at 0; gives the norm that it had.

        Nothing is changed where that is not finite, which clipping would spread over all.
        """
        parameters = list(self.names.values())
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = total.item()
        if math.isfinite(norm):
            if clip_norm:
                torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, total)
            self.step(factor)
        return norm

    def step(self, factor: float) -> None:
        """One step along ``.grad`` with the learning rates times ``factor``."""
        for name, matrices in self.matrices.items():
            whole, n = self.names[name].grad, len(matrices)
            gradients: Sequence[Tensor | None] = [None] * n if whole is None else _matrices(whole, n)
            for matrix, gradient in zip(matrices, gradients, strict=True):
                matrix.grad = gradient
        for optimizer, rate in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
        # torch's fused AdamW does not say that it changed anything; a sampler keeps programs made of the weights.
        increment_version(list(self.names.values()))

    def state(self) -> dict[str, Tensor]:
        """Each parameter's state, as ``name.part``."""
        return {
            f"{name}.{part}": tensor
            for name, optimizer, parameter in self._owned()
            for part, tensor in optimizer.state[parameter].items()
        }

    def restore(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        """Take over a ``state`` whose names begin with ``prefix``.

        Raises:
            KeyError: A piece is missing.
            RuntimeError: One has another shape.
        """
        for name, optimizer, parameter in self._owned():
            for part in ADAMW_STATE if optimizer is self.adamw else MUON_STATE:
                saved = tensors[f"{prefix}{name}.{part}"]
                # Everything where the parameter is; the moments in its order of memory.
                own = parameter.new_empty((), dtype=torch.float32) if part == "step" else torch.empty_like(parameter)
                if own.shape != saved.shape:
                    raise RuntimeError(f"{prefix}{name}.{part} has another shape")
                optimizer.state[parameter][part] = own.copy_(saved)

    def _owned(self) -> Iterator[tuple[str, Optimizer, Tensor]]:
        """Each tensor that an optimizer knows, with a name."""
        for name, parameter in self.names.items():
            if name not in self.matrices:
                yield name, self.adamw, parameter
        for name, matrices in self.matrices.items():
            for i, matrix in enumerate(matrices):
                yield (name if len(matrices) == 1 else f"{name}.{i}"), self.muon, matrix


def _matrices(x: Tensor, parts: int) -> list[Tensor]:
    """Views ``(out, rest)`` of a weight's parts; the order of ``rest``, which Muon does not see, is that of memory."""
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    rows = x.flatten(0, -2) if x.dim() == 3 else x.flatten(1)
    return list(rows.detach().view(parts, -1, rows.shape[1]))


class BatchedMuon(Optimizer):
    """Muon with Nesterov momentum, as ``torch.optim.Muon`` but for rounding.

    torch orthogonalizes in bfloat16. Here that is so where a training is in bf16, for a processor without it takes ten
    times as long as in float32 (docs/notes/training.md). And torch takes one matrix after the other, some thirty
    operations each: half of a hierarchical VAE's step on a GPU, which has hardly anything to do in them
    (docs/notes/gpu.md). Here those of one shape are one batch of products.
    """

    def __init__(self, matrices: list[Tensor], lr: float, weight_decay: float, *, bf16: bool = False) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.bf16 = bf16

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along ``.grad``; a matrix without one stays."""
        (group,) = self.param_groups
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        gradients = [p.grad for p in parameters]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p.grad)
        momenta = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        moves = list(torch._foreach_lerp(gradients, momenta, MOMENTUM))
        alike: dict[torch.Size, list[int]] = {}
        for i, p in enumerate(parameters):
            alike.setdefault(p.shape, []).append(i)
        for (rows, columns), places in alike.items():
            stacked = torch.stack([moves[i] for i in places])
            found = orthogonalized(stacked.bfloat16() if self.bf16 else stacked).to(stacked.dtype)
            found *= -group["lr"] * math.sqrt(max(1.0, rows / columns))
            for i, move in zip(places, found, strict=True):
                moves[i] = move
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, moves)


def orthogonalized(x: Tensor) -> Tensor:
    """Near the nearest orthogonal matrix of each of N matrices ``(N, rows, columns)``, in their precision.

    By five iterations (Newton-Schulz) of the polynomial a X + b (X Xᵀ) X + c (X Xᵀ)² X.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).contiguous()
