"""The one error that a user is meant to read."""

import difflib
from collections.abc import Collection

__all__ = ["LimnerError", "suggestion"]


class LimnerError(Exception):
    """Bad use or bad input, said in one line: what is wrong, where it was found and what to do.

    The command line prints the line on stderr and exits with code 2; a program catches it like any exception.
    """


def suggestion(word: str, known: Collection[str]) -> str:
    """What an unknown word may have meant: the nearest of those that are known, or all of them."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
