"""Standard errors of figures that compare sets of images, by the jackknife: the figure again, of fewer images.

The bootstrap draws images twice. That is no good here: a set of fewer different images is farther from every other (the
bias of a Fréchet distance falls as 1/N, Chong and Forsyth 2020, arXiv 1911.07023), and a neighbour that is the image
itself is none. Subsets without repetition keep different images different:

- For distances, which are smooth but biased, all but one of SUBSETS groups (the delete-a-group jackknife, Kott 2001,
  Journal of Official Statistics 17): they are nearly as many, so the bias is nearly the same. The variance is in the
  mean no smaller than the true one (Efron and Stein 1981, Annals of Statistics 9); of a squared distance that is truly
  0, about twice as large. Such error bars are too long rather than too short.
- For shares within nearest neighbours, which are not smooth, random halves (the delete-d jackknife, Shao and Wu 1989,
  Annals of Statistics 17).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["SUBSETS", "all_but_one", "halves", "standard_errors"]

SUBSETS = 20  # the errors are right to about a sixth


def all_but_one(n: int) -> Tensor:
    """The images without one of the groups, for each group in turn, bool ``(SUBSETS, n)``."""
    return torch.arange(n) % SUBSETS != torch.arange(SUBSETS)[:, None]


def halves(n: int, generator: torch.Generator) -> Tensor:
    """Random halves and the other halves, bool ``(SUBSETS, n)``."""
    chosen = torch.stack([torch.randperm(n, generator=generator) < n // 2 for _ in range(SUBSETS // 2)])
    return torch.cat([chosen, ~chosen])


def standard_errors(figures: Sequence[Sequence[float]], kept: Tensor) -> list[float]:
    """Of F figures of each of S subsets, ``kept`` bool ``(S, N)``: one for each of F."""
    share = kept.double().mean()
    return (torch.tensor(figures, dtype=torch.float64).var(0, correction=0) * share / (1 - share)).sqrt().tolist()
