"""The optimizers behind one small interface: AdamW for all weights, or Muon for the matrices among them.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes each weight matrix along the nearest
orthogonal matrix of its averaged gradient. A convolution's kernel is the matrix of its outputs by all the rest. Biases,
embeddings, and a network's first and last layers stay with AdamW, as its authors found best.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from limner.models.contracts import Model
from limner.training.config import TrainingConfig

__all__ = ["Optimizers"]

ADAMW_STATE = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE = ("momentum_buffer",)


class Optimizers:
    """What changes the parameters of ``model``.

    Args:
        model: ``model.matrices()`` names the weights that Muon may take.
        config: The numbers; ``optimizer`` chooses.
    """

    def __init__(self, model: Model, config: TrainingConfig) -> None:
        self.names = dict(model.named_parameters())
        inner = set(model.matrices()) if config.optimizer == "muon" else set()
        self.matrices = {n: _as_matrix(p) for n, p in self.names.items() if n in inner}
        rest = [p for n, p in self.names.items() if n not in inner]
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
            self.muon = Muon(list(self.matrices.values()), lr=rate, weight_decay=decay, momentum=0.95)
            self.all.append((self.muon, rate))

    def step(self, factor: float) -> None:
        """One step along ``.grad`` with the learning rates times ``factor``."""
        for name, matrix in self.matrices.items():
            gradient = self.names[name].grad
            matrix.grad = None if gradient is None else _as_matrix(gradient)
        for optimizer, rate in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Each parameter's state, as ``name.part``."""
        return {
            f"{name}.{part}": tensor
            for name in self.names
            for part, tensor in self._owner(name)[0].state[self._owner(name)[1]].items()
        }

    def restore(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        """Take over a ``state`` whose names begin with ``prefix``.

        Raises:
            KeyError: A piece is missing.
            RuntimeError: One has another shape.
        """
        for name in self.names:
            optimizer, parameter = self._owner(name)
            parts = MUON_STATE if name in self.matrices else ADAMW_STATE
            own = {part: tensors[f"{prefix}{name}.{part}"] for part in parts}
            # AdamW keeps its step count on the CPU, the moments where the parameter is.
            optimizer.state[parameter] = {
                part: t.clone() if part == "step" else torch.empty_like(parameter).copy_(t) for part, t in own.items()
            }

    def _owner(self, name: str) -> tuple[Optimizer, Tensor]:
        """The optimizer of a parameter, and the tensor that it knows it by."""
        if name in self.matrices:
            return self.muon, self.matrices[name]
        return self.adamw, self.names[name]


def _as_matrix(x: Tensor) -> Tensor:
    """A view ``(out, rest)`` of a weight; the order of ``rest``, which Muon does not see, is that of memory."""
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.detach().view(len(x), -1)
