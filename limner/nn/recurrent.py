r"""The recurrent cores of PixelRNN (van den Oord et al. 2016, arXiv 1601.06759, sections 3.1 to 3.3, equation 3).

.. math:: [o_i, f_i, i_i, g_i] = σ(K^{ss} \circledast h_{i-1} + K^{is} \circledast x_i), \quad
          c_i = f_i \odot c_{i-1} + i_i \odot g_i, \quad h_i = o_i \odot \tanh(c_i)

(σ is tanh for g.) ``row_lstm`` and ``diagonal_lstm`` take the input-to-state share :math:`K^{is} \circledast x` of all
pixels, which needs no loop, and run the state-to-state recurrence. Maps are ``(H, W, B, ·)`` here: what a step of the
loop works on lies together. They are loops over rows, or over diagonals of the skewed map; where ``limner.accelerate``
offers a faster loop, that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.accelerate import hooks

__all__ = ["DIAGONAL", "Direction", "diagonal_lstm", "lstm_cell", "row_direction", "row_lstm", "skew", "unskew"]


class Direction(NamedTuple):
    """A direction of the recurrence: neighbours (rows, columns), whose cell it carries on, where its states count."""

    taps: list[tuple[int, int]]
    cell: tuple[int, int]
    lower: int = 0


DIAGONAL = [Direction([(0, -1), (-1, 0)], (0, -1)), Direction([(0, 1), (-1, 0)], (0, 1), lower=1)]
"""The Diagonal BiLSTM's: from left to right, and from right to left, which counts a row lower."""


def row_direction(k: int) -> Direction:
    """The Row LSTM's, whose states see k places of the row above."""
    return Direction([(-1, t - k // 2) for t in range(k)], (-1, 0))


def skew(x: Tensor) -> Tensor:
    """Row i moves i places to the right, zeros come in: ``(..., H, W)`` → ``(..., H, W + H - 1)``.

    A column of the result is a diagonal of the map (figure 3): what it needs stands in the column before, in its own
    row (the pixel to the left) and in the row above (the pixel above).
    """
    h, w = x.shape[-2:]
    return F.pad(x, (0, h)).flatten(-2)[..., : h * (w + h - 1)].unflatten(-1, (h, w + h - 1))


def unskew(x: Tensor) -> Tensor:
    """The inverse: ``(..., H, W + H - 1)`` → ``(..., H, W)``."""
    h, t = x.shape[-2:]
    return F.pad(x.flatten(-2), (0, h)).unflatten(-1, (h, t + 1))[..., : t - h + 1]


def lstm_cell(sums: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden state and cell ``(..., h)`` from the sums of the gates o, f, i, g ``(..., 4h)`` and the cell before."""
    o, f, i, g = sums.chunk(4, -1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def row_lstm(inputs: Tensor, weight: Tensor) -> Tensor:
    """The Row LSTM's hidden states ``(H, W, B, h)``: a whole row in each step, from the row above.

    Args:
        inputs: The input-to-state share of the gates, ``(H, W, B, 4h)``.
        weight: State-to-state kernel ``(4h, k·h)``, k odd: a convolution of the row above, which needs no mask.
    """
    return _run(_rows, inputs, weight, [row_direction(weight.shape[1] * 4 // len(weight))])


def diagonal_lstm(inputs: Tensor, weight: Tensor) -> Tensor:
    """The hidden states ``(H, W, B, h)`` of the Diagonal BiLSTM, the sum of its two directions.

    The states from right to left have seen the pixels to the right in their own row, so they count a row lower.

    Args:
        inputs: The input-to-state share of the gates, from left to right and from right to left, ``(H, W, B, 2, 4h)``.
        weight: State-to-state kernels ``(2, 4h, 2h)``: of each direction, for the neighbour in the row, then for the
            one above.
    """
    return _run(_diagonals, inputs, weight, DIAGONAL)


def _run(plain: Callable[..., Tensor], inputs: Tensor, weight: Tensor, directions: list[Direction]) -> Tensor:
    """The plain loop, or an accelerator's; under autocast too in the precision of the weights."""
    inputs = inputs.to(weight.dtype)
    if (accelerated := hooks()) is not None:
        states = accelerated.recurrence(inputs, weight, directions)
        if states is not None:
            return states
    if inputs.is_meta:  # which knows no autocast
        return plain(inputs, weight)
    with torch.autocast(inputs.device.type, enabled=False):
        return plain(inputs, weight)


def _rows(inputs: Tensor, weight: Tensor) -> Tensor:
    """``row_lstm`` as a plain loop over rows."""
    _, w, b, gates = inputs.shape
    features, k = gates // 4, weight.shape[1] * 4 // gates
    hidden = cell = inputs.new_zeros(w, b, features)
    rows = []
    for row in inputs:
        padded = F.pad(hidden, (0, 0, 0, 0, k // 2, k // 2))
        neighbours = torch.cat([padded[t : t + w] for t in range(k)], -1)  # (W, B, k·h)
        hidden, cell = lstm_cell(row + neighbours @ weight.T, cell)
        rows.append(hidden)
    return torch.stack(rows)


def _diagonals(inputs: Tensor, weight: Tensor) -> Tensor:
    """``diagonal_lstm`` as a plain loop over the diagonals of the skewed map, both directions in one batch."""
    h, _, b, d, gates = inputs.shape
    both = torch.stack([inputs[..., 0, :], inputs[..., 1, :].flip(1)])  # (2, H, W, B, 4h), both left to right
    diagonals = skew(both.permute(0, 3, 4, 1, 2)).permute(4, 0, 3, 1, 2)  # (W + H - 1, 2, H, B, 4h)
    hidden = cell = inputs.new_zeros(d, h, b, gates // 4)
    steps = []
    for diagonal in diagonals:
        above = F.pad(hidden[:, :-1], (0, 0, 0, 0, 1, 0))
        neighbours = torch.cat([hidden, above], -1).flatten(1, 2)  # (2, H·B, 2h)
        sums = torch.baddbmm(diagonal.flatten(1, 2), neighbours, weight.mT)
        hidden, cell = lstm_cell(sums.unflatten(1, (h, b)), cell)
        steps.append(hidden)
    states = unskew(torch.stack(steps, -1).permute(0, 2, 3, 1, 4))  # (2, B, h, H, W)
    left, right = states.permute(0, 3, 4, 1, 2)
    return left + F.pad(right.flip(1)[:-1], (0, 0, 0, 0, 0, 0, 1, 0))
