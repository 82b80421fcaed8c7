"""GELU, of bfloat16 on the CPU by the loops of ``limner.kernels.gelu``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner import kernels
from limner.threads import in_team, shared_with_torch, team_size

__all__ = ["GELU", "gelu"]

MANY = 1 << 14  # numbers; a call of the loops takes as long as torch for so many


class GELU(nn.GELU):
    """See ``gelu``."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Of the same shape."""
        return gelu(input)


def gelu(x: Tensor) -> Tensor:
    """x Φ(x) (1606.08415), of the same shape and type."""
    loops = x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.numel() >= MANY and _dense(x)
    if not (loops and kernels.available() and shared_with_torch()):
        return F.gelu(x)
    from limner.kernels.tile import BF16

    return _Gelu.apply(x) if BF16 else F.gelu(x)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _by_loops(x, None)

    @staticmethod
    def backward(ctx: Any, *d_outs: Tensor) -> Any:
        (x,), (d_out,) = ctx.saved_tensors, d_outs
        if torch.is_grad_enabled():  # the gradient's own gradient is wanted
            return torch.ops.aten.gelu_backward(d_out, x)
        return _by_loops(x, d_out if d_out.stride() == x.stride() else torch.empty_like(x).copy_(d_out))


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


def _by_loops(x: Tensor, d_out: Tensor | None) -> Tensor:
    """GELU, or its gradient where ``d_out`` comes back, in the same order of memory."""
    from limner.kernels.gelu import LENGTH, TEAM
    from limner.kernels.gelu import gelu as loops

    out, table = torch.empty_like(x), np.empty(LENGTH, np.int64)
    table[TEAM:] = x.numel(), x.data_ptr(), out.data_ptr(), 0 if d_out is None else d_out.data_ptr()
    in_team(loops.address, table, team_size())
    return out
