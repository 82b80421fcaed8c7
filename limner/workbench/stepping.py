"""Generation a step at a time, for those who learn how a model draws: a value after the other, or z, μ and σ, x."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from limner.data import OneImage
from limner.data.levels import dequantize
from limner.errors import LimnerError
from limner.models import with_article
from limner.models.autoregressive import Autoregressive
from limner.models.bounded import Bounded
from limner.models.contracts import standard_normal
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["Drawn", "Inside", "Posterior", "Progressing", "draw_values", "look_inside", "places"]


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
    model = _autoregressive(run)
    w = model.shape[2]
    return [(c, i // w, i % w) for i in model.order.tolist() for c in range(model.shape[0])]


def _autoregressive(run: Run) -> Autoregressive:
    if not isinstance(run.model, Autoregressive):
        raise LimnerError(
            f"{with_article(run.config.model)} does not draw a value after the other: a pixelcnn, a PixelRNN or a made "
            "does"
        )
    run.model.check_raster()
    return run.model


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
        run: Of an autoregressive model in raster order.
        values: The levels so far; all of them or none.
        drawn: How many of them count.
        steps: How many to draw; 0 only asks.
        label: The class, of a conditional model; by default the one that the seed draws.
        seed: Of the random numbers.
        seconds: After which no more are drawn.

    Raises:
        LimnerError: The model draws in another way, or a number is out of range.
    """
    model, order, until = _autoregressive(run), places(run), time.monotonic() + seconds
    total, y = len(order), run.class_of(label)
    if (values and len(values) != total) or not 0 <= drawn <= total or (drawn and not values):
        raise LimnerError(f"an image of this model has {total} values, of which 0 to {total} are drawn")
    if any(not 0 <= level < model.levels for level in values):
        raise LimnerError(f"levels of this model are 0 to {model.levels - 1}")
    generator = torch.Generator().manual_seed(seed)
    given = None if y is None else torch.tensor([y])
    labels, (uniforms,) = model.drawn(1, generator, given, model.uniforms(generator))
    k = torch.tensor(list(values) or [0] * total).view(1, *model.shape).to(model.device)
    for c, i, j in order[drawn:]:
        k[0, c, i, j] = 0  # what is not drawn yet says nothing
    just: list[Drawn] = []
    while True:
        parameters = model.logits(model.intensities(k), labels)
        if drawn == total:
            place, probabilities = None, None
            break
        place = order[drawn]
        here, cell = _patch(model, place)
        p = model.distribution(parameters[:, :, cell[0], cell[1]], k[here])
        probabilities = _probabilities(model, parameters[:, :, cell[0], cell[1]], k[here], place)
        if len(just) == steps or (just and time.monotonic() > until):
            break
        c, i, j = place
        level = int(p.icdf(uniforms.to(k.device)[here])[0, c, i % model.patch, j % model.patch])
        k[0, c, i, j] = level
        just.append(Drawn(c, i, j, level, probabilities[level], float(uniforms[0, c, i, j])))
        drawn += 1
    each = model.distribution(parameters, k).log_prob(k)[0].double()  # (C, H, W)
    nats = -sum(float(each[place]) for place in order[:drawn])
    one = None if labels is None else int(labels[0])
    shown, image = k[0].flatten().tolist(), dequantize(k[0], model.levels).cpu()
    return Progressing(shown, drawn, tuple(just), place, probabilities, nats, one, image)


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


@runtime_checkable
class Posterior(Protocol):
    """Encodes an image as a Gaussian: μ and ln σ of q(z|x)."""

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ, each ``(B, latent)``, of intensities ``(B, C, H, W)``."""


@dataclass(frozen=True)
class Inside:
    """What a variational autoencoder does, step by step.

    Attributes:
        z: The code, ``(D,)``: as given, drawn from q(z|x) of an image, or from the prior.
        mean: μ of p(x|z), uint8 ``(C, H, W)``.
        deviation: σ of p(x|z), intensities of which white is 1, ``(C, H, W)``.
        sample: A draw from p(x|z), uint8 ``(C, H, W)``.
        label: The class, of a conditional model.
        original: The image, where one was given.
        posterior: μ and σ of q(z|x), each ``(D,)``, where an image was given and q is one Gaussian.
        reconstruction: -ln p(x|z) of the image, in nats.
        kl: KL(q(z|x) ‖ p(z)) of the image in nats, of each dimension or group of z.
    """

    z: Tensor
    mean: Tensor
    deviation: Tensor
    sample: Tensor
    label: int | None = None
    original: Tensor | None = None
    posterior: tuple[Tensor, Tensor] | None = None
    reconstruction: float | None = None
    kl: tuple[float, ...] | None = None


@torch.no_grad()
def look_inside(
    run: Run,
    z: Sequence[float] | None = None,
    image: OneImage | None = None,
    *,
    label: ClassLabel | None = None,
    seed: int = 0,
) -> Inside:
    """The way of a variational autoencoder: (x → q(z|x) →) z → μ, σ → x; see ``Inside``.

    Args:
        run: Of a model with an encoder and a bound.
        z: The code, in place of one that is drawn.
        image: To begin from: a file, an image of Pillow's, ``test:7``, an array.
        label: The class, of a conditional model; by default that of the image, or 0.
        seed: Of the random numbers.

    Raises:
        LimnerError: The model is no such one, or the image or the code does not fit it.
    """
    model = run.model
    if not isinstance(model, Bounded):
        raise LimnerError(f"{with_article(run.config.model)} is no variational autoencoder: it has no p(x|z)")
    generator, y, known = torch.Generator().manual_seed(seed), run.class_of(label), dict[str, Any]()
    labels = torch.tensor([y or 0]) if model.classes else None
    codes = run.checked_codes(z) if z is not None else None
    if image is not None:
        pixels, _, found = run.encoded([image], y)
        labels = labels if found is None else found
        levels, seen = model.checked_levels(pixels), model.checked_labels(labels, 1)
        drawn = _of_image(model, levels, seen, generator)
        known = {"original": pixels[0], **drawn}
        if codes is None:
            q = drawn["posterior"]
            codes = run.encode(pixels, labels) if q is None else _draw(q[0], q[1], generator)[None]
    if codes is None:
        codes = model.latents(1, generator=generator).cpu()
    p = model.likelihood(codes.to(model.device, model.dtype), labels)
    u = torch.rand(1, *model.shape, generator=generator, dtype=torch.float64)
    return Inside(
        codes[0],
        torch.round(p.mean[0] * 255).to(torch.uint8).cpu(),
        p.variance[0].sqrt().float().cpu(),
        dequantize(p.icdf(u.to(model.device)), model.levels)[0].cpu(),
        None if labels is None else int(labels[0]),
        **known,
    )


def _of_image(model: Bounded, levels: Tensor, labels: Tensor | None, generator: torch.Generator) -> dict[str, Any]:
    """q(z|x) and the two terms of the ELBO, of levels ``(1, C, H, W)``."""

    def noise(s: int, shape: tuple[int, ...]) -> Tensor:
        return standard_normal((s, 1, *shape), generator, levels.device, images=1)

    posterior = None
    if isinstance(model, Posterior):
        mean, log_std = model.posterior(model.intensities(levels), labels)
        posterior = mean[0].cpu(), log_std[0].exp().cpu()
    weights = model.weights(levels, model.infer(levels, labels), labels, 1, noise)
    kl = tuple(weights.kl[:, 0, 0].double().tolist())
    return {"posterior": posterior, "reconstruction": -float(weights.log_x[0, 0]), "kl": kl}


def _draw(mean: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    return mean + deviation * torch.randn(mean.shape, generator=generator)
