"""The one error that a user is meant to read, and the words it is made of."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["LimnerError", "LimnerWarning", "counted", "reason_of", "suggestion"]


class LimnerError(Exception):
    """Bad use or bad input, said in one line: what is wrong, where it was found and what to do.

    The command line prints the line on stderr and exits with code 2; a program catches it like any exception.
    """


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
