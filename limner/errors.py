"""The one error that a user is meant to read."""

__all__ = ["LimnerError"]


class LimnerError(Exception):
    """Bad use or bad input, said in one line: what is wrong, where it was found and what to do.

    The command line prints the line on stderr and exits with code 2; a program catches it like any exception.
    """
