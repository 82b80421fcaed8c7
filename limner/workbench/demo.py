"""``limner demo``: every family on the bundled digits, on one page, minutes on a laptop."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from limner import display, workbench
from limner.errors import LimnerError, option
from limner.files import locked
from limner.models import Family, families
from limner.runs import CONFIG, LOCK, is_free, locked_run, remove_run

__all__ = ["demo"]

_MARK = ".limner-demo"


def demo(out: str | os.PathLike[str] = "demo", *, quiet: bool | None = None) -> Path:
    """Train the demo's models into ``out`` and write ``out/report.html``; gives its path.

    ``out`` is a new or empty folder, or that of an earlier demo, which is replaced.

    Raises:
        LimnerError: ``out`` holds something that is no demo, or another demo is being made there.
    """
    folder = Path(out)
    _check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(
        folder / LOCK, f"{folder}/ is in use: another demo is being made there; give {option('out')} another folder"
    ):
        return _demo(folder, quiet)


def _demo(folder: Path, quiet: bool | None) -> Path:
    _clear(folder)
    start = time.perf_counter()
    digits = workbench.load_data("digits", quiet=quiet)
    runs = []
    for shown in _shown():
        recipe = shown.demo(digits.shape)
        runs.append(workbench.train(shown.name, digits, name=shown.name, runs=folder, recipe=recipe, quiet=quiet))
        if runs[-1].outcome is None or runs[-1].outcome.interrupted:
            raise KeyboardInterrupt
    introduction = (
        f"{len(runs)} models of {len(digits.split('train')):,} handwritten digits of 8×8 pixels and 17 levels (the "
        "real digits that scikit-learn bundles), each trained here from nothing and measured on the same "
        f"{len(digits.split('test'))} test images that no model has seen."
    )
    page, _ = workbench.compare(
        runs, out=folder / "report.html", title="limner · demo", introduction=introduction, quiet=quiet
    )
    took = display.duration(time.perf_counter() - start)
    display.console(quiet).print(f"trained, measured and drawn in {took}; open {page.resolve()} in a browser")
    return page


def _shown() -> list[Family]:
    """The families that the demo shows."""
    return [family for family in families().values() if family.in_demo]


def _check(folder: Path) -> None:
    """Refuse a ``folder`` that holds something else than a demo."""
    if folder.exists() and not folder.is_dir():
        raise LimnerError(f"{folder} is a file; give demo {option('out')} the name of a folder")
    if folder.is_dir() and not is_free(folder) and not (folder / _MARK).is_file():
        raise LimnerError(f"{folder}/ is not empty and not an earlier demo; give demo {option('out')} another folder")


def _clear(folder: Path) -> None:
    """Make ``folder`` an empty demo folder; only what an earlier demo made is removed, and nothing that is in use."""
    runs = [folder / shown.name for shown in _shown() if (folder / shown.name / CONFIG).is_file()]
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(locked_run(run))
        for run in runs:
            remove_run(run)
    (folder / _MARK).touch()
