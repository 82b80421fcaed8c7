"""The front door of sampling: the fastest exact sampler that a model has, and which classes to draw for a sheet."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import Model, SampleMeans, Samples, SamplesInScales
from limner.models.cost import images_at_once
from limner.sampling.jacobi import jacobi
from limner.sampling.methods import row_methods, row_sampler
from limner.sampling.rows import Known, OnRow, chosen

__all__ = ["Method", "class_rows", "sample", "sample_in"]

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
    until: float = math.inf,
    means: bool = False,
) -> Tensor:
    """``n`` images of any model that samples, uint8 ``(n, C, H, W)``.

    Args:
        model: An autoregressive model gives the same images by every method.
        n: How many.
        generator: Source of all randomness. Each image takes what it needs before the next one does, so that fewer
            images are the first of more, whatever ``batch_size``.
        labels: Classes int64 ``(n,)`` of a conditional model; by default drawn uniformly.
        known: Images uint8 ``(n, C, H, W)`` and a mask, bool ``(H, W)`` or ``(n, H, W)``, of the pixels to keep; the
            others are drawn given all before them (which is the exact conditional where nothing is given below).
        context: What else is known of each pixel, ``(n, ·, H, W)``, where the model's ``logits`` take a context.
        on_row: Called after each finished row of an autoregressive model (of a multi-scale one: of its
            largest images), with the row and the batch so far.
        batch_size: Images drawn together; fewer where they would take too much memory.
        method: Of an autoregressive model: each activation once, in a compiled loop (``compiled``) or a pixel at a
            time in PyTorch (``streaming``); a pass a value (``naive``); passes until nothing changes (``jacobi``).
            ``auto``: the fastest.
        until: When to give up, by ``time.monotonic()``; looked at after each row.
        means: The mean of the p(x|z) of each image instead of the image, which is a draw from it.

    Raises:
        LimnerError: The model cannot do what was asked.
        TimeoutError: ``until`` has passed.
    """
    draw: Callable[..., Tensor]
    batch_size = images_at_once(model, min(batch_size, max(n, 1)))
    if not math.isinf(until):
        on_row = _Watch(on_row, until)
    if isinstance(model, SamplesInScales):
        if known is not None:
            raise LimnerError("a multi-scale model draws the small image first: no pixels of the large one are known")
        draw, context = partial(_scale_by_scale, model, on_row, method), None
    elif isinstance(model, Autoregressive) and (model.raster or method != "auto" or known is not None):
        model.check_raster()
        draw = partial(_row_by_row, model, on_row, method)
    elif known is not None or context is not None:
        raise LimnerError(f"{type(model).__name__} draws all pixels at once: no known ones, no context")
    else:
        draw = model.sample
    if means:
        if not isinstance(model, SampleMeans):
            raise LimnerError(f"{type(model).__name__} draws no image from a p(x|z): there is no mean of it to show")
        draw = model.sample_means
    parts = []
    for start in range(0, max(n, 1), batch_size):  # of no images, an empty batch
        part = slice(start, min(start + batch_size, n))
        options: dict[str, Any] = {"generator": generator, "labels": chosen(labels, part)}
        if context is not None:
            options["context"] = context[part]
        if known is not None:
            options["known"] = known[0][part], known[1] if known[1].dim() == 2 else known[1][part]
        parts.append(draw(part.stop - start, **options))
    return torch.cat(parts)


def sample_in(
    seconds: float,
    model: Samples,
    n: int,
    *,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """As many of the ``n`` images of ``sample`` as can be drawn in about ``seconds``, ``(m, C, H, W)``; maybe none.

    The first is drawn alone, to learn what one takes, unless ``seconds`` is infinite.
    """
    if math.isinf(seconds):
        return sample(model, n, generator=generator, labels=labels)
    until = time.monotonic() + seconds
    drawn: list[Tensor] = []
    done, more = 0, 1
    with contextlib.suppress(TimeoutError):
        while 0 < more <= n - done:
            start = time.monotonic()
            part = chosen(labels, slice(done, done + more))
            drawn.append(sample(model, more, generator=generator, labels=part, until=until))
            now, done = time.monotonic(), done + more
            more = min(n - done, int((until - now) / max((now - start) / more, 1e-9)))
    return torch.cat(drawn) if drawn else torch.zeros(0, *model.shape, dtype=torch.uint8)  # type: ignore[attr-defined]


class _Watch:
    """``on_row`` that also looks at the time."""

    def __init__(self, on_row: OnRow | None, until: float) -> None:
        self.on_row, self.until = on_row, until

    def __call__(self, row: int, images: Tensor) -> None:
        self.of_time(row, images)
        if self.on_row is not None:
            self.on_row(row, images)

    def of_time(self, row: int, images: Tensor) -> None:
        if time.monotonic() > self.until:
            raise TimeoutError(f"the time to draw in was over at row {row}")


def _row_by_row(model: Autoregressive, on_row: OnRow | None, method: Method, n: int, **options: Any) -> Tensor:
    if n == 0:
        return torch.zeros(0, *model.shape, dtype=torch.uint8, device=model.device)
    if method == "jacobi" or (method == "auto" and _fixed_points_win(model, n)):
        return jacobi(model, n, on_row=on_row, **options)
    rows = row_sampler(model, n, method=method, **options)
    while rows.row < model.shape[1]:
        for row in rows.draw_row():
            if on_row is not None:
                on_row(row, rows.images)
    return rows.images


@torch.no_grad()
def _scale_by_scale(
    model: Any, on_row: OnRow | None, method: Method, n: int, generator: torch.Generator | None, labels: Tensor | None
) -> Tensor:
    labels, uniforms = model.drawn(n, generator, labels, *model.uniforms_of_scales(generator))
    return _from_small_to_large(model, on_row, method, n, uniforms, labels)


def _from_small_to_large(
    model: Any, on_row: OnRow | None, method: Method, n: int, uniforms: list[Tensor], labels: Tensor | None
) -> Tensor:
    """The small images, and then the large ones, of which they are the known pixels."""
    *smaller, own = uniforms
    on_small = on_row.of_time if isinstance(on_row, _Watch) else None
    if isinstance(model.small, SamplesInScales):
        small = _from_small_to_large(model.small, on_small, method, n, smaller, labels)
    else:
        small = _row_by_row(model.small, on_small, method, n, uniforms=smaller[0], labels=labels)
    images = small.new_zeros(n, *model.shape)
    model.smaller(images).copy_(small)
    known = {"known": (images, model.given), "context": model.context(model.small.checked_levels(small))}
    return _row_by_row(model.large, on_row, method, n, uniforms=own, labels=labels, **known)


def _fixed_points_win(model: Autoregressive, n: int) -> bool:
    """Measured (docs/notes/sampling.md): always beside the naive sampler, and for one binary image beside streaming."""
    fastest = row_methods(model)[0]
    return fastest == "naive" or (fastest == "streaming" and n == 1 and model.levels == 2)


def class_rows(model: Model, n: int) -> tuple[Tensor | None, int | None]:
    """Labels int64 of about ``n`` images, class by class, and how many of each; (None, None) without classes.

    There is at least one of each class, and of more than ``n`` classes, ``n`` spread evenly over them.
    """
    k = model.classes
    if not k:
        return None, None
    shown = torch.arange(k) if k <= n else torch.linspace(0, k - 1, n).round().long()
    each = -(-n // len(shown))
    return shown.repeat_interleave(each), each
