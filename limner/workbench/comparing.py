"""Runs side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.files import check_place
from limner.models import Samples, Scores
from limner.models.bounded import Bounded
from limner.reports.pages import write_comparison
from limner.reports.run_view import RunView
from limner.workbench.measuring import FEATURES
from limner.workbench.run import Run, open_run

__all__ = ["compare"]


def compare(
    runs: Sequence[str | os.PathLike[str] | Run],
    *,
    out: str | os.PathLike[str] = "comparison.html",
    split: str = "test",
    importance_samples: int | None = None,
    fidelity: bool = False,
    title: str = "limner · comparison",
    introduction: str = "",
    quiet: bool | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Measure several runs on their own data's ``split`` and put them on one page.

    Args:
        runs: Names, folders or opened runs.
        out: The page to write.
        split: Which images are scored.
        importance_samples: K of the VAEs' bounds; by default each model's ``default_importance_samples``.
        fidelity: Compare samples with the split as well; done anyway where one of the runs that draw has no likelihood.
        title: Of the page.
        introduction: A text above the table.
        quiet: No progress; by default none unless a person watches.

    Returns:
        The page's path, and a record for each run as ``Run.evaluate`` gives it (``bound`` is absent where a model
        has no likelihood, ``frechet`` where fidelity was not measured).

    Raises:
        LimnerError: A run cannot be opened or measured.
    """
    if not runs:
        raise LimnerError("name at least one run to compare; `limner runs` lists them")
    check_place(out)
    opened = [item if isinstance(item, Run) else open_run(item) for item in runs]
    models = [run.model for run in opened]  # what cannot be used is said before anything is measured
    fidelity = fidelity or any(isinstance(m, Samples) and not isinstance(m, Scores) for m in models)
    rows: list[tuple[RunView, dict[str, Any]]] = []
    for run in opened:
        record = run.evaluate(
            split=split,
            importance_samples=importance_samples if isinstance(run.model, Bounded) else None,
            fidelity=fidelity and isinstance(run.model, Samples),
            features=opened[0].folder.parent / FEATURES,  # all are looked at with the same network
            quiet=quiet,
        )
        rows.append((run.view(), record))
    write_comparison(Path(out), rows, title=title, introduction=introduction)
    return Path(out), [record for _, record in rows]
