"""Nearest neighbours of samples among the training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from limner.data import ImageSet, Split
from limner.data.neighbours import nearest
from limner.training.doctor import FEWEST_UNSEEN, FURTHER, Nearness, memorisation, nearness
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["Neighbours", "compare_with_held_out", "known", "neighbours"]

MOST = 60_000  # training images that are searched or encoded,
VALUES = 100_000_000  # or as many as have so many values
UNSEEN = 1000  # validation images to compare with
SIDE = 64  # pixels that these comparisons look at


@dataclass(frozen=True)
class Neighbours:
    """Samples and the training images that are most like them.

    Attributes:
        samples: uint8 ``(n, C, H, W)``, the one that is nearest to its neighbour first.
        nearest: uint8 ``(n, k, C, H, W)``, nearest first.
        positions: Of the neighbours in the training split, int64 ``(n, k)``.
        distances: L2 of the pixels in [0, 1], or of the features, ``(n, k)``.
        nearness: Of the pixels, beside validation images; None where there are too few.
        searched: Training images that were looked at.
    """

    samples: torch.Tensor
    nearest: torch.Tensor
    positions: torch.Tensor
    distances: torch.Tensor
    nearness: Nearness | None
    searched: int

    @property
    def memorised(self) -> str | None:
        """What shows that the model gives training images back, if anything does."""
        found = memorisation(self.nearness) if self.nearness else None
        return found.observed if found else None


def neighbours(
    run: Run,
    n: int = 10,
    k: int = 3,
    *,
    features: torch.nn.Module | None = None,
    label: ClassLabel | None = None,
    seed: int = 0,
    quiet: bool | None = None,
) -> Neighbours:
    """The training images nearest to samples of any model that draws.

    Args:
        run: Whose model draws.
        n: Samples to show; 200 at least are measured.
        k: Neighbours of each.
        features: Maps uint8 images ``(B, C, H, W)`` to ``(B, D)``, in which neighbours are looked for; else pixels.
        label: Class of the samples, of a conditional model.
        seed: Of the samples.
        quiet: No progress; by default none unless a person watches.

    Raises:
        LimnerError: The model does not draw, or there are not ``k`` images.
    """
    drawn = run.sample(max(n, 200), label=label, seed=seed, quiet=quiet)
    data = run.data(quiet=quiet)
    pool = known(data.split("train"))
    if features is None:
        distances, positions = nearest(drawn, pool, k)
    else:
        with torch.no_grad():
            a, b = (torch.cat([features(part) for part in images.split(500)]) for images in (drawn, pool))
        distances, positions = nearest(a, b, k)
    compare = compare_with_held_out(data)
    first = distances[:, 0].argsort()[:n]
    near = positions[first]
    return Neighbours(
        drawn[first],
        pool[near.flatten()].view(*near.shape, *pool.shape[1:]),
        near,
        distances[first],
        compare(drawn) if compare else None,
        len(pool),
    )


def compare_with_held_out(data: ImageSet) -> Callable[[torch.Tensor], Nearness] | None:
    """A function that says how near samples uint8 ``(N, C, H, W)`` are to training images, beside validation images.

    None where there are too few. It is asked during training, which the test split is kept out of.
    """
    unseen = data.splits["validation"]
    if len(unseen) < FEWEST_UNSEEN or len(data.split("train")) < 2:
        return None
    pool = _small(known(data.split("train")))
    k = min(1 + FURTHER, len(pool))
    usual = nearest(_small(unseen.first(UNSEEN)), pool, k)[0]
    return lambda samples: nearness(nearest(_small(samples), pool, k)[0], usual)


def _small(images: torch.Tensor) -> torch.Tensor:
    """Images uint8 ``(N, C, H, W)`` as they are, or of more than ``SIDE`` pixels as means of their parts, float.

    A copy is one there, too. All pixels of a few hundred photographs would take gigabytes.
    """
    h, w = images.shape[2:]
    if max(h, w) <= SIDE:
        return images
    size = (min(h, SIDE), min(w, SIDE))
    return torch.cat([F.adaptive_avg_pool2d(part.float() / 255, size) for part in images.split(16)])


def known(split: Split) -> torch.Tensor:
    """The images of a split, so many at most that they can be searched in memory."""
    c, h, w = split.store.shape
    return split.first(min(MOST, max(1, VALUES // (c * h * w))))
