"""Ranges that configurations are checked against, in their type annotations; ``settings.from_table`` enforces them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from limner.errors import LimnerError

__all__ = [
    "Count",
    "Decay",
    "Fraction",
    "Levels",
    "NotNegative",
    "NotNegativeReal",
    "Positive",
    "PositiveReal",
    "Seed",
    "odd",
]

_MOST = 1_000_000  # beyond any use, and within what every machine can count with

Positive = Annotated[int, Meta(ge=1, le=_MOST)]
NotNegative = Annotated[int, Meta(ge=0, le=_MOST)]
Count = Annotated[int, Meta(ge=0, le=10**12)]  # of what there may be more of than one sets: images
PositiveReal = Annotated[float, Meta(gt=0, le=1e9)]
NotNegativeReal = Annotated[float, Meta(ge=0, le=1e9)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Decay = Annotated[float, Meta(ge=0, lt=1)]
Levels = Annotated[int, Meta(ge=2, le=256)]
Seed = Annotated[int, Meta(ge=0, le=2**53)]


def odd(**sizes: int) -> None:
    """Refuse even sizes: a kernel needs a centre.

    Raises:
        LimnerError: One is even.
    """
    for name, value in sizes.items():
        if value % 2 == 0:
            raise LimnerError(f"{name}={value}: must be odd, as {value - 1 if value > 1 else 1} or {value + 1}")
