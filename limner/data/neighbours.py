"""Nearest neighbours: which images of a set are most like a given one."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.errors import LimnerError

__all__ = ["nearest"]

CHUNK = 4096  # references compared at a time


@torch.no_grad()
def nearest(queries: Tensor, references: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest ``references`` of each query, by L2 distance, nearest first.

    Exact: all distances are computed, and those of the nearest few anew from the differences, so that a copy lies at
    0 and not at the rounding of |a|² + |b|² - 2ab.

    Args:
        queries: Images uint8 ``(N, C, H, W)``, whose pixels then count as numbers in [0, 1], or features ``(N, D)``.
        references: Likewise ``(M, ...)``.
        k: How many, at most M.

    Returns:
        Distances float64 and positions int64, each ``(N, k)``.

    Raises:
        LimnerError: ``k`` is not from 1 to M, or the two differ in shape.
    """
    if queries.shape[1:] != references.shape[1:]:
        raise LimnerError(f"neighbours of {tuple(queries.shape[1:])} among {tuple(references.shape[1:])}: not alike")
    if not 1 <= k <= len(references):
        raise LimnerError(f"{k} nearest neighbours: choose 1 to {len(references):,}, the number of images there are")
    a, more = _numbers(queries), min(k + 8, len(references))
    square = a.square().sum(1, keepdim=True)  # (N, 1)
    best = torch.empty(len(a), 0, dtype=a.dtype, device=a.device)
    where = torch.empty(len(a), 0, dtype=torch.int64, device=a.device)
    for start in range(0, len(references), CHUNK):
        b = _numbers(references[start : start + CHUNK])
        squares = square + b.square().sum(1) - 2 * a @ b.T  # (N, chunk)
        found, place = squares.topk(min(more, len(b)), 1, largest=False)
        best, where = torch.cat([best, found], 1), torch.cat([where, place + start], 1)
        best, order = best.topk(min(more, best.shape[1]), 1, largest=False)
        where = where.gather(1, order)
    where = where.sort(1).values
    exact = torch.stack(
        [(_numbers(references[w]).double() - x.double()).norm(dim=1) for x, w in zip(a, where, strict=True)]
    )  # (N, more)
    distances, order = exact.sort(dim=1, stable=True)
    return distances[:, :k], where.gather(1, order)[:, :k]


def _numbers(images: Tensor) -> Tensor:
    """``(N, D)``, pixels in [0, 1]."""
    flat = images.flatten(1)
    return flat.float() / 255 if images.dtype == torch.uint8 else flat
