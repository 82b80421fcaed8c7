"""The recurrent cores on the CPU: arrays and weights for ``limner.fast.lstm``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.fast import lstm
from limner.fast.threads import in_shares
from limner.fast.tile import VECTOR_BYTES, VECTORS
from limner.nn.recurrent import Direction

__all__ = ["lstm_backward", "lstm_forward", "panels", "recurrence"]


def recurrence(inputs: Tensor, weight: Tensor, directions: list[Direction]) -> Tensor | None:
    """The hidden states ``(H, W, B, h)`` of ``limner.nn.recurrent``, summed over the D directions.

    None where there is no loop for the tensors: on another device than the CPU, or in half precision. On the meta
    device, where memory is counted before it is taken, they have their shapes.

    Args:
        inputs: The input-to-state share, ``(H, W, B, 4h)`` or ``(H, W, B, D, 4h)``.
        weight: State-to-state kernels ``(4h, taps·h)`` or ``(D, 4h, taps·h)``.
        directions: D of them.
    """
    if inputs.device.type not in ("cpu", "meta") or inputs.dtype not in (torch.float32, torch.float64):
        return None
    d = len(directions)
    shaped = inputs.reshape(*inputs.shape[:3], d, -1), weight.view(d, -1, weight.shape[-1])
    states: Tensor = _Recurrence.apply(*shaped, directions)
    return states


class _Recurrence(torch.autograd.Function):
    """Either recurrence and its gradient by the compiled loops of ``limner.fast.lstm``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, directions: list[Direction]) -> Tensor:
        """Hidden states ``(H, W, B, h)``, summed over the directions."""
        ctx.directions = directions
        total, *kept = lstm_forward(inputs, weight, directions)
        ctx.save_for_backward(*kept, weight)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of inputs and weights.

        Raises:
            RuntimeError: A gradient that is to be differentiated once more.
        """
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the compiled LSTM has no second derivative (create_graph=True); with LIMNER_ACCELERATE=0 it has"
            )
        hidden, gates, cells, weight = ctx.saved_tensors
        return *lstm_backward(gradient, hidden, gates, cells, weight, ctx.directions), None


def lstm_forward(
    inputs: Tensor, weight: Tensor, directions: Sequence[Direction]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states summed over the D directions ``(H, W, B, h)``, and what ``lstm_backward`` needs of each direction.

    That is hidden states, gates and cells, ``(H, W, B, D, h or 4h)``, h padded to whole vectors.

    Args:
        inputs: ``(H, W, B, D, 4h)``.
        weight: ``(D, 4h, taps·h)``.
        directions: D of them.
    """
    features = weight.shape[1] // 4
    inputs = _pad(inputs, features).contiguous()
    h, w, b, d, width = inputs.shape
    gates = torch.empty_like(inputs)
    cells, hidden = (inputs.new_empty(h, w, b, d, width // 4) for _ in range(2))
    total = inputs.new_empty(h, w, b, width // 4)
    if inputs.is_meta:
        return total[..., :features], hidden, gates, cells
    arrays = [x.numpy() for x in (inputs.detach(), gates, cells, hidden, total)]
    weights = [panels(x.flatten(0, 1)) for x in _taps(weight, features)]
    zeros = np.zeros(width, arrays[0].dtype)

    def share(first: int, last: int) -> None:
        for n, direction in enumerate(directions):
            taps, cell = np.array(direction.taps), np.array(direction.cell)
            found = np.empty((len(taps), 3), dtype=np.int64)
            lstm.forward(*arrays, weights[n], taps, cell, cell[1] > 0, direction.lower, n, first, last, zeros, found)

    in_shares(share, b)
    return total[..., :features], hidden, gates, cells


def lstm_backward(
    gradient: Tensor, hidden: Tensor, gates: Tensor, cells: Tensor, weight: Tensor, directions: Sequence[Direction]
) -> tuple[Tensor, Tensor]:
    """The gradients of ``lstm_forward``'s inputs and weight from that of its sum ``(H, W, B, h)``."""
    features, width = weight.shape[1] // 4, gates.shape[-1]
    if width > 4 * features:
        gradient = F.pad(gradient, (0, width // 4 - features))
    d_gates = torch.empty_like(gates)
    if not gates.is_meta:
        _d_gates(gradient.contiguous(), gates, cells, d_gates, weight, directions)
    products = [
        torch.stack([_product_of(d_gates[..., n, :], hidden[..., n, :], di, dj) for di, dj in direction.taps], 1)
        for n, direction in enumerate(directions)
    ]  # each (4h, taps, h)
    d_weight = torch.stack(products).unflatten(1, (4, -1))[:, :, :features, :, :features].flatten(3).flatten(1, 2)
    return d_gates.unflatten(-1, (4, -1))[..., :features].flatten(-2), d_weight


def _d_gates(
    gradient: Tensor, gates: Tensor, cells: Tensor, d_gates: Tensor, weight: Tensor, directions: Sequence[Direction]
) -> None:
    """Fill ``d_gates``, the gradient of the gates' sums."""
    features, (_, w, b, _, width) = weight.shape[1] // 4, gates.shape
    arrays = [x.numpy() for x in (gates, cells, gradient, d_gates)]
    weights = [panels(x.mT.flatten(0, 1)) for x in _taps(weight, features)]
    zeros = np.zeros(width, arrays[0].dtype)

    def share(first: int, last: int) -> None:
        into = np.empty((last - first) * width // 4, zeros.dtype)
        carry = np.empty((w, last - first, width // 4), zeros.dtype)
        for n, direction in enumerate(directions):
            taps, cell = np.array(direction.taps), np.array(direction.cell)
            found = np.empty((len(taps), 3), dtype=np.int64)
            lstm.backward(
                *arrays, weights[n], taps, cell, cell[1] > 0, direction.lower, n, first, last, zeros, found, into, carry
            )

    in_shares(share, b)


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
