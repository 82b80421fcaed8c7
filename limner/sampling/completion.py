r"""Completion: drawing the missing pixels m of an image from p(x_m | x_g), given the others g.

If no given pixel comes after a missing one in the model's order (a raster suffix is missing), the model's own
conditionals are those of the completion, and ancestral sampling is exact. For any other mask p(x_m | x_g) ∝ p(x_m, x_g)
has no closed form and is approximated by sequential Monte Carlo (Gordon, Salmond, Smith 1993; Doucet, Johansen 2009): N
particles draw their missing pixels from p(x_i | x_<i), the given pixels clamped, and are weighted by

.. math:: w = \prod_{i \in g,\; i > \min m} p(x_i \mid x_{<i})

row by row, resampled where the effective sample size 1 / Σ w² falls below N/2. The weighted particles tend to
p(x_m | x_g) as N grows. Clamping alone would draw from another distribution, one that never looks ahead.

The completions may then walk: Gibbs passes draw every missing value anew from the exact p(x_i | x_rest) ∝ p(x), which
leaves p(x_m | x_g) as it is and brings whatever the particles missed nearer to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.devices import beside, exact_device, wide
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import describe_shape
from limner.sampling.methods import row_sampler
from limner.sampling.rows import OnRow, chosen

__all__ = ["Completions", "complete", "gibbs_passes", "is_suffix"]

GIBBS_LEVELS = 32  # a Gibbs draw computes p(x) for every level of a value


@dataclass(frozen=True)
class Completions:
    """Completions of one image, and what they are worth.

    Attributes:
        original: The image that was to be completed, uint8 ``(C, H, W)``.
        missing: bool ``(H, W)``.
        images: uint8 ``(n, C, H, W)``, the given pixels as they were.
        exact: Drawn from the model's p(x_m | x_g) itself; otherwise from particles that approximate it.
        particles: N; n if exact.
        effective_samples: 1 / Σ w² of the final weights, from 1 to N; N if exact.
        lowest_effective_samples: The least it was after any row: where the particles were worth least.
        distinct: Different images among the final particles.
        gibbs: Passes of Gibbs sampling afterwards.
    """

    original: Tensor
    missing: Tensor
    images: Tensor
    exact: bool
    particles: int
    effective_samples: float
    lowest_effective_samples: float
    distinct: int
    gibbs: int = 0

    @property
    def conditional(self) -> str:
        """Which distribution the completions come from, and whether it is exact, in one sentence."""
        if self.exact:
            return "exact draws from p(missing | given): no given pixel is drawn after a missing one"
        passes = f"{self.gibbs} Gibbs pass{'es' * (self.gibbs > 1)}"
        walk = f", then {passes} with the exact p(x_i | all others)" if self.gibbs else ""
        return f"p(missing | given) approximated by sequential Monte Carlo with {self.particles} particles{walk}"


def is_suffix(missing: Tensor) -> bool:
    """Whether no given pixel comes after a missing one, of ``missing`` bool ``(H · W,)`` in the order of drawing."""
    return bool((missing.int().diff() >= 0).all())


@torch.no_grad()
def complete(
    model: Autoregressive,
    image: Tensor,
    missing: Tensor,
    n: int = 8,
    *,
    particles: int = 512,
    gibbs: int = 0,
    label: int | None = None,
    generator: torch.Generator | None = None,
    on_row: OnRow | None = None,
    on_gibbs: Callable[[int, int], None] | None = None,
) -> Completions:
    """``n`` completions of an image.

    Args:
        model: Any autoregressive model.
        image: uint8 ``(C, H, W)``; what stands in its missing pixels does not matter.
        missing: bool ``(H, W)``, True where the image is to be completed.
        n: How many completions.
        particles: N, at least ``n``, where the completion is not exact.
        gibbs: Passes over the missing values afterwards, where the completion is not exact.
        label: The image's class, of a conditional model; by default drawn from p(y | the pixels given first) and
            weighted with the rest.
        generator: Source of all randomness.
        on_row: Called after each row with its index and ``n`` particles so far, uint8 ``(n, C, H, W)``. Particles may
            still be exchanged for better ones.
        on_gibbs: Called after each value of the Gibbs passes with (done, total).

    Raises:
        LimnerError: The image or mask does not fit the model, nothing is missing, a number is out of range, or Gibbs
            passes are asked of a model with many levels.
    """
    model.check_raster()
    _, h, w = model.shape
    if image.shape != model.shape or missing.dtype != torch.bool or missing.shape != (h, w):
        raise LimnerError(
            f"to complete, this model needs an image of {describe_shape(model.shape)} and a bool mask of "
            f"{describe_shape((h, w))}, not {describe_shape(tuple(image.shape))} and {missing.dtype} "
            f"{describe_shape(tuple(missing.shape))}"
        )
    original, missing = image, missing.to(model.device)
    image = image.to(model.device).masked_fill(missing, 0)
    k = model.checked_levels(image[None])
    if not missing.any():
        raise LimnerError("nothing is missing: the mask hides no pixel")
    order = model.order.to(model.device)
    drawn = missing.flatten()[order]
    exact = is_suffix(drawn)
    _check_numbers(model, n, n if exact else particles, gibbs)
    if exact:
        particles, gibbs = n, 0

    first = int(drawn.int().argmax())
    began = first - first % (w * model.patch)  # where the row of the first missing pixel begins
    labels, log_w = None, torch.zeros(particles, dtype=torch.float64, device=exact_device(model.device))
    if label is not None:
        labels = torch.full((particles,), label)
    elif model.classes:
        labels, log_w = _drawn_labels(model, k, order[:first], began, particles, generator)
    known = (image.expand(particles, -1, -1, -1), ~missing)
    rows = row_sampler(model, particles, generator=generator, labels=labels, known=known)
    lowest = float(particles)
    while rows.row < h:
        finished = rows.draw_row()
        if rows.row * w > began and not exact:
            log_w = log_w + rows.log_prob_known_row
            lowest = min(lowest, effective := _effective_samples(log_w))
            if effective < particles / 2 and rows.row < h:
                rows.select(_systematic(log_w, particles, generator))
                log_w = torch.zeros_like(log_w)
        for row in finished:
            if on_row is not None:
                on_row(row, rows.images[:n])
    effective = float(particles) if exact else _effective_samples(log_w)
    distinct = len(rows.images.flatten(1).unique(dim=0))
    images, labels = rows.images, rows.labels
    if not exact:
        index = _systematic(log_w, n, generator)
        images, labels = images[index], chosen(labels, index)
    if gibbs:
        images = gibbs_passes(model, images, missing, gibbs, labels=labels, generator=generator, on_value=on_gibbs)
    original, missing, images = original.cpu(), missing.cpu(), images.cpu()
    return Completions(original, missing, images, exact, particles, effective, lowest, distinct, gibbs)


def _check_numbers(model: Autoregressive, n: int, particles: int, gibbs: int) -> None:
    if n < 1 or gibbs < 0:
        raise LimnerError(f"to complete, n must be 1 or more and gibbs 0 or more, not {n} and {gibbs}")
    if particles < n:
        raise LimnerError(f"{n} completions cannot be drawn from {particles} particles: raise particles to {n} or more")
    if gibbs and model.levels > GIBBS_LEVELS:
        raise LimnerError(
            f"Gibbs passes try every level of every missing value, and this model has {model.levels}: they are for "
            f"{GIBBS_LEVELS} levels or fewer; raise particles instead"
        )


def _drawn_labels(
    model: Autoregressive, k: Tensor, prefix: Tensor, began: int, n: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Classes int64 ``(n,)`` of the particles, drawn from the exact p(y | prefix), and their first ln w, ``(n,)``.

    ``prefix`` are the places of the pixels before the first missing one. The row of that pixel will be weighted as a
    whole, so what the prefix has in it, from ``began`` on, is taken off here.
    """
    classes = torch.arange(model.classes, device=model.device)
    every = k.expand(model.classes, -1, -1, -1)
    log_p = wide(model.conditionals(every, classes).log_prob(every)).sum(1).flatten(1)[:, beside(prefix)]  # (K, prefix)
    labels = _draw(log_p.sum(1, keepdim=True).expand(-1, n), generator)
    return labels, -log_p[:, began:].sum(1)[labels]


