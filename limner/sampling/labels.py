"""Classes to draw, for a sheet that shows each in a row of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.models.contracts import Model

__all__ = ["class_rows"]


def class_rows(model: Model, n: int) -> tuple[Tensor | None, int | None]:
    """Labels int64 of about ``n`` images, class by class, and how many of each; (None, None) without classes.

    There is at least one of each class, and of more than ``n`` classes, ``n`` spread evenly over them.
    """
    k = model.classes
    if not k:
        return None, None
    shown = torch.arange(k) if k <= n else torch.linspace(0, k - 1, n).round().long()
    each = -(-n // len(shown))
    return shown.repeat_interleave(each), each
