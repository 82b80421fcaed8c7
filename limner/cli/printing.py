"""Where a command's result goes, and what is said about it."""

from __future__ import annotations

import re
import sys
from json import dumps
from pathlib import Path
from typing import Any

from limner.files import check_place

__all__ = ["answer", "place", "said", "table"]


def place(out: Path | None, folder: Path, seed: int, *words: str) -> Path:
    """``out``, else a PNG in ``folder`` that is named after the words; refused now if it cannot be written later."""
    from limner.reports.draw import check_image_name

    name = "-".join(re.sub(r"\W+", "-", Path(word).stem).strip("-") for word in words)
    path = out or folder / f"{name[:100]}-{seed}.png"
    check_image_name(path)
    check_place(path)
    return path


def answer(json: bool, record: Any, *lines: str) -> None:
    """Print what a command found: one JSON value, or the lines for people."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"  # JSON can say all in ASCII
    print(dumps(record, ensure_ascii=ascii_only) if json else "\n".join(lines))


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


def table(rows: list[tuple[str, str]]) -> list[str]:
    """Lines of names and texts in two columns."""
    width = max(len(name) for name, _ in rows)
    return [
        f"{name if i == 0 else '':{width}}  {line}" for name, text in rows for i, line in enumerate(text.split("\n"))
    ]
