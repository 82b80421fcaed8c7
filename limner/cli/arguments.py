"""The types of the commands' arguments: their name in the help, what their values may be, and what they mean.

What an argument means is said here where it means the same in every command, else in the command's docstring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg
from tyro.constructors import PrimitiveConstructorSpec

__all__ = [
    "Augment", "Count", "Counts", "Device", "Epochs", "Fit", "Flag", "Json", "Label", "Levels", "Limit", "Methods",
    "Minutes", "Model", "Name", "NotNegative", "OtherSource", "OutFile", "Port", "Quiet", "RunName", "RunNames", "Seed",
    "Settings", "Size", "Source", "SplitName", "StartFrom", "Token",
]  # fmt: skip

LARGEST_SIDE = 8192  # as limner.data.options has it, which loads numpy
_MOST = 1_000_000_000
METHODS = ("fine-tuned", "frozen", "scratch", "pixels")  # as limner.evaluation.probe has them, which loads torch


def _whole_number(text: str, low: int, high: int) -> int:
    digits = text.strip().removeprefix("-")
    if not (digits.isdecimal() and len(digits) < 20 and low <= int(text) <= high):
        raise ValueError(f"must be a whole number from {low} to {high:,}, not {text!r}")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MOST:
        raise ValueError(f"must be a number above 0, not {text!r}")
    return value


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_whole_number(part, 1, _MOST) for part in text.split(","))


def _methods(text: str) -> tuple[str, ...]:
    words = tuple(text.split(","))
    for word in words:
        if word not in METHODS:
            raise ValueError(f"choose of {','.join(METHODS)}, not {word!r}")
    return words


def _size(text: str) -> tuple[int, int]:
    """``28`` or ``20x28`` (width × height) as (height, width)."""
    try:
        sides = [_whole_number(side, 1, LARGEST_SIDE) for side in text.lower().replace("×", "x").split("x", 1)]
    except ValueError:
        raise ValueError(
            f"write one number (32) or WIDTHxHEIGHT (20x28), each from 1 to {LARGEST_SIDE}, not {text[:20]!r}"
        ) from None
    return sides[-1], sides[0]


def _spec(metavar: str, parse: Callable[[str], Any]) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: parse(words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


_NO_HINT = arg(help_behavior_hint="")  # the help text says what happens by default
_COUNT = _spec("N", lambda text: _whole_number(text, 1, _MOST))
_FIT_HELP = "How: crop (cover, cut the borders), pad (add black borders), stretch."
_SIZE_HELP = "Bring every image to this size: S (square) or WIDTHxHEIGHT."

Augment = Annotated[str | None, _spec("NAME,...", str), _NO_HINT]
Count = Annotated[int, _COUNT]
Levels = Annotated[int | None, _spec("L", lambda text: _whole_number(text, 2, 256)), _NO_HINT]
Limit = Annotated[int | None, _COUNT, _NO_HINT]
Counts = Annotated[tuple[int, ...] | None, _spec("N,N,...", _counts), _NO_HINT]
Methods = Annotated[Any, _spec("METHOD,...", _methods), _NO_HINT]
Label = Annotated[str | None, _spec("CLASS", str), _NO_HINT]
NotNegative = Annotated[int, _spec("N", lambda text: _whole_number(text, 0, _MOST))]
Seed = Annotated[int, _spec("N", lambda text: _whole_number(text, 0, 2**53))]
Minutes = Annotated[float | None, _spec("M", _amount), _NO_HINT]
Epochs = Annotated[float | None, _spec("E", _amount), _NO_HINT]
Size = Annotated[tuple[int, int] | None, _spec("SIZE", _size), arg(help_behavior_hint="", help=_SIZE_HELP)]
Fit = Annotated[Literal["crop", "pad", "stretch"], arg(help=_FIT_HELP)]

Device = Annotated[str, arg(metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1 (and so on), mps.")]
Model = Annotated[Positional[str], arg(metavar="MODEL")]
Name = Annotated[str | None, _spec("NAME", str), _NO_HINT]
OtherSource = Annotated[str | None, _spec("SOURCE", str), _NO_HINT]
OutFile = Annotated[Path | None, _spec("PATH", Path), _NO_HINT]
RunName = Annotated[Positional[str], arg(metavar="RUN", help="Name (in runs/) or folder.")]
RunNames = Annotated[Positional[tuple[str, ...]], arg(metavar="RUN ...", help_behavior_hint="")]
Settings = Annotated[tuple[str, ...], arg(name="set", metavar="KEY=VALUE ...", help_behavior_hint="")]
Source = Annotated[Positional[str], arg(metavar="SOURCE")]
StartFrom = Annotated[str | None, _spec("RUN", str), arg(name="from", help_behavior_hint="")]
Port = Annotated[int, _spec("N", lambda text: _whole_number(text, 0, 65535))]
Token = Annotated[str | None, _spec("TEXT", str), _NO_HINT]
SplitName = Literal["train", "validation", "test"]

Flag = FlagCreatePairsOff[bool]
Json = Annotated[Flag, arg(help="Print the result as JSON.")]
Quiet = Annotated[Flag, arg(help="No progress.")]
