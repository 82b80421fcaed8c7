"""What the doctor says of runs that are meant to fail, and of the same runs left as they are.

    python -m benchmarks.doctor [--data mnist] [--steps 500] [--network dcgan] [--only OBJECTIVE ...] [--json]

Each objective is trained with the players of `benchmarks.objectives` (and `keep=last`: no Fréchet distances on the
way), and again with one thing wrong at a time. Printed is what was said, at which step first, and the figure that
showed it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import limner
from benchmarks.objectives import PLAYERS
from limner.data import ImageSet
from limner.errors import LimnerError
from limner.models.gan import OBJECTIVES
from limner.training.journal import read_metrics

FACTOR = 100  # of the rates


def failures() -> dict[str, list[str]]:
    """Settings by what is wrong with them."""
    rates = (setting.split("=") for setting in PLAYERS if "learning_rate=" in setting)
    return {
        "nothing": [],
        f"rates × {FACTOR}": [f"{name}={FACTOR * float(rate):g}" for name, rate in rates],
        "k = 50": ["discriminator_steps=50"],
        "batch of 2": ["batch_size=2"],
    }


def said(folder: Path) -> list[dict[str, Any]]:
    """The diagnoses of a run, in the order in which they were first said."""
    found: dict[str, dict[str, Any]] = {}
    for line in read_metrics(folder):
        for name in found:
            found[name]["to_the_end"] = False
        for diagnosis in line.get("diagnoses", []):
            first = {"name": diagnosis["name"], "step": line["step"], "observed": diagnosis["observed"]}
            found.setdefault(diagnosis["name"], first)["to_the_end"] = True
    return list(found.values())


def examined(data: ImageSet, objective: str, settings: list[str], steps: int, network: str) -> dict[str, Any]:
    """Train for ``steps`` steps of the discriminator; gives the diagnoses, and what stopped the run if anything did."""
    batch = next((int(s.removeprefix("batch_size=")) for s in settings if s.startswith("batch_size=")), 64)
    epochs = steps / (len(data.split("train")) // batch)
    chosen = [*PLAYERS, f"objective={objective}", f"network={network}", "keep=last", "sample_images=0", "evaluations=1"]
    stopped = None
    with tempfile.TemporaryDirectory() as runs:
        try:
            limner.train("gan", data, name="run", runs=runs, epochs=epochs, settings=[*chosen, *settings], quiet=True)
        except LimnerError as error:
            stopped = str(error)
        return {"diagnoses": said(Path(runs) / "run"), "stopped": stopped}


def main() -> None:
    """Print a row for each run, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--network", default="dcgan", choices=["dcgan", "residual", "dense"])
    parser.add_argument("--only", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES), metavar="OBJECTIVE")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    asked = parser.parse_args()
    data = limner.load_data(asked.data)
    rows = []
    for objective in asked.only:
        for wrong, settings in failures().items():
            row = {"objective": objective, "wrong": wrong}
            row |= examined(data, objective, settings, asked.steps, asked.network)
            rows.append(row)
            if not asked.json:
                told = "; ".join(f"{d['name']}, {d['step']}: {d['observed']}" for d in row["diagnoses"]) or "nothing"
                stop = f"; stopped: {row['stopped']}" if row["stopped"] else ""
                print(f"{objective:15} {wrong:12} {told}{stop}", flush=True)
    if asked.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
