"""Walks in the latent space of a model that decodes latents z ~ N(0, I): a VAE, a GAN."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.neighbours import nearest
from limner.errors import LimnerError
from limner.models.contracts import Latents, Reconstructs

__all__ = ["Analogy", "LabelledLatents", "analogy", "interpolate", "labelled_latents", "manifold", "slerp"]

VOTES = 5  # nearest pictures that must agree before a sample is given their class


def manifold(model: Latents, side: int = 20) -> Tensor:
    """The lecture's picture of a 2-D latent plane, uint8 ``(side², C, H, W)`` in reading order.

    A regular grid of the unit square goes through the inverse Gaussian CDF, so that every cell stands for equal prior
    mass, and each code is decoded; of a VAE that is the mean of p(x|z) (arXiv 1312.6114, appendix A).

    Raises:
        LimnerError: The latent space has not two dimensions.
    """
    like = model.latents(1, generator=torch.Generator())  # the caller's random state stays as it is
    if like.shape[1] != 2:
        raise LimnerError(
            f"the latent plane needs 2 dimensions, this model has {like.shape[1]}: train one with --set latent=2"
        )
    u = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    axis = torch.special.ndtri(u).to(like)
    z = torch.stack(torch.meshgrid(axis.flip(0), axis, indexing="ij")[::-1], -1).view(-1, 2)  # (side², 2): x, y
    return model.decode(z)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    r"""From a to b along a great circle, ``(T, D)``, of a and b ``(D,)`` and t ``(T,)`` in [0, 1].

    With unit vectors â, b̂ and the angle Ω between them, direction and norm are

    .. math:: \frac{\sin((1-t) Ω)\, â + \sin(t Ω)\, b̂}{\sin Ω}, \quad (1-t) |a| + t |b|

    (Shoemake 1985). In D dimensions nearly all of N(0, I) lies about √D from the origin; a straight line would pass
    nearer, through latents that training hardly saw. Parallel and opposite ends, and 0, are joined by a line.
    """
    t = t.to(a)[:, None]
    norms = (1 - t) * a.norm() + t * b.norm()
    unit_a, unit_b = a / a.norm(), b / b.norm()
    angle = torch.acos((unit_a @ unit_b).clamp(-1, 1))
    if not torch.sin(angle) > 1e-4:  # also where an end is 0
        return (1 - t) * a + t * b
    return norms * (torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b) / torch.sin(angle)


def interpolate(model: Latents, a: Tensor, b: Tensor, steps: int = 10, label: int | None = None) -> Tensor:
    """Pictures on the way from latent a to b ``(D,)``, ends included, uint8 ``(steps, C, H, W)``; of one class.

    Raises:
        LimnerError: There are fewer than two steps.
    """
    if steps < 2:
        raise LimnerError(f"an interpolation has 2 steps or more, its two ends, not {steps}")
    z = slerp(a, b, torch.linspace(0, 1, steps))
    return model.decode(z, None if label is None else torch.full((steps,), label))


@dataclass(frozen=True)
class LabelledLatents:
    """Latents and what they show.

    Attributes:
        z: ``(N, latent)``.
        labels: int64 ``(N,)``.
        encoded: Whether they are codes of labelled pictures; else they were drawn, and labelled by their neighbours.
    """

    z: Tensor
    labels: Tensor
    encoded: bool


def labelled_latents(
    model: Latents, images: Tensor, labels: Tensor, n: int = 2000, *, generator: torch.Generator | None = None
) -> LabelledLatents:
    """Latents with a class each, of a model without classes of its own.

    A model with an encoder gives the codes of the pictures. One without gives ``n`` latents of the prior, each with
    the class of the five training pictures nearest to the picture it decodes to (L2 of pixels), if all five agree; the
    others are left out.

    Args:
        model: Encodes, or only decodes.
        images: uint8 ``(M, C, H, W)``.
        labels: Of ``images``, int64 ``(M,)``.
        n: Latents to draw.
        generator: Of their numbers.
    """
    if isinstance(model, Reconstructs):
        codes = [model.encode(part) for part in images.split(500)]
        return LabelledLatents(torch.cat(codes), labels, encoded=True)
    z = model.latents(n, generator=generator)
    drawn = torch.cat([model.decode(part).cpu() for part in z.split(500)])
    votes = labels[nearest(drawn, images, min(VOTES, len(images)))[1]]  # (n, 5)
    agreed = (votes == votes[:, :1]).all(1)
    return LabelledLatents(z[agreed.to(z.device)], votes[agreed, 0], encoded=False)


@dataclass(frozen=True)
class Analogy:
    """a - b + c, on averaged latents and on single ones.

    Attributes:
        means: What the averaged latents of a, of b, of c and a - b + c decode to, uint8 ``(4, C, H, W)``.
        before: Single latents of c decoded, uint8 ``(n, C, H, W)``.
        after: The same with (a - b) added.
        counts: How many latents of a, b, c were averaged.
    """

    means: Tensor
    before: Tensor
    after: Tensor
    counts: tuple[int, int, int]


def analogy(model: Latents, latents: LabelledLatents, classes: tuple[int, int, int], n: int = 8) -> Analogy:
    """Arithmetic on averaged latents (Radford et al. 2015, arXiv 1511.06434): a smiling woman, less a neutral one, etc.

    The average of drawn latents is much shorter than any of them; before it is decoded it is brought to the length √D
    that latents of the prior have. Averages of codes are decoded as they are.

    Args:
        model: Decodes.
        latents: Of at least one of each class.
        classes: a, b, c.
        n: Single latents of c, at most.

    Raises:
        LimnerError: There is no latent of a class.
    """
    members = [latents.z[(latents.labels == k).to(latents.z.device)] for k in classes]
    for k, found in zip(classes, members, strict=True):
        if len(found) == 0:
            raise LimnerError(f"no latent of class {k}: the model seems not to draw it, or the data has none")
    a, b, c = (found.mean(0) for found in members)
    means = torch.stack([a, b, c, a - b + c])
    if not latents.encoded:
        means = means * (math.sqrt(means.shape[1]) / means.norm(dim=1, keepdim=True))
    single = members[2][:n]
    decoded = model.decode(torch.cat([means, single, single + a - b])).cpu()
    before, after = decoded[4:].chunk(2)
    return Analogy(decoded[:4], before, after, (len(members[0]), len(members[1]), len(members[2])))
