"""Turning words into values and values into words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from limner.cli.arguments import whole_number
from limner.errors import LimnerError

if TYPE_CHECKING:
    import torch

    from limner.data import ImageSet

__all__ = ["describe", "figure", "print_json", "print_table", "said", "size_of", "spread"]


def size_of(text: str | None) -> tuple[int, int] | None:
    """``28`` or ``20x28`` (width × height) as (height, width)."""
    if text is None:
        return None
    try:
        sides = [whole_number(side, 1, 1_000_000) for side in text.lower().replace("×", "x").split("x", 1)]
    except ValueError:
        raise LimnerError(f"--size {text[:20]}: write one number (32) or WIDTHxHEIGHT (20x28)") from None
    return sides[-1], sides[0]


def spread(n: int, most: int) -> torch.Tensor:
    """At most ``most`` positions of ``n``, evenly spread: a sorted source shows all its classes."""
    import torch

    return torch.arange(n) if n <= most else torch.linspace(0, n - 1, most).round().long()


def describe(images: ImageSet) -> dict[str, Any]:
    """The facts of a set that `limner data` prints."""
    c, h, w = images.shape
    counts = {name: len(split) for name, split in images.splits.items()}
    return {
        "source": images.source,
        "images": sum(counts.values()),
        "splits": counts,
        "size": f"{w}×{h} (width × height)",
        "channels": c,
        "levels": images.levels,
        "labels": list(images.label_names),
        "in_memory": all(split.store.in_memory for split in images.splits.values()),
        "broken": [{"file": b.path, "reason": b.reason} for b in images.broken],
        "notes": list(images.notes),
    }


def said(value: Any) -> str:
    """A value for people: counts grouped, long lists a line each and cut after 20."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {n:,}" for name, n in value.items())
    if isinstance(value, list):
        shown = [f"{v['file']}: {v['reason']}" if isinstance(v, dict) else str(v) for v in value[:20]]
        more = [f"… and {len(value) - 20} more"] if len(value) > 20 else []
        long = any(len(s) > 24 for s in shown)
        return ("\n" if long else ", ").join(shown + more)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def figure(value: float | None, digits: int, sign: str = "") -> str:
    """A number with its digits, nothing where there is none."""
    return "" if value is None else f"{sign}{value:.{digits}f}"


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(rows: list[tuple[str, str]]) -> None:
    """Names and texts in two columns on stdout."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        for i, line in enumerate(text.split("\n")):
            print(f"{name if i == 0 else '':{width}}  {line}")
