"""The same training under several seeds: a mean and its deviation in place of one figure."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config.settings import Settings, values_of
from limner.data import ImageSet
from limner.errors import LimnerError, option
from limner.evaluation import bits_per_dim
from limner.files import is_number
from limner.models import Scores
from limner.runs import check_name, runs_folder
from limner.training.journal import read_metrics
from limner.workbench.run import Run
from limner.workbench.training import train

__all__ = ["Seeds", "train_seeds"]

FIGURES = ("nats", "error", "distance")  # of validation; a run has one of them


@dataclass(frozen=True)
class Seeds:
    """Runs that differ in their seed alone.

    Attributes:
        runs: One a seed; fewer than were asked for where one was interrupted.
        figure: ``bits/dim``, ``nats``, ``error`` or ``distance``, of the validation split; None where there is none.
        values: Of the weights that each run kept.
        bound: Whether the figures are bounds.
    """

    runs: tuple[Run, ...]
    figure: str | None
    values: tuple[float, ...]
    bound: bool

    @property
    def mean(self) -> float:
        """Over the runs."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over the runs (N - 1)."""
        return statistics.stdev(self.values)

    def __str__(self) -> str:
        """In one line."""
        if len(self.values) < 2 or self.figure is None:
            return f"{len(self.runs)} runs, no figure of validation that two of them have"
        sign = "≤ " if self.bound else ""
        name = {"distance": "Fréchet distance of samples", "error": "error an image"}.get(self.figure, self.figure)
        figure = f"{sign}{self.mean:.4f} ± {self.deviation:.4f} {name}"
        return f"validation {figure} (mean ± standard deviation of {len(self.values)} seeds)"


def train_seeds(
    model: str,
    data: str | os.PathLike[str] | ImageSet = "digits",
    seeds: int = 3,
    *,
    name: str | None = None,
    runs: str | os.PathLike[str] | None = None,
    settings: Settings = (),
    quiet: bool | None = None,
    **options: Any,
) -> Seeds:
    """Train ``seeds`` runs that differ in their seed alone: the given one (0) and those after it.

    Args:
        model: As in ``train``.
        data: Loaded once.
        seeds: How many runs.
        name: Each is called ``NAME-seedS``; by default as ``train`` names runs.
        runs: As in ``train``.
        settings: As in ``train``; ``seed=S`` is the first.
        quiet: No progress; by default none unless a person watches.
        **options: As in ``train``.

    Raises:
        LimnerError: As ``train``; or a name is taken, before anything is trained.
    """
    if seeds < 1:
        raise LimnerError(f"{option('seeds')} must be 1 or more, not {seeds}")
    changes = values_of(settings)
    first = asked if isinstance(asked := changes.get("seed"), int) else 0
    numbers = range(first, first + seeds)
    for seed in numbers:
        check_name(name and f"{name}-seed{seed}", Path(runs or runs_folder()))
    done: list[Run] = []
    for seed in numbers:
        one = name and f"{name}-seed{seed}"
        done.append(train(model, data, name=one, runs=runs, settings=changes | {"seed": seed}, quiet=quiet, **options))
        if done[-1].outcome is None or done[-1].outcome.interrupted:
            break
        data = done[0].data()  # read once
    return _summed_up(done)


def _summed_up(runs: Sequence[Run]) -> Seeds:
    kept = [_kept(run) for run in runs]
    figure = next((name for name in FIGURES if all(name in one for one in kept)), None)
    values = [one[figure] for one in kept] if figure else []
    model = runs[0].model if figure == "nats" else None
    bound = isinstance(model, Scores) and model.bound == "lower"
    if model is not None:
        figure, values = "bits/dim", [bits_per_dim(value, model.dimensions) for value in values]
    return Seeds(tuple(runs), figure, tuple(values), bound)


def _kept(run: Run) -> dict[str, float]:
    """The figures of the validation that chose a run's weights."""
    kept = [r["validation"] for r in read_metrics(run.folder) if r.get("kept") and "validation" in r]
    return {k: v for k, v in kept[-1].items() if is_number(v)} if kept else {}
