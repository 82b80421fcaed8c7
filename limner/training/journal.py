"""``metrics.jsonl``: one JSON object a line, in step order; TensorBoard events beside it when installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limner.files import is_number, read_json_lines, write_text

PARTS = ("train", "validation", "training_images")  # metrics of steps, and of evaluations on one or the other

__all__ = ["Journal", "NoJournal", "read_metrics"]

METRICS = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``metrics.jsonl``; one that a kill cut short, or that is none of ours, is left out."""
    return [record for record in read_json_lines(folder / METRICS) if _is_ours(record)]


class Journal:
    """Appends to the metrics of the run in ``folder``, from ``step`` on: later lines of a lost past are dropped."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        kept = [r for r in read_metrics(folder) if r["step"] <= step] if step else []
        write_text(folder / METRICS, "".join(json.dumps(r) + "\n" for r in kept))
        self._file = (folder / METRICS).open("a", encoding="utf-8")  # kept open for the run; see close
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """One line; numbers in nested objects go to TensorBoard under ``outer/inner``."""
        self._file.write(json.dumps({"step": step, **record}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in _flat(record):
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoJournal:
    """Of a process that writes nothing."""

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _is_ours(record: Mapping[str, Any]) -> bool:
    """Whether what is read of a line is what a run writes."""
    texts = ("name", "observed", "remedy")
    try:
        return (
            all(is_number(record.get(name, 0)) for name in ("step", "seconds"))
            and isinstance(record["step"], int)
            and all(is_number(value) for part in PARTS for value in record.get(part, {}).values())
            and all(isinstance(d[text], str) for d in record.get("diagnoses", []) for text in texts)
            and ("seconds" in record or not {*PARTS} & record.keys())
        )
    except (LookupError, TypeError, AttributeError):
        return False


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield prefix + name, float(value)