def _draw(log_p: Tensor, generator: torch.Generator | None) -> Tensor:
    """One of L values, int64 ``(n,)``, of unnormalised ln p ``(L, n)``."""
    cdf = torch.softmax(log_p, 0).cumsum(0)
    u = torch.rand(log_p.shape[1], generator=generator, dtype=torch.float64).to(log_p.device)
    return (u >= cdf).sum(0).clamp_max(len(log_p) - 1)


def _effective_samples(log_w: Tensor) -> float:
    """1 / Σ w² of weights that sum to 1 (Kong, Liu, Wong 1994)."""
    return float(1 / torch.softmax(log_w, 0).square().sum())


def _systematic(log_w: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Indices int64 ``(n,)``, i about n w_i times: systematic resampling (Kitagawa 1996), one uniform for all."""
    u = torch.rand(1, generator=generator, dtype=torch.float64).to(log_w.device)
    points = (torch.arange(n, dtype=torch.float64, device=log_w.device) + u) / n
    return torch.searchsorted(torch.softmax(log_w, 0).cumsum(0), points, right=True).clamp_max(len(log_w) - 1)


@torch.no_grad()
def gibbs_passes(
    model: Autoregressive,
    images: Tensor,
    missing: Tensor,
    passes: int,
    *,
    labels: Tensor | None = None,
    generator: torch.Generator | None = None,
    on_value: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Draw each missing value in turn anew from its exact p(x_i | x_rest) (Geman, Geman 1984), ``passes`` times.

    The chains start from ``images`` uint8 ``(n, C, H, W)`` of classes ``labels`` int64 ``(n,)`` and go over what is
    ``missing``, bool ``(H, W)``, in raster order; gives uint8 ``(n, C, H, W)``. A draw costs a batch of n·L images.
    ``on_value`` is called after each with (done, total).
    """
    k = model.checked_levels(images)
    n, c = k.shape[:2]
    levels = torch.arange(model.levels, device=k.device)
    every = None if labels is None else labels.repeat(model.levels)
    places = [(i, j, channel) for i, j in missing.nonzero().tolist() for channel in range(c)] * passes
    for done, (i, j, channel) in enumerate(places, 1):
        tried = k.repeat(model.levels, 1, 1, 1)  # (L·n, C, H, W)
        tried[:, channel, i, j] = levels.repeat_interleave(n)
        top = i - i % model.patch  # the rows above are the same for all levels
        log_p = model.conditionals(tried, every).log_prob(tried)[:, :, top:]
        k[:, channel, i, j] = _draw(wide(log_p).flatten(1).sum(1).view(model.levels, n), generator)
        if on_value is not None:
            on_value(done, len(places))
    return dequantize(k, model.levels)
