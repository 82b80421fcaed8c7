"""The recurrent cores on the CPU: arrays and weights for ``limner.kernels.lstm``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.kernels import lstm
from limner.kernels.tile import VECTOR_BYTES, VECTORS
from limner.threads import in_shares

if TYPE_CHECKING:
    from limner.nn.recurrent import Way

__all__ = ["lstm_backward", "lstm_forward", "panels"]


def lstm_forward(inputs: Tensor, weight: Tensor, ways: Sequence[Way]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states summed over the D ways ``(H, W, B, h)``, and what ``lstm_backward`` needs of each way.

    That is hidden states, gates and cells, ``(H, W, B, D, h or 4h)``, h padded to whole vectors.

    Args:
        inputs: ``(H, W, B, D, 4h)``.
        weight: ``(D, 4h, taps·h)``.
        ways: D of them.
    """
    features = weight.shape[1] // 4
    inputs = _pad(inputs, features).contiguous()
    h, w, b, d, width = inputs.shape
    gates = torch.empty_like(inputs)
    cells, hidden = (inputs.new_empty(h, w, b, d, width // 4) for _ in range(2))
    total = inputs.new_empty(h, w, b, width // 4)
    arrays = [x.numpy() for x in (inputs.detach(), gates, cells, hidden, total)]
    weights = [panels(x.flatten(0, 1)) for x in _taps(weight, features)]
    zeros = np.zeros(width, arrays[0].dtype)

    def share(first: int, last: int) -> None:
        for n, way in enumerate(ways):
            taps, cell = np.array(way.taps), np.array(way.cell)
            found = np.empty((len(taps), 3), dtype=np.int64)
            lstm.forward(*arrays, weights[n], taps, cell, cell[1] > 0, way.lower, n, first, last, zeros, found)

    in_shares(share, b)
    return total[..., :features], hidden, gates, cells


def lstm_backward(
    gradient: Tensor, hidden: Tensor, gates: Tensor, cells: Tensor, weight: Tensor, ways: Sequence[Way]
) -> tuple[Tensor, Tensor]:
    """The gradients of ``lstm_forward``'s inputs and weight from that of its sum ``(H, W, B, h)``."""
    features = weight.shape[1] // 4
    _, w, b, _, width = gates.shape
    if width > 4 * features:
        gradient = F.pad(gradient, (0, width // 4 - features))
    d_gates = torch.empty_like(gates)
    arrays = [x.numpy() for x in (gates, cells, gradient.contiguous(), d_gates)]
    weights = [panels(x.mT.flatten(0, 1)) for x in _taps(weight, features)]
    zeros = np.zeros(width, arrays[0].dtype)

    def share(first: int, last: int) -> None:
        into = np.empty((last - first) * width // 4, zeros.dtype)
        carry = np.empty((w, last - first, width // 4), zeros.dtype)
        for n, way in enumerate(ways):
            taps, cell = np.array(way.taps), np.array(way.cell)
            found = np.empty((len(taps), 3), dtype=np.int64)
            lstm.backward(
                *arrays, weights[n], taps, cell, cell[1] > 0, way.lower, n, first, last, zeros, found, into, carry
            )

    in_shares(share, b)
    products = [
        torch.stack([_product_of(d_gates[..., n, :], hidden[..., n, :], di, dj) for di, dj in way.taps], 1)
        for n, way in enumerate(ways)
    ]  # each (4h, taps, h)
    d_weight = torch.stack(products).unflatten(1, (4, -1))[:, :, :features, :, :features].flatten(3).flatten(1, 2)
    return d_gates.unflatten(-1, (4, -1))[..., :features].flatten(-2), d_weight


def _product_of(d_gates: Tensor, hidden: Tensor, di: int, dj: int) -> Tensor:
    """Σ_p ∂a_p (h_{p+t})^T ``(4h, h)`` over all pixels p whose neighbour p + t lies inside."""
    h, w = hidden.shape[:2]
    rows, columns = slice(max(0, -di), h - max(0, di)), slice(max(0, -dj), w - max(0, dj))
    there = hidden[rows.start + di : rows.stop + di, columns.start + dj : columns.stop + dj]
    here = d_gates[rows, columns]
    return torch.bmm(here.flatten(1, 2).mT, there.flatten(1, 2)).sum(0)


def _pad(x: Tensor, features: int) -> Tensor:
    """``(..., 4h)`` with each gate padded to whole vectors."""
    more = -features % (VECTOR_BYTES // x.dtype.itemsize)
    return F.pad(x.unflatten(-1, (4, features)), (0, more)).flatten(-2) if more else x


def _taps(weight: Tensor, features: int) -> Tensor:
    """``(D, 4h, taps·h)`` as the matrix of each tap, ``(D, taps, h, 4h)``, padded to whole vectors."""
    x = _pad(weight.detach().unflatten(2, (-1, features)).permute(0, 2, 3, 1), features)
    return F.pad(x, (0, 0, 0, x.shape[-1] // 4 - features))


def panels(matrix: Tensor) -> np.ndarray:
    """The columns of ``(K, N)`` in panels as wide as a tile, each with all its rows."""
    lanes, left, panels = VECTOR_BYTES // matrix.dtype.itemsize, 0, []
    while left < matrix.shape[1]:
        wide = next(v for v in VECTORS if v * lanes <= matrix.shape[1] - left) * lanes
        panels.append(matrix[:, left : left + wide].flatten())
        left += wide
    return torch.cat(panels).numpy()
