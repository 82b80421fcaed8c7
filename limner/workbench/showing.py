"""A run summed up from its files, without loading its data or its weights."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from limner.config.run_config import RunConfig, read_run_config
from limner.models import family
from limner.models.recipes import Recipe
from limner.records import is_current
from limner.reports.pages import REPORT
from limner.runs import describe_run, find_run, kept_weights, read_evaluations

__all__ = ["current_evaluations", "show"]

BY_DATA = {"classes", "precision"}  # settings that the data or the machine decides


def show(run: str | os.PathLike[str]) -> dict[str, Any]:
    """What there is to say of a run: status, figures, settings that differ from its recipe, paths.

    Returns:
        The fields of ``limner.runs.list_runs``; ``images`` (size and number); ``recipe``, the one with the fewest
        differences, and ``settings``, those by name, each with its value in the ``run`` and in the ``recipe``;
        ``folder``, and ``report``, ``samples`` (the last sheet) and ``start`` where there are such.

    Raises:
        LimnerError: There is no such run, or its ``config.toml`` cannot be read.
    """
    folder = find_run(run)
    config = read_run_config(folder)
    recipe, settings = _nearest_recipe(config)
    facts = describe_run(folder) | {"images": f"{config.data.described}; {config.data.levels} levels"}
    facts |= {"recipe": recipe, "settings": settings, "folder": str(folder)}
    if (folder / REPORT).is_file():
        facts["report"] = str(folder / REPORT)
    if sheets := sorted((folder / "samples").glob("*.png")):
        facts["samples"] = str(sheets[-1])
    return facts | ({"start": asdict(config.start)} if config.start else {})


def current_evaluations(run: str | os.PathLike[str], split: str = "test") -> list[dict[str, Any]]:
    """Measurements of the weights that are kept on a split of the run's own data, oldest first.

    Those of samples are left out where they were made with older features than limner has now.

    Raises:
        LimnerError: There is no such run, or its files cannot be read.
    """
    folder = find_run(run)
    _, step = kept_weights(folder, describe_run(folder).get("step", 0))
    wanted = (split, read_run_config(folder).data.source, step)
    found = [e for e in read_evaluations(folder) if (e.get("split"), e.get("data"), e.get("step")) == wanted]
    return [e for e in found if "frechet_ratio" not in e or is_current(e)]


def _nearest_recipe(config: RunConfig) -> tuple[str, dict[str, dict[str, Any]]]:
    """The recipe of the run's family that differs least from its settings, and the differences."""
    of, shape = family(config.model), config.data.shape
    found = {name: _differences(config.recipe, of.recipe(name, shape)) for name in of.recipes}
    nearest = min(found, key=lambda name: len(found[name]))
    return nearest, found[nearest]


def _differences(ours: Recipe, theirs: Recipe) -> dict[str, dict[str, Any]]:
    run = asdict(ours.network) | asdict(ours.training)
    recipe = asdict(theirs.network) | asdict(theirs.training)
    return {
        key: {"run": run[key], "recipe": value}
        for key, value in recipe.items()
        if key not in BY_DATA and key in run and run[key] != value
    }
