"""The front door of sampling: the fastest exact sampler that a model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import Samples, SamplesInScales
from limner.sampling.jacobi import jacobi
from limner.sampling.methods import row_methods, row_sampler
from limner.sampling.rows import Known

__all__ = ["Method", "OnRow", "sample"]

OnRow = Callable[[int, Tensor], None]
Method = Literal["auto", "compiled", "streaming", "naive", "jacobi"]


def sample(
    model: Samples,
    n: int,
    *,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    known: Known | None = None,
    context: Tensor | None = None,
    on_row: OnRow | None = None,
    batch_size: int = 256,
    method: Method = "auto",
) -> Tensor:
    """``n`` images of any model that samples, uint8 ``(n, C, H, W)``.

    Args:
        model: An autoregressive model gives the same images by every method.
        n: How many.
        generator: Source of all randomness.
        labels: Classes int64 ``(n,)`` of a conditional model; by default drawn uniformly.
        known: Images uint8 ``(n, C, H, W)`` and a mask, bool ``(H, W)`` or ``(n, H, W)``, of the pixels to keep; the
            others are drawn given all before them (which is the exact conditional where nothing is given below).
        context: What else is known of each pixel, ``(n, ·, H, W)``, where the model's ``logits`` take a context.
        on_row: Called after each finished row of an autoregressive model (of a multi-scale one: of its
            largest images), with the row and the batch so far.
        batch_size: Images drawn together, which bounds the memory.
        method: Of an autoregressive model: each activation once, in a compiled loop (``compiled``) or a pixel at a
            time in PyTorch (``streaming``); a pass a value (``naive``); passes until nothing changes (``jacobi``).
            ``auto``: the fastest.

    Raises:
        LimnerError: The model cannot do what was asked.
    """
    if isinstance(model, SamplesInScales):
        if known is not None:
            raise LimnerError("a multi-scale model draws the small image first: no pixels of the large one are known")
        return _scale_by_scale(model, n, generator, labels, on_row, batch_size, method)
    if isinstance(model, Autoregressive) and (method != "auto" or known is not None):
        model.check_raster()
    if not isinstance(model, Autoregressive) or not model.raster:
        if known is not None or context is not None:
            raise LimnerError(f"{type(model).__name__} draws all pixels at once: no known ones, no context")
        return torch.cat(
            [
                model.sample(len(part), generator=generator, labels=None if labels is None else labels[part])
                for part in torch.arange(n).split(batch_size)
            ]
        )
    parts = []
    for start in range(0, n, batch_size):
        part = slice(start, min(start + batch_size, n))
        size = part.stop - start
        options: dict[str, Any] = {
            "generator": generator,
            "labels": None if labels is None else labels[part],
            "known": None if known is None else (known[0][part], known[1] if known[1].dim() == 2 else known[1][part]),
            "context": None if context is None else context[part],
        }
        if method == "jacobi" or (method == "auto" and _fixed_points_win(model, size)):
            parts.append(jacobi(model, size, **options, on_row=on_row))
            continue
        rows = row_sampler(model, size, **options, method=method)
        while rows.row < model.shape[1]:
            begin = rows.row
            rows.draw_row()
            if on_row is not None:
                for row in range(begin, rows.row):
                    on_row(row, rows.images)
        parts.append(rows.images)
    return torch.cat(parts)


@torch.no_grad()
def _scale_by_scale(
    model: Any,
    n: int,
    generator: torch.Generator | None,
    labels: Tensor | None,
    on_row: OnRow | None,
    batch_size: int,
    method: Method,
) -> Tensor:
    """The small images, and then the large ones, of which they are the known pixels."""
    parts = []
    for index in torch.arange(n).split(batch_size):
        size = len(index)
        classes = model.drawn_labels(size, generator, None if labels is None else labels[index])
        small = sample(model.small, size, generator=generator, labels=classes, batch_size=size, method=method)
        images = small.new_zeros(size, *model.shape)
        model.smaller(images).copy_(small)
        parts.append(
            sample(
                model.large,
                size,
                generator=generator,
                labels=classes,
                known=(images, model.given),
                context=model.context(model.small.checked_levels(small)),
                on_row=on_row,
                batch_size=size,
                method=method,
            )
        )
    return torch.cat(parts)


def _fixed_points_win(model: Autoregressive, n: int) -> bool:
    """Measured (docs/notes/sampling.md): always beside the naive sampler, and for one binary image beside streaming."""
    fastest = row_methods(model)[0]
    return fastest == "naive" or (fastest == "streaming" and n == 1 and model.levels == 2)
