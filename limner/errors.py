"""The one error that a user is meant to read, and the words it is made of.

What a user can change is named as it is written where the user is: ``--minutes 3`` on the command line, ``minutes=3``
in Python. ``option``, ``setting`` and ``command`` write it, and ``on_command_line`` says where that is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "LimnerError", "LimnerWarning", "LostProcess", "command", "counted", "on_command_line", "option", "reason_of",
    "setting", "suggestion",
]  # fmt: skip

_options = {"settings": "set", "start_from": "from"}  # by parameter, where another word is used on the command line
_command_line = False  # whether the user is there


class LimnerError(Exception):
    """Bad use or bad input, said in one line: what is wrong, where it was found and what to do.

    The command line prints the line on stderr and exits with ``exit_code``; a program catches it like any exception.
    """

    exit_code = 2


class LostProcess(LimnerError):
    """Another process of the same training has ended, or cannot be reached: what is saved can be gone on from."""

    exit_code = 75  # EX_TEMPFAIL: to be tried again


class LimnerWarning(UserWarning):
    """What a user should know and limner can do without, in one line; the command line prints it on stderr."""


def reason_of(error: BaseException) -> str:
    """What ``error`` says, in one line of at most 200 characters."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def counted(n: int, one: str, more: str = "") -> str:
    """``1 file``, ``2,000 files``: a number with its noun, of which ``more`` is the plural where no s makes it."""
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"


def suggestion(word: str, known: Collection[str]) -> str:
    """What an unknown word may have meant: the nearest of those that are known, or all of them (40 at most)."""
    near = difflib.get_close_matches(word, list(known), 1)
    if near:
        return f"did you mean {near[0]!r}?"
    shown = list(known)
    return f"choose one of {', '.join(shown[:40])}{' …' if len(shown) > 40 else ''}"


@contextmanager
def on_command_line() -> Iterator[None]:
    """Name options as the command line does, as long as this lasts; for the whole process."""
    global _command_line
    before, _command_line = _command_line, True
    try:
        yield
    finally:
        _command_line = before


def option(name: str, *value: Any) -> str:
    """The parameter ``name``: ``--name`` or ``name``; with a value, ``--name 3`` or ``name=3``."""
    if _command_line:
        given = [_word(one) for one in value if one is not True]  # a flag has none
        return " ".join([f"--{_options.get(name, name).replace('_', '-')}", *given])
    return f"{name}={value[0]!r}" if value else name


def _word(value: Any) -> str:
    """A value on the command line; a size ``(H, W)`` is WIDTHxHEIGHT there."""
    if isinstance(value, tuple):
        height, width = value
        return str(width) if height == width else f"{width}x{height}"
    return str(value)


def setting(key: str, value: str) -> str:
    """A setting: ``--set key=value`` or ``settings={"key": value}``."""
    return f"--set {key}={value}" if _command_line else f'settings={{"{key}": {value}}}'


def command(name: str, *words: str, **options: Any) -> str:
    """A command: ``limner resume mine --epochs 2`` or ``limner.resume('mine', epochs=2)``."""
    if _command_line:
        return " ".join(["limner", name, *words, *(option(key, value) for key, value in options.items())])
    return f"limner.{name}({', '.join([*map(repr, words), *(f'{key}={value!r}' for key, value in options.items())])})"
