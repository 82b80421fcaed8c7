"""Which latents of an encoder say something of the picture: the others have collapsed to the prior."""

from __future__ import annotations

from torch import Tensor

from limner.errors import LimnerError

__all__ = ["active_units"]

THRESHOLD = 0.01  # as published


def active_units(codes: Tensor) -> Tensor:
    """Which dimensions of the codes are active, bool ``(D,)``: Cov_x(E_q[z]) > 0.01 (1509.00519, section 5.2).

    Args:
        codes: The means of q(z|x) of many pictures, ``(N, D)``, as ``encode`` gives them.

    Raises:
        LimnerError: There are fewer than two codes.
    """
    if len(codes) < 2:
        raise LimnerError(f"active units: a variance over pictures needs two of them, not {len(codes)}")
    return codes.double().var(0) > THRESHOLD
