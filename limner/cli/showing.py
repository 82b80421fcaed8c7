"""`limner runs` and `limner show`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.cli.arguments import Json, RunName
from limner.cli.printing import answer, table

__all__ = ["runs", "show"]


def runs(json: Json = False) -> None:
    """List the runs in runs/ (or $LIMNER_RUNS) with their figures, newest first; ≤ marks bounds."""
    from limner.runs import list_runs, runs_folder

    rows = list_runs()
    if json or not rows:
        answer(json, rows, f"no runs in {runs_folder()}/ yet: limner train pixelcnn --data digits makes one")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE)
    for column in ("run", "model", "data", "status"):
        shown.add_column(column, overflow="fold")  # a name that is cut is no name
    for column in ("step", "validation nats", "test nats", "bits/dim", "Fréchet ratio"):
        shown.add_column(column, justify="right")
    for r in rows:
        source = Path(r.get("data", "")).name
        shown.add_row(r["run"], r.get("model", ""), source, r["status"], f"{r.get('step', 0):,}", *_figures(r).values())
    Console(width=None if sys.stdout.isatty() else 160).print(shown)


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a run's row as text, '' where there is none."""
    from limner.runs import with_errors

    sign = "≤ " if row.get("bound") == "lower" else ""
    formats = {"validation_nats": sign + "{:.2f}", "test_nats": sign + "{:.2f}", "bits_per_dim": sign + "{:.4f}"}
    formats["frechet_ratio"] = "{:.2f}" + with_errors(row)["frechet_ratio_error"]
    figures = {name: text.format(row[name]) if row.get(name) is not None else "" for name, text in formats.items()}
    figures["frechet_ratio"] = figures["frechet_ratio"] or row.get("frechet_ratio_left_out", "")
    return figures


def show(run: RunName, json: Json = False) -> None:
    """Sum a run up: how far it is, its figures, the settings that differ from its recipe, and where its files are."""
    from limner.workbench.showing import show

    facts = show(run)
    figures = {"validation_nats": "validation nats", "test_nats": "test nats", "bits_per_dim": "test bits/dim"}
    figures |= {"frechet_ratio": "Fréchet ratio"}
    rows = [("run", f"{facts['run']} ({facts['model']}), {facts['status']} at step {facts.get('step', 0):,}")]
    rows += [("data", f"{facts['data']}, {facts['images']}")]
    if "start" in facts:
        rows += [("begun from", f"run {facts['start']['run']!r}, step {facts['start']['step']:,}")]
    rows += [(figures[name], text) for name, text in _figures(facts).items() if text]
    if "validation_distance" in facts:
        rows += [("validation", f"Fréchet distance of samples {facts['validation_distance']:.3g}")]
    changed = [f"{key} = {value['run']} (recipe: {value['recipe']})" for key, value in facts["settings"].items()]
    rows += [("recipe", facts["recipe"]), ("settings that differ", "\n".join(changed) or "none")]
    rows += [(name, facts[name]) for name in ("folder", "report", "samples") if name in facts]
    answer(json, facts, *table(rows))
