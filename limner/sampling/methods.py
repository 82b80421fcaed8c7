"""Which row samplers a model has, and the fastest of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limner.accelerate import hooks
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.sampling.rows import Known, NaiveRowSampler, RowSampler
from limner.sampling.streaming import StreamingRowSampler, can_stream

__all__ = ["RowMethod", "row_methods", "row_sampler"]

RowMethod = Literal["auto", "compiled", "streaming", "naive"]


def _compiled_sampler(model: Autoregressive) -> type[RowSampler] | None:
    accelerated = hooks()
    return None if accelerated is None else accelerated.row_sampler(model)


def row_methods(model: Autoregressive) -> list[RowMethod]:
    """The methods that can sample from ``model``, the fastest first."""
    compiled = _compiled_sampler(model) is not None
    can: dict[RowMethod, bool] = {"compiled": compiled, "streaming": can_stream(model), "naive": True}
    return [name for name, possible in can.items() if possible]


def row_sampler(
    model: Autoregressive,
    n: int,
    *,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    known: Known | None = None,
    context: Tensor | None = None,
    method: RowMethod = "auto",
) -> RowSampler:
    """The fastest ``RowSampler`` of a model, or the one that ``method`` names.

    ``compiled`` comes from ``limner.accelerate`` (it needs the package numba, and a model on the CPU),
    ``streaming`` is plain PyTorch for models whose layers can run a pixel at a time.

    Raises:
        LimnerError: The method cannot sample from this model, or see ``RowSampler``.
    """
    can = row_methods(model)
    if method != "auto" and method not in can:
        raise LimnerError(f"this {type(model).__name__} has no {method} sampler: {', '.join(can)}")
    chosen = method if method != "auto" else can[0]
    kind: type[RowSampler] = NaiveRowSampler
    if chosen == "compiled":
        kind = _compiled_sampler(model) or kind
    elif chosen == "streaming":
        kind = StreamingRowSampler
    return kind(model, n, generator=generator, labels=labels, known=known, context=context)
