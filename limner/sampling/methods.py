"""Which row samplers a model has, and the fastest of them."""

from __future__ import annotations

from typing import Any, Literal

from limner.accelerate import hooks
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.sampling.rows import NaiveRowSampler, RowSampler
from limner.sampling.streaming import StreamingRowSampler, can_stream

__all__ = ["RowMethod", "row_methods", "row_sampler"]

RowMethod = Literal["auto", "compiled", "streaming", "naive"]


def _row_samplers(model: Autoregressive) -> dict[RowMethod, type[RowSampler]]:
    """What can sample from ``model``, the fastest first."""
    accelerated = hooks()
    kinds: dict[RowMethod, type[RowSampler] | None] = {
        "compiled": accelerated.row_sampler(model) if accelerated else None,
        "streaming": StreamingRowSampler if can_stream(model) else None,
        "naive": NaiveRowSampler,
    }
    return {method: kind for method, kind in kinds.items() if kind is not None}


def row_methods(model: Autoregressive) -> list[RowMethod]:
    """The methods that can sample from ``model``, the fastest first."""
    return list(_row_samplers(model))


def row_sampler(model: Autoregressive, n: int, *, method: RowMethod = "auto", **options: Any) -> RowSampler:
    """The fastest ``RowSampler`` of a model, or the one that ``method`` names, which is given the ``options``.

    ``compiled`` comes from ``limner.accelerate`` (it needs the package numba, and a model on the CPU),
    ``streaming`` is plain PyTorch for models whose layers can run a pixel at a time.

    Raises:
        LimnerError: The method cannot sample from this model, or see ``RowSampler``.
    """
    kinds = _row_samplers(model)
    if method != "auto" and method not in kinds:
        raise LimnerError(f"this {type(model).__name__} has no {method} sampler: {', '.join(kinds)}")
    kind = next(iter(kinds.values())) if method == "auto" else kinds[method]
    return kind(model, n, **options)
