"""Run folders: where they are, what they are called, what is in them. Light enough for ``limner runs``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from msgspec import DecodeError, toml

from limner.errors import LimnerError, command, option, reason_of
from limner.files import append_line, is_locked, is_number, locked, read_json_lines, write_text
from limner.records import is_current, same_features

__all__ = [
    "beside_training",
    "check_name",
    "describe_run",
    "find_run",
    "is_free",
    "is_run",
    "kept_weights",
    "list_runs",
    "locked_run",
    "new_run",
    "of_most",
    "read_config",
    "read_evaluations",
    "record_evaluation",
    "remove_run",
    "runs_folder",
    "with_errors",
    "write_config",
]

CONFIG, EVALUATIONS, LOCK = "config.toml", "evaluations.jsonl", ".lock"
LONGEST_NAME = 200  # bytes: file systems take 255, and a run's temporary files are named after it
# Figures of samples that have a standard error, and how that is written.
ERRORS = dict.fromkeys(("frechet", "precision", "recall", "clipped_density", "clipped_coverage"), ".3f")
ERRORS |= {"frechet_ratio": ".2f", "class_kl": ".4f"}
# What a measurement has as text and as a list, all else being numbers; and what it needs to have by what it measures.
TEXTS, LISTS = {"run", "model", "data", "split", "bound", "inception", "feature_task"}, {"accuracies"}
NEEDED = {
    "bound": {"n", "nats_per_image", "bits_per_dim"},
    "frechet": {"samples", "frechet_ratio", "precision", "recall"},
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
    if len(os.fsencode(name)) > LONGEST_NAME:
        most = f"{option('name')} takes {LONGEST_NAME} at most"
        raise LimnerError(f"run name {name[:20]}… has {len(name)} characters: {most}")
    if (parent / name).exists() and not is_free(parent / name):
        go_on = f"go on with `{command('resume', name)}`, or choose another {option('name')}"
        raise LimnerError(f"run {name!r} exists in {parent}/: {go_on}")


def is_free(folder: Path) -> bool:
    """Whether nothing but hidden files is in ``folder``: a run that was killed before it began leaves those."""
    return folder.is_dir() and all(entry.name.startswith(".") for entry in folder.iterdir())


def is_run(folder: Path) -> bool:
    """Whether the ``config.toml`` in ``folder`` is one of ours, and no other program's."""
    with contextlib.suppress(LimnerError):
        return {"model", "data", "network", "training"} <= read_config(folder).keys()
    return False


