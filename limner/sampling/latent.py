"""Walks in a latent space, arithmetic and maps: of models that draw latents (a VAE, a GAN) or encode images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from limner.data.neighbours import nearest
from limner.errors import LimnerError, setting
from limner.models.bounded import Bounded
from limner.models.contracts import Latents, Reconstructs
from limner.models.cost import images_at_once
from limner.sampling.rows import chosen

__all__ = [
    "Analogy",
    "LabelledLatents",
    "LatentMap",
    "analogy",
    "decode_all",
    "dimensions",
    "encode_all",
    "has_plane",
    "interpolate",
    "labelled_latents",
    "latent_map",
    "manifold",
    "slerp",
    "traversal",
    "way",
]

VOTES = 5  # nearest images that must agree before a sample is given their class
BATCH = 500  # images or latents that go through a network together, at most


def _has_normal_prior(model: Latents | Reconstructs) -> bool:
    """Whether its latents are N(0, I): an autoencoder has no prior, and a VAE's may be learned."""
    return isinstance(model, Latents) and not (isinstance(model, Bounded) and not model.normal_prior)


def dimensions(model: Latents) -> int:
    """How many numbers a latent has."""
    return model.latents(1, generator=torch.Generator()).shape[1]  # the caller's random state stays as it is


def has_plane(model: object) -> TypeGuard[Latents]:
    """Whether ``manifold`` can show the model's latents: two dimensions, N(0, I)."""
    return isinstance(model, Latents) and _has_normal_prior(model) and dimensions(model) == 2


def manifold(model: Latents, side: int = 20, label: int | None = None) -> Tensor:
    """The lecture's image of a 2-D latent plane (of one class), uint8 ``(side², C, H, W)`` in reading order.

    A regular grid of the unit square goes through the inverse Gaussian CDF, so that every cell stands for equal prior
    mass, and each code is decoded; of a VAE that is the mean of p(x|z) (arXiv 1312.6114, appendix A).

    Raises:
        LimnerError: The latent space has not two dimensions, or its prior is not N(0, I).
    """
    if not _has_normal_prior(model):
        raise LimnerError("the latent plane has cells of equal mass under N(0, I): this prior is learned")
    if (d := dimensions(model)) != 2:
        raise LimnerError(
            f"the latent plane needs 2 dimensions, this model has {d}: train a vae or a gan with "
            f"{setting('latent', '2')}"
        )
    u = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    axis = torch.special.ndtri(u).float()
    z = torch.stack(torch.meshgrid(axis.flip(0), axis, indexing="ij")[::-1], -1).view(-1, 2)  # (side², 2): x, y
    return decode_all(model, z, label)


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


def interpolate(
    model: Latents | Reconstructs, a: Tensor, b: Tensor, steps: int = 10, label: int | None = None
) -> Tensor:
    """Images on the way from latent a to b ``(D,)``, ends included, uint8 ``(steps, C, H, W)``; of one class.

    On a great circle where the latents are N(0, I), else (of an autoencoder, of a learned prior) on a straight line.

    Raises:
        LimnerError: There are fewer than two steps.
    """
    return decode_all(model, way(model, a, b, steps), label)


