"""The weights of one network in another of its family: for other classes, another size, or as they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.errors import LimnerError

__all__ = ["ClassAxes", "Classes", "Transfer", "class_axes", "transfer"]

SHOWN = 6  # groups that are named


@dataclass(frozen=True)
class Classes:
    """Names of the classes that a network knows, in the order of their numbers; empty where it has none."""

    old: Sequence[str]
    new: Sequence[str]

    def pairs(self) -> tuple[list[int], list[int]]:
        """Of each class that both have, its number in the old network and in the new one."""
        place = {name: k for k, name in enumerate(self.old)}
        both = [(place[name], k) for k, name in enumerate(self.new) if name in place]
        return [old for old, _ in both], [new for _, new in both]


ClassAxes = Mapping[str, int]
"""By the name of a tensor: the axis whose last entries are the classes'."""


def class_axes(model: nn.Module, larger: nn.Module) -> dict[str, int]:
    """The axes along which ``larger``, the same network for one class more, is one longer than ``model``."""
    found = {}
    more = {name: tensor.shape for name, tensor in larger.state_dict().items()}
    for name, tensor in model.state_dict().items():
        if len(tensor.shape) == len(more.get(name, ())):
            longer = [i for i, (n, m) in enumerate(zip(tensor.shape, more[name], strict=True)) if m != n]
            if len(longer) == 1 and more[name][longer[0]] == tensor.shape[longer[0]] + 1:
                found[name] = longer[0]
    return found


@dataclass(frozen=True)
class Transfer:
    """What became of a network's parameters.

    Attributes:
        taken: Numbers that were taken over.
        parameters: Numbers that the network has.
        fresh: Numbers that are as they were initialised, by group of tensors.
    """

    taken: int
    parameters: int
    fresh: Mapping[str, int]

    def __str__(self) -> str:
        """In one line."""
        groups = [f"{group} ({n:,})" for group, n in self.fresh.items()]
        more = f" and {len(groups) - SHOWN} more groups" if len(groups) > SHOWN else ""
        anew = f"; anew begin {', '.join(groups[:SHOWN])}{more}" if groups else ""
        return f"{self.taken:,} of {self.parameters:,} parameters{anew}"


@torch.no_grad()
def transfer(model: nn.Module, weights: Mapping[str, Tensor], axes: ClassAxes, classes: Classes) -> Transfer:
    """Take over those of ``weights`` that fit ``model``: equal in name and shape, and rows of classes that both have.

    Args:
        model: Is changed in place.
        weights: Of another network, by name.
        axes: Of ``model``, or of the other network where ``model`` has no classes; see ``class_axes``.
        classes: Of both.

    Raises:
        LimnerError: A weight is not finite.
    """
    old, new = classes.pairs()
    parameters = {name for name, _ in model.named_parameters()}
    fresh: Counter[str] = Counter()
    taken = total = 0
    for name, own in model.state_dict().items():
        given, n = weights.get(name), 0
        if given is not None and not given.isfinite().all():
            raise LimnerError(f"{name} is NaN or infinite: begin from another run")
        if given is not None and given.dtype == own.dtype and given.dim() == own.dim():
            if name in axes:
                own, given = own.movedim(axes[name], 0), given.to(own.device).movedim(axes[name], 0)
                shared = len(own) - len(classes.new)
                if own.shape[1:] == given.shape[1:] and len(given) == shared + len(classes.old):
                    own[:shared] = given[:shared]
                    own[[shared + k for k in new]] = given[[shared + k for k in old]]
                    n = (shared + len(new)) * own[:1].numel()
            elif own.shape == given.shape:
                own.copy_(given)
                n = own.numel()
        if name in parameters:
            taken, total = taken + n, total + own.numel()
            if n < own.numel():
                fresh[_group(name)] += own.numel() - n
    return Transfer(taken, total, dict(fresh.most_common()))


def _group(name: str) -> str:
    """``blocks.*.label.table``: equal layers of a stack are one group, as are a weight and its bias."""
    bare = re.sub(r"\.parametrizations\.(\w+)\.original\d*$", r".\1", name)
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", re.sub(r"\.(weight|bias)$", "", bare))