@contextlib.contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Be the one process that trains, resumes or deletes the run in ``folder``; who only reads it needs no lock.

    Raises:
        LimnerError: Another process is at it.
    """
    busy = f"run {folder.resolve().name!r} is in use: another process trains or deletes it; wait for it, or stop it"
    with locked(folder / LOCK, busy, seconds=0.2):  # is_locked holds it for a moment
        yield


def remove_run(folder: Path) -> None:
    """Remove the folder of a run that this process has locked; a kill on the way leaves nothing of that name.

    Raises:
        LimnerError: It cannot be removed.
    """
    real = folder.resolve()
    doomed = real.with_name(f".{real.name}.deleted-{secrets.token_hex(6)}")
    try:
        for left in real.parent.glob(".*.deleted-*"):  # by a kill
            shutil.rmtree(left, ignore_errors=True)
        real.rename(doomed)
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(doomed)
    except OSError as error:
        raise LimnerError(f"cannot delete {folder}: {reason_of(error)}") from error


def new_run(name: str | None, prefix: str, parent: Path) -> Path:
    """Create the folder of a new run in ``parent``: ``name``, or ``prefix-N`` with the first free N.

    Another process may choose the same ``name`` at the same time: lock the folder, and check the name again.

    Raises:
        LimnerError: The name is taken, is no plain name, or the folder cannot be made.
    """
    try:
        check_name(name, parent)
        parent.mkdir(parents=True, exist_ok=True)
        if name is not None:
            (parent / name).mkdir(exist_ok=True)
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
        with contextlib.suppress(OSError, ValueError):  # no name that a file could have
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
    """Add one measurement to the run's ``evaluations.jsonl``, which any number of processes may do at once.

    Raises:
        LimnerError: It cannot be written.
    """
    append_line(folder / EVALUATIONS, json.dumps(record))


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
    return [describe_run(f) for f in sorted(_folders(), key=lambda f: f.stat().st_mtime, reverse=True)]


def describe_run(folder: Path) -> dict[str, Any]:
    """The row of one run; see ``list_runs``. ``bound``: whether its likelihood is ``exact`` or a ``lower`` bound."""
    row: dict[str, Any] = {"run": folder.name}
    try:
        config = read_config(folder)
        row |= {"model": str(config["model"]), "data": str(config["data"]["source"])}
        if config.get("likelihood") in ("exact", "lower"):
            row["bound"] = config["likelihood"]
        return row | _figures(folder, row["data"])
    except (LimnerError, OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return row | {"status": "unreadable"}


def _figures(folder: Path, data: str) -> dict[str, Any]:
    """Status, step and figures of a run."""
    state = json.loads((folder / "state.json").read_text()) if (folder / "state.json").is_file() else {}
    status = "finished" if state.get("finished") else "unfinished" if state.get("step") else "no checkpoint"
    if is_locked(folder / LOCK):
        status = "running"
    row: dict[str, Any] = {"status": status, "step": int(state.get("step", 0))}
    validation, step = kept_weights(folder, row["step"])
    row |= {f"validation_{k}": validation[k] for k in ("nats", "distance") if is_number(validation.get(k))}
    wanted = ("test", data, step)  # figures of other weights are old
    found = [e for e in read_evaluations(folder) if (e.get("split"), e.get("data"), e.get("step")) == wanted]
    if best := of_most(found, "n", "nats_per_image"):
        row |= {"test_nats": best["nats_per_image"], "bits_per_dim": best["bits_per_dim"], "bound": best["bound"]}
    measured = [e for e in found if "frechet_ratio" in e]
    if measured and not is_current(measured[-1]):
        row["frechet_ratio_left_out"] = "old features"
    elif best := of_most(same_features(measured), "samples", "frechet_ratio"):
        row |= {name: best[name] for name in ("frechet_ratio", "frechet_ratio_standard_error") if name in best}
    return row


def kept_weights(folder: Path, last: int) -> tuple[dict[str, Any], int]:
    """The validation figures of the weights that are kept, and their step."""
    kept = [(r.get("validation", {}), r["step"]) for r in read_json_lines(folder / "metrics.jsonl") if r.get("kept")]
    return kept[-1] if kept else ({}, last)


def with_errors(record: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation, and for each figure of its samples a text ``NAME_error``: ' ± 0.012', or '' where it has none."""
    texts = {}
    for name, form in ERRORS.items():
        error = record.get(f"{name}_standard_error")
        texts[f"{name}_error"] = "" if error is None else f" ± {error:{form}}"
    return texts | dict(record)


def beside_training(record: Mapping[str, Any]) -> str | None:
    """Whether samples are ``nearer`` to the split than training images, ``as near`` or ``farther``.

    Two standard errors decide; None where an evaluation has none.
    """
    if record.get("frechet_ratio_standard_error") is None:
        return None
    ratio = record["frechet_ratio"]
    if abs(ratio - 1) <= 2 * record["frechet_ratio_standard_error"]:
        return "as near"
    return "nearer" if ratio < 1 else "farther"


def of_most(evaluations: Sequence[Mapping[str, Any]], counted: str, figure: str) -> Mapping[str, Any] | None:
    """The smallest ``figure`` among those over the most images: one over few does not stand for the split."""
    measured = [e for e in evaluations if figure in e]
    most = max((e[counted] for e in measured), default=0)
    return min((e for e in measured if e[counted] == most), key=lambda e: e[figure], default=None)


def _folders() -> list[Path]:
    parent = runs_folder()
    found = sorted(parent.iterdir()) if parent.is_dir() else []
    return [f for f in found if (f / CONFIG).is_file() and not f.name.startswith(".")]  # those are being deleted
