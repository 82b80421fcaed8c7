"""The optimizers behind one small interface: AdamW for all weights, or Muon for the matrices among them.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes each weight matrix along the nearest
orthogonal matrix of its averaged gradient. A convolution's kernel is the matrix of its outputs by all the rest. Biases,
embeddings, and a network's first and last layers stay with AdamW, as its authors found best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import AdamW, Optimizer

from limner.models.contracts import Model
from limner.models.recipes import TrainingConfig
from limner.training.muon import BatchedMuon

__all__ = ["Optimizers"]

ADAMW_STATE = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE = ("momentum_buffer",)


class Optimizers:
    """What changes the parameters of ``module``.

    Args:
        module: Where it is a ``Model``, its ``muon_parameters()`` names the weights that Muon may take; of others none.
        config: The numbers; ``optimizer`` chooses.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig) -> None:
        self.names, self.rate = dict(module.named_parameters()), config.learning_rate
        self.parts = module.muon_parameters() if config.optimizer == "muon" and isinstance(module, Model) else {}
        self.matrices = {n: _matrices(self.names[n], parts) for n, parts in self.parts.items()}
        rest = [p for n, p in self.names.items() if n not in self.matrices]
        self.adamw = AdamW(
            [
                {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
                {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.all: list[tuple[Optimizer, float]] = [(self.adamw, config.learning_rate)]
        if self.matrices:
            rate = config.matrix_learning_rate
            decay = config.weight_decay * config.learning_rate / rate  # the same pull a step on every weight
            matrices = list(itertools.chain(*self.matrices.values()))
            self.muon = BatchedMuon(matrices, lr=rate, weight_decay=decay, momentum=0.95)
            self.all.append((self.muon, rate))

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
            gradient = self.names[name].grad
            parts = itertools.repeat(None) if gradient is None else _matrices(gradient, self.parts[name])
            for matrix, part in zip(matrices, parts, strict=False):
                matrix.grad = part
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
            parts = ADAMW_STATE if optimizer is self.adamw else MUON_STATE
            own = {part: tensors[f"{prefix}{name}.{part}"] for part in parts}
            # Everything where the parameter is; the moments in its order of memory.
            optimizer.state[parameter] = {
                part: t.to(parameter.device, copy=True) if part == "step" else torch.empty_like(parameter).copy_(t)
                for part, t in own.items()
            }

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
