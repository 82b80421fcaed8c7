"""Generation a step at a time, for those who learn how a model draws: a value after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.devices import exact_device
from limner.errors import LimnerError
from limner.models import with_article
from limner.models.autoregressive import Autoregressive
from limner.models.multiscale import MultiScalePixelRNN
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["Drawn", "Progressing", "draw_values", "places"]


@dataclass(frozen=True)
class Drawn:
    """A value that was drawn: where it is, its level, the level's probability, and the uniform that decided it."""

    channel: int
    row: int
    column: int
    level: int
    probability: float
    uniform: float


@dataclass(frozen=True)
class Progressing:
    """An image of which some values are drawn.

    Attributes:
        values: Levels of all values, C·H·W of them, channel by channel and row by row; 0 where nothing is drawn yet.
        drawn: How many are.
        just: Those that were drawn by this call.
        place: Channel, row and column of the next; None at the end.
        probabilities: Of each level there; None at the end.
        nats: -ln p of the values that are drawn (given the class).
        label: The class, of a conditional model.
        image: uint8 ``(C, H, W)``.
    """

    values: list[int]
    drawn: int
    just: tuple[Drawn, ...]
    place: tuple[int, int, int] | None
    probabilities: list[float] | None
    nats: float
    label: int | None
    image: Tensor


def places(run: Run) -> list[tuple[int, int, int]]:
    """Channel, row and column of each value in the order in which the model draws them.

    Raises:
        LimnerError: The model is not one that draws a value after the other, in raster order.
    """
    model = run.model
    if not isinstance(model, Autoregressive | MultiScalePixelRNN):
        raise LimnerError(
            f"{with_article(run.config.model)} does not draw a value after the other: a pixelcnn, a PixelRNN or a made "
            "does"
        )
    if isinstance(model, Autoregressive):
        model.check_raster()
    return _order(model)


