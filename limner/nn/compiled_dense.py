"""ln p(x|z) of binary pictures under a dense decoder: arrays for the loops of ``limner.kernels.bernoulli``."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.kernels import bernoulli
from limner.kernels.tile import BF16, VECTOR_BYTES
from limner.nn.coders import DenseDecoder
from limner.nn.compiled import panels
from limner.threads import in_shares

__all__ = ["bernoulli_log_prob"]

LANES = VECTOR_BYTES // 4
NEVER = -80.0  # the logit of a pixel that is not there: it adds ln(1 + e^-80) = 0 in float32


@torch.no_grad()
def bernoulli_log_prob(
    decoder: DenseDecoder, z: Tensor, x: Tensor, *, scale: float = 1.0, bf16: bool = False
) -> Tensor:
    """ln p(x|z), nats float64 ``(S, B)``, without a gradient.

    Args:
        decoder: From codes to a logit a pixel, float32.
        z: Codes float32 ``(S, B, latent)``.
        x: Pictures of zeros and ones, ``(B, C, H, W)``.
        scale: What the logits are multiplied by.
        bf16: Whether the second and the third layer multiply in bfloat16, where the processor can: 1.6 times as fast
            (LOG.md), and no farther from float32 than autocast is.
    """
    s, b, d = z.shape
    weights: list[np.ndarray] = []
    inputs, last = d, len(decoder.linears) - 1
    for i, layer in enumerate(decoder.linears):
        more, by = -len(layer.weight) % LANES, scale if i == last else 1.0
        matrix = F.pad(by * layer.weight.T, (0, more, 0, inputs - layer.weight.shape[1]))
        halves = bf16 and BF16 and i > 0
        bias = F.pad(by * layer.bias, (0, more), value=NEVER if i == last else 0.0)
        weights += [_paired(matrix) if halves else panels(matrix), bias.numpy()]
        inputs = matrix.shape[1]
    codes = z.reshape(s * b, d).contiguous().numpy()
    pixels = F.pad(x.flatten(1).float(), (0, inputs - x[0].numel())).contiguous().numpy()
    out = np.empty(s * b)

    def share(first: int, last: int) -> None:
        bernoulli.log_prob(codes, pixels, *weights, decoder.activation is torch.nn.Tanh, first, last, out)

    in_shares(share, s * b)
    return torch.from_numpy(out).view(s, b)


def _paired(matrix: Tensor) -> np.ndarray:
    """The panels of ``(K, N)``, K even, in bfloat16: two rows in each number uint32, the first in its lower half."""
    pairs = matrix.bfloat16().unflatten(0, (-1, 2)).transpose(1, 2).contiguous()
    return panels(pairs.view(torch.int32).squeeze(2)).view(np.uint32)
