"""Quadratic polynomials of many points: arrays for the loops of ``limner.kernels.quadratic``."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.kernels import quadratic
from limner.kernels.tile import VECTOR_BYTES
from limner.nn.compiled import panels
from limner.threads import in_shares

__all__ = ["quadratics"]


@torch.no_grad()
def quadratics(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """c + b·x + x·A x of K points for each of B polynomials, float32 ``(B, K)``.

    Args:
        x: ``(B, K, d)``.
        a: A, ``(B, d, d)``.
        b: ``(B, d)``.
        c: ``(B,)``.
    """
    more = -x.shape[2] % (VECTOR_BYTES // 4)
    matrices = np.stack([panels(matrix) for matrix in F.pad(a, (0, more)).float()])
    slopes = F.pad(b, (0, more)).float().contiguous().numpy()
    points, out = x.float().contiguous().numpy(), torch.empty(x.shape[:2])

    def share(first: int, last: int) -> None:
        quadratic.quadratics(points, matrices, slopes, c.float().numpy(), first, last, out.numpy())

    in_shares(share, len(x))
    return out
