"""The one error that a user is meant to read."""

from __future__ import annotations

__all__ = ["LimnerError", "reason_of"]


class LimnerError(Exception):
    """Bad use or bad input, said in one line: what is wrong, where it was found and what to do.

    The command line prints the line on stderr and exits with code 2; a program catches it like any exception.
    """


def reason_of(error: BaseException) -> str:
    """What ``error`` says, in one line of at most 200 characters."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