def _order(model: Any) -> list[tuple[int, int, int]]:
    """Channel, row and column of each value; of several scales the small image first, then the pixels in between."""
    channels, _, w = model.shape
    if isinstance(model, MultiScalePixelRNN):
        f, small = model.config.factor, _order(model.small)
        between = [place for place in _order(model.large) if not model.given[place[1:]]]
        return [(c, i * f, j * f) for c, i, j in small] + between
    return [(c, i // w, i % w) for i in model.order.tolist() for c in range(channels)]


@torch.no_grad()
def draw_values(
    run: Run,
    values: Sequence[int] = (),
    drawn: int = 0,
    steps: int = 0,
    *,
    label: ClassLabel | None = None,
    seed: int = 0,
    seconds: float = 1.0,
) -> Progressing:
    """Draw the next values of an image from the model's own p(x_i | x_<i), and say what the one after them may be.

    The uniforms are those of ``Run.sample(1, seed=seed)``: step by step it is the same image.

    Args:
        run: Of an autoregressive model in raster order, or of one in several scales.
        values: The levels so far; all of them or none.
        drawn: How many of them count.
        steps: How many to draw; 0 only asks.
        label: The class, of a conditional model; by default the one that the seed draws.
        seed: Of the random numbers.
        seconds: After which no more are drawn.

    Raises:
        LimnerError: The model draws in another way, or a number is out of range.
    """
    model: Any = run.model
    order, until = places(run), time.monotonic() + seconds
    total, y = len(order), run.class_of(label)
    if (values and len(values) != total) or not 0 <= drawn <= total or (drawn and not values):
        raise LimnerError(f"an image of this model has {total} values, of which 0 to {total} are drawn")
    if any(not 0 <= level < model.levels for level in values):
        raise LimnerError(f"levels of this model are 0 to {model.levels - 1}")
    generator = torch.Generator().manual_seed(seed)
    given = None if y is None else torch.tensor([y])
    scales = isinstance(model, MultiScalePixelRNN)
    numbers = model.uniforms_of_scales(generator) if scales else [model.uniforms(generator)]
    labels, uniforms = model.drawn(1, generator, given, *numbers)
    k = torch.tensor(list(values) or [0] * total).view(1, *model.shape).to(model.device)
    for c, i, j in order[drawn:]:
        k[0, c, i, j] = 0  # what is not drawn yet says nothing
    just: list[Drawn] = []
    place, probabilities = None, None
    while drawn < total:
        c, i, j = place = order[drawn]
        probabilities, level, u = (_in_scales if scales else _in_raster)(model, k, labels, uniforms, place)
        if len(just) == steps or (just and time.monotonic() > until):
            break
        k[0, c, i, j] = level
        just.append(Drawn(c, i, j, level, probabilities[level], u))
        drawn += 1
        place, probabilities = None, None
    nats = -sum(_log_probs(model, k, labels, order[:drawn]))
    one = None if labels is None else int(labels[0])
    shown, image = k[0].flatten().tolist(), dequantize(k[0], model.levels).cpu()
    return Progressing(shown, drawn, tuple(just), place, probabilities, nats, one, image)


def _in_raster(
    model: Autoregressive, k: Tensor, labels: Tensor | None, uniforms: list[Tensor], place: tuple[int, int, int]
) -> tuple[list[float], int, float]:
    """Of the value at ``place``: the probabilities of its levels, the level that its uniform draws, the uniform."""
    (here, cell), (c, i, j) = _patch(model, place), place
    parameters = model.logits(model.intensities(k), labels)[:, :, cell[0], cell[1]]
    drawn = model.distribution(parameters, k[here]).icdf(uniforms[0].to(exact_device(k.device))[here])
    level = int(drawn[0, c, i % model.patch, j % model.patch])
    return _probabilities(model, parameters, k[here], place), level, float(uniforms[0][0, c, i, j])


def _in_scales(
    model: Any, k: Tensor, labels: Tensor | None, uniforms: list[Tensor], place: tuple[int, int, int]
) -> tuple[list[float], int, float]:
    """The same where a small image is drawn first: there, or in the large one."""
    c, i, j = place
    if isinstance(model, MultiScalePixelRNN) and model.given[i, j]:
        f = model.config.factor
        return _in_scales(model.small, model.smaller(k), labels, uniforms[:-1], (c, i // f, j // f))
    p, tried, found = model.conditionals(k, labels), k.clone(), []
    for level in range(model.levels):
        tried[0, c, i, j] = level
        found.append(float(p.log_prob(tried)[0, c, i, j].exp()))
    drawn = p.icdf(uniforms[-1].to(exact_device(k.device)))
    return found, int(drawn[0, c, i, j]), float(uniforms[-1][0, c, i, j])


def _log_probs(model: Any, k: Tensor, labels: Tensor | None, drawn: Sequence[tuple[int, int, int]]) -> Iterator[float]:
    """ln p of each value that is ``drawn``, of levels ``k`` ``(1, C, H, W)``."""
    own = list(drawn)
    if isinstance(model, MultiScalePixelRNN):
        f, own = model.config.factor, [place for place in drawn if not model.given[place[1:]]]
        small = [(c, i // f, j // f) for c, i, j in drawn if model.given[i, j]]
        yield from _log_probs(model.small, model.smaller(k), labels, small)
    each = model.conditionals(k, labels).log_prob(k)[0] if own else k
    yield from (float(each[place]) for place in own)


def _patch(model: Autoregressive, place: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, slice]]:
    """Where the patch of a value lies: among the pixels ``(1, C, H, W)``, and among the model's maps."""
    p = model.patch
    rows, columns = (slice(x - x % p, x - x % p + p) for x in place[1:])
    cell = tuple(slice(x // p, x // p + 1) for x in place[1:])
    return (slice(None), slice(None), rows, columns), (cell[0], cell[1])


def _probabilities(model: Autoregressive, parameters: Tensor, k: Tensor, place: tuple[int, int, int]) -> list[float]:
    """Of each level at ``place``, of the patch's ``parameters`` ``(1, P, 1, 1)`` and levels ``k`` ``(1, C, p, p)``."""
    c, i, j = place[0], place[1] % model.patch, place[2] % model.patch
    tried = k.repeat(model.levels, 1, 1, 1)
    tried[:, c, i, j] = torch.arange(model.levels, device=k.device)
    spread = parameters.expand(model.levels, *parameters.shape[1:])
    log_p = model.distribution(spread, tried).log_prob(tried)[:, c, i, j]
    return log_p.double().exp().tolist()
