"""Classes as people name them: by name, or by number from 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limner.errors import LimnerError, option, suggestion

__all__ = ["ClassLabel", "class_of"]

ClassLabel = int | str
"""A number from 0, or text: a class's name or, where no class has that name, its number."""


def class_of(label: ClassLabel | None, run: str, classes: int, names: Callable[[], Sequence[str]]) -> int | None:
    """The class that ``label`` means to the ``run`` of that name, which has ``classes``; None where none is asked for.

    Raises:
        LimnerError: There are no classes, or none of that name or number.
    """
    if label is None:
        return None
    if not classes:
        raise LimnerError(
            f"label {label}: run {run!r} has no classes: it was trained without {option('conditional', True)}"
        )
    if isinstance(label, str):
        known = list(names())
        if label in known:
            return known.index(label)
        if not label.isdecimal():
            raise LimnerError(f"label {label}: run {run!r} has no class of that name; {suggestion(label, known)}")
    if not 0 <= int(label) < classes:
        raise LimnerError(f"label {label}: the classes of run {run!r} are 0 to {classes - 1}")
    return int(label)