def way(model: Latents | Reconstructs, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """The latents of ``interpolate``, ``(steps, D)``.

    Raises:
        LimnerError: There are fewer than two steps.
    """
    if steps < 2:
        raise LimnerError(f"an interpolation has 2 steps or more, its two ends, not {steps}")
    t = torch.linspace(0, 1, steps)
    return slerp(a, b, t) if _has_normal_prior(model) else a + t.to(a)[:, None] * (b - a)


def traversal(
    model: Latents | Reconstructs, base: Tensor, values: Tensor, dimensions: Tensor, label: int | None = None
) -> Tensor:
    """The images of ``base`` with one latent at a time changed, uint8 ``(M · steps, C, H, W)``, a latent a row.

    Args:
        model: Decodes.
        base: The latents that are held, ``(D,)``.
        values: What each latent becomes, ``(M, steps)``.
        dimensions: Which latents, int64 ``(M,)``.
        label: The images' class, of a conditional model.
    """
    m, steps = values.shape
    z = base.repeat(m, steps, 1)  # (M, steps, D)
    z[torch.arange(m), :, dimensions] = values.to(base)
    return decode_all(model, z.flatten(0, 1), label)


def encode_all(model: Reconstructs, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Codes ``(B, D)`` of any number of images uint8 ``(B, C, H, W)``; of their classes, of a conditional model."""
    size = images_at_once(model, BATCH)
    parts = [slice(i, i + size) for i in range(0, len(images), size)]
    return torch.cat([model.encode(images[p], chosen(labels, p)) for p in parts]).cpu()


def decode_all(model: Latents | Reconstructs, z: Tensor, label: int | Tensor | None = None) -> Tensor:
    """The images of any number of latents ``(B, D)``, uint8 ``(B, C, H, W)``, all of one class or of ``(B,)``."""
    labels = torch.full((len(z),), label) if isinstance(label, int) else label
    n = images_at_once(model, BATCH)
    parts = [slice(i, i + n) for i in range(0, len(z), n)]
    return torch.cat([model.decode(z[p], chosen(labels, p)).cpu() for p in parts])


@dataclass(frozen=True)
class LatentMap:
    """Where images lie in the latent space, seen in a plane.

    Attributes:
        points: ``(N, 2)``.
        explained: Shares of the codes' variance along the two principal components; None where the points are the
            codes themselves.
    """

    points: Tensor
    explained: tuple[float, float] | None

    @property
    def axes(self) -> tuple[str, str]:
        """What the two coordinates are."""
        if self.explained is None:
            return "z0", "z1"
        first, second = (f"{share:.0%} of the variance" for share in self.explained)
        return f"first principal component, {first}", f"second, {second}"


def latent_map(codes: Tensor) -> LatentMap:
    """Codes ``(N, D)`` in a plane: two-dimensional ones as they are, more on their two principal components.

    Raises:
        LimnerError: The latent space has one dimension, or there are fewer than two codes.
    """
    n, d = codes.shape
    if d < 2 or n < 2:
        raise LimnerError(f"a map needs 2 latent dimensions and 2 images or more, not {d} and {n}")
    if d == 2:
        return LatentMap(codes, None)
    from sklearn.decomposition import PCA

    pca = PCA(2, random_state=0)
    points = torch.from_numpy(pca.fit_transform(codes.double().numpy()))
    first, second = pca.explained_variance_ratio_.tolist()
    return LatentMap(points, (first, second))


@dataclass(frozen=True)
class LabelledLatents:
    """Latents and what they show."""

    z: Tensor  # (N, latent)
    labels: Tensor  # int64 (N,)
    encoded: bool  # whether they are codes of labelled images; else they were drawn, and labelled by their neighbours


def labelled_latents(
    model: Latents | Reconstructs,
    images: Tensor,
    labels: Tensor,
    n: int = 2000,
    *,
    generator: torch.Generator | None = None,
) -> LabelledLatents:
    """Latents with a class each, of a model without classes of its own.

    A model with an encoder gives the codes of the images uint8 ``(M, C, H, W)`` of classes ``labels`` int64 ``(M,)``.
    One without gives ``n`` latents of the prior, each with the class of the five images nearest to the image it
    decodes to (L2 of pixels), if all five agree; the others are left out.
    """
    if isinstance(model, Reconstructs):
        return LabelledLatents(encode_all(model, images), labels, encoded=True)
    z = model.latents(n, generator=generator)
    votes = labels[nearest(decode_all(model, z), images, min(VOTES, len(images)))[1]]  # (n, 5)
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


def analogy(
    model: Latents | Reconstructs, latents: LabelledLatents, classes: tuple[int, int, int], n: int = 8
) -> Analogy:
    """Arithmetic on averaged latents (Radford et al. 2015, arXiv 1511.06434): a smiling woman, less a neutral one, etc.

    The average of drawn latents is much shorter than any of them; before it is decoded it is brought to the length √D
    that latents of the prior have. Averages of codes are decoded as they are. The ``classes`` are a, b and c; at most
    ``n`` single latents of c are shown.

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
    decoded = decode_all(model, torch.cat([means, single, single + a - b]))
    before, after = decoded[4:].chunk(2)
    return Analogy(decoded[:4], before, after, (len(members[0]), len(members[1]), len(members[2])))
