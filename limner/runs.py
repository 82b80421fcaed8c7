"""Run folders: where they are, what they are called, what is in them. Light enough for ``limner runs``."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from msgspec import DecodeError, toml

from limner.errors import LimnerError
from limner.files import is_number, read_json_lines, write_text

__all__ = [
    "check_name",
    "find_run",
    "list_runs",
    "new_run",
    "read_config",
    "read_evaluations",
    "record_evaluation",
    "runs_folder",
    "write_config",
]

CONFIG, EVALUATIONS = "config.toml", "evaluations.jsonl"
# What a measurement has as text and as a list, all else being numbers; and what it needs to have by what it measures.
TEXTS, LISTS = {"run", "model", "data", "split", "bound", "inception", "feature_task"}, {"accuracies"}
NEEDED = {
    "bound": {"n", "nats_per_image", "bits_per_dim"},
    "frechet": {"samples", "frechet_ratio", "precision", "recall", "feature_task", "feature_accuracy"},
    "mse": {"n", "mse"},
    "accuracies": {"n", "seeds"},
}


def runs_folder() -> Path:
    """``$LIMNER_RUNS``, else ``runs`` in the current folder."""
    return Path(os.environ.get("LIMNER_RUNS") or "runs")


def check_name(name: str | None, parent: Path) -> None:
    """Refuse a ``name`` that is given and no plain name, or taken in ``parent``."""
    if name is None:
        return
    if not re.fullmatch(r"[\w][\w.+=-]*", name):
        raise LimnerError(
            f"run name {name!r}: use letters, digits and . _ + = - only, and begin with a letter or digit"
        )
    if (parent / name).exists() and not _is_free(parent / name):
        raise LimnerError(
            f"run {name!r} exists in {parent}/: go on with `limner resume {name}`, or choose another --name"
        )


def _is_free(folder: Path) -> bool:
    """Whether nothing is in ``folder``: a run that was killed before it began leaves that."""
    return folder.is_dir() and not any(folder.iterdir())


def new_run(name: str | None, prefix: str, parent: Path) -> Path:
    """Create the folder of a new run in ``parent``: ``name``, or ``prefix-N`` with the first free N.

    Raises:
        LimnerError: The name is taken, is no plain name, or the folder cannot be made.
    """
    try:
        check_name(name, parent)
        parent.mkdir(parents=True, exist_ok=True)
        if name is not None:
            (parent / name).mkdir(exist_ok=True)
            check_name(name, parent)  # another process may have begun it just now
            return parent / name
        number = 0
        while True:
            number += 1
            with contextlib.suppress(FileExistsError):
                (parent / f"{prefix}-{number}").mkdir()
                return parent / f"{prefix}-{number}"
    except OSError as error:
        raise LimnerError(f"cannot make a run folder in {parent}/: {error.strerror}") from error


def find_run(name: str | os.PathLike[str]) -> Path:
    """The folder of the run called ``name``, or at the path ``name``.

    Raises:
        LimnerError: There is no such run.
    """
    for folder in (runs_folder() / name, Path(name)):
        if (folder / CONFIG).is_file():
            return folder
    names = [run.name for run in _folders()]
    known = f"runs here: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "there are none yet"
    raise LimnerError(f"no run {str(name)!r} in {runs_folder()}/ ({known})")


def read_config(folder: Path) -> dict[str, Any]:
    """``config.toml`` as tables.

    Raises:
        LimnerError: It is missing, or no TOML.
    """
    try:
        return toml.decode((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError, DecodeError) as error:
        raise LimnerError(f"{folder / CONFIG} cannot be read: {error}") from error


def write_config(folder: Path, tables: Mapping[str, Any]) -> None:
    """Write ``config.toml``; None, which TOML lacks, is left out."""
    clean = {
        k: {i: j for i, j in v.items() if j is not None} if isinstance(v, Mapping) else v for k, v in tables.items()
    }
    write_text(folder / CONFIG, tomli_w.dumps(clean))


def record_evaluation(folder: Path, record: Mapping[str, Any]) -> None:
    """Add one measurement to the run's ``evaluations.jsonl``."""
    lines = [json.dumps(r) for r in (*read_evaluations(folder), record)]
    write_text(folder / EVALUATIONS, "\n".join(lines) + "\n")


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """All measurements of a run, oldest first; a line that is none of ours is left out."""
    return [record for record in read_json_lines(folder / EVALUATIONS) if _is_measurement(record)]


def _is_measurement(record: Mapping[str, Any]) -> bool:
    return all(
        needed | {"data", "split"} <= record.keys() for figure, needed in NEEDED.items() if figure in record
    ) and all(
        isinstance(v, str) if k in TEXTS else isinstance(v, list) if k in LISTS else is_number(v)
        for k, v in record.items()
    )


def list_runs() -> list[dict[str, Any]]:
    """One row a run, newest first: name, model, data, step, status, validation and test figures where there are any.

    A run whose files cannot be read is listed with that as its status.
    """
    rows = []
    for folder in sorted(_folders(), key=lambda f: f.stat().st_mtime, reverse=True):
        row: dict[str, Any] = {"run": folder.name}
        try:
            config = read_config(folder)
            row |= {"model": str(config["model"]), "data": str(config["data"]["source"])}
            rows.append(row | _figures(folder, row["data"]))
        except (
            LimnerError,
            OSError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            rows.append(row | {"status": "unreadable"})
    return rows


def _figures(folder: Path, data: str) -> dict[str, Any]:
    """Status, step and figures of a run."""
    state = json.loads((folder / "state.json").read_text()) if (folder / "state.json").is_file() else {}
    status = "finished" if state.get("finished") else "unfinished" if state.get("step") else "no checkpoint"
    row: dict[str, Any] = {"status": status, "step": int(state.get("step", 0))}
    kept = [(r["validation"], r["step"]) for r in read_json_lines(folder / "metrics.jsonl") if r.get("kept")]
    validation, step = kept[-1] if kept else ({}, row["step"])
    row |= {f"validation_{k}": validation[k] for k in ("nats", "distance") if is_number(validation.get(k))}
    wanted = ("test", data, step)  # figures of other weights are old
    found = [e for e in read_evaluations(folder) if (e.get("split"), e.get("data"), e.get("step")) == wanted]
    if best := _of_most(found, "n", "nats_per_image"):
        row |= {"test_nats": best["nats_per_image"], "bits_per_dim": best["bits_per_dim"], "bound": best["bound"]}
    if best := _of_most(found, "samples", "frechet_ratio"):
        row["frechet_ratio"] = best["frechet_ratio"]
    return row


def _of_most(evaluations: list[dict[str, Any]], counted: str, figure: str) -> dict[str, Any] | None:
    """The smallest ``figure`` among those over the most images: one over few does not stand for the split."""
    measured = [e for e in evaluations if figure in e]
    most = max((e[counted] for e in measured), default=0)
    return min((e for e in measured if e[counted] == most), key=lambda e: e[figure], default=None)


def _folders() -> list[Path]:
    parent = runs_folder()
    return [f for f in sorted(parent.iterdir()) if (f / CONFIG).is_file()] if parent.is_dir() else []
