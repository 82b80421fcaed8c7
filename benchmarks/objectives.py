"""The six objectives of a GAN beside each other: seeds of a few minutes each, ranked on one page.

    python -m benchmarks.objectives [--data mnist] [--minutes 3] [--seeds 3] [--runs runs] [--json]

All have the same small networks and one rate for both players (PLAYERS), chosen for none of them; only the objective,
and the penalty that it was published with, change. The runs are OBJECTIVE-SEED in the folder of runs: those that are
there already are kept, so that a benchmark that was stopped goes on. Objectives stand in the order of the median
Fréchet ratio over their seeds. The page is objectives.html in that folder; --figure FILE writes samples of each
objective's median seed, a row each.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

import limner
from limner.models.gan import OBJECTIVES
from limner.workbench.run import Run, open_run

FIGURES = ("frechet_ratio", "precision", "recall", "class_kl")
PLAYERS = (
    "features=16",
    "generator_features=16",
    "learning_rate=1e-3",
    "discriminator_learning_rate=1e-3",
    "penalty_every=1",
    "ema_decay=0.998",
)
SHOWN = 20  # samples of an objective in the figure


def trained(folder: Path, objective: str, seed: int, data: str, minutes: float) -> Run:
    """The run of ``objective`` and ``seed``, trained if it is not there."""
    name = f"{objective}-{seed}"
    if (state := folder / name / "state.json").exists():
        finished = json.loads(state.read_text())["finished"]
        return open_run(folder / name) if finished else limner.resume(folder / name, quiet=False)
    changes = [*PLAYERS, f"objective={objective}", f"seed={seed}"]
    return limner.train("gan", data, name=name, runs=folder, minutes=minutes, settings=changes, quiet=False)


def summary(objective: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median over the seeds, and what the seeds reached."""
    row: dict[str, Any] = {"objective": objective}
    for figure in FIGURES:
        values = [record[figure] for record in records if figure in record]
        if values:
            row |= {figure: statistics.median(values), f"{figure}_seeds": values}
    return row


def main() -> None:
    """Train what is missing, measure all, print the ranking and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--figure", type=Path, help="a PNG of samples")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    runs = [
        trained(asked.runs, objective, seed, asked.data, asked.minutes)
        for seed in range(asked.seeds)  # each objective once, then each again: one that is stopped has seen all
        for objective in OBJECTIVES
    ]
    page, records = limner.compare(
        runs,
        out=asked.runs / "objectives.html",
        title="limner · six objectives",
        introduction=f"{asked.minutes:g} minutes of training each, with the same networks and rates.",
        quiet=False,
    )
    by_objective = {name: records[i :: len(OBJECTIVES)] for i, name in enumerate(OBJECTIVES)}
    ranking = sorted((summary(*item) for item in by_objective.items()), key=lambda row: row["frechet_ratio"])
    if asked.figure:
        rows = []
        for row in ranking:
            ratios = row["frechet_ratio_seeds"]
            seed = ratios.index(statistics.median_low(ratios))
            rows.append(open_run(asked.runs / f"{row['objective']}-{seed}").sample(SHOWN, seed=0))
        limner.save_png(limner.grid(torch.cat(rows), columns=SHOWN), asked.figure)
    if asked.json:
        print(json.dumps({"data": asked.data, "minutes": asked.minutes, "page": str(page), "ranking": ranking}))
        return
    for place, row in enumerate(ranking, 1):
        seeds = "  ".join(f"{value:.2f}" for value in row["frechet_ratio_seeds"])
        rest = "  ".join(f"{figure} {row[figure]:.3f}" for figure in FIGURES[1:] if figure in row)
        print(f"{place}  {row['objective']:15} ratio {row['frechet_ratio']:.2f} ({seeds})  {rest}")
    print(page)


if __name__ == "__main__":
    main()
