"""The commands. Each is a function whose docstring is its help; heavy imports live inside them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from limner.cli.arguments import Count, Fit, Json, Label, OutFile, Quiet, RunName, Seed, Size, Source
from limner.cli.completing import complete
from limner.cli.latent import latent
from limner.cli.measuring import compare, evaluate
from limner.cli.models import models
from limner.cli.printing import answer, place, said, table
from limner.cli.probing import probe
from limner.cli.training import delete, resume, train

__all__ = ["COMMANDS"]


def demo(out: Path = Path("demo"), quiet: Quiet = False) -> None:
    """Train every family on the bundled digits, minutes on a laptop; ends with a report to look at.

    Args:
        out: Folder for the runs and report.html; an earlier demo in it is replaced.
    """
    from limner.workbench.demo import demo

    print(demo(out, quiet=quiet))


def data(source: Source, size: Size = None, fit: Fit = "crop", out: OutFile = None, json: Json = False) -> None:
    """Say what a SOURCE is (count, size, channels, levels, labels, broken files) and write a contact sheet.

    Args:
        source: digits, mnist, binarized-mnist, fashion-mnist, cifar10, stacked-mnist, a folder, .zip, .npz, .npy, IDX
            or .amat file.
        out: The contact sheet; by default contact-sheet.png in this folder.
    """
    from limner import workbench
    from limner.reports import draw

    images = workbench.load_data(source, size=size, fit=fit, quiet=json)
    train = images.split("train")
    few = max(1, (1 << 27) // math.prod(images.shape))  # large ones
    shown = train.spread(min(2000 if images.label_names else 96, few))  # a sorted source shows all its classes
    labels = None if train.labels is None else train.labels[shown]
    path = out or Path("contact-sheet.png")
    draw.save_png(draw.contact_sheet(train.take(shown), labels, images.label_names), path)
    c, h, w = images.shape
    counts = {name: len(split) for name, split in images.splits.items()}
    facts = {
        "source": images.source,
        "images": sum(counts.values()),
        "splits": counts,
        "size": f"{w}×{h} (width × height)",
        "channels": c,
        "levels": images.levels,
        "labels": list(images.label_names),
        "in_memory": all(split.store.in_memory for split in images.splits.values()),
        "broken": [{"file": b.path, "reason": b.reason} for b in images.broken],
        "notes": list(images.notes),
        "contact_sheet": str(path),
    }
    answer(json, facts, *table([(k.replace("_", " "), said(v)) for k, v in facts.items() if v != []]))


def runs(json: Json = False) -> None:
    """List the runs in runs/ (or $LIMNER_RUNS) with their figures, newest first."""
    from limner.runs import list_runs, runs_folder, with_errors

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
        sign = "≤ " if r.get("bound") == "lower" else ""
        formats = {"validation_nats": "{:.2f}", "test_nats": sign + "{:.2f}"}
        formats |= {"bits_per_dim": sign + "{:.4f}", "frechet_ratio": "{:.2f}" + with_errors(r)["frechet_ratio_error"]}
        figures = [text.format(r[name]) if r.get(name) is not None else "" for name, text in formats.items()]
        figures[-1] = figures[-1] or r.get("frechet_ratio_left_out", "")
        source = Path(r.get("data", "")).name
        shown.add_row(r["run"], r.get("model", ""), source, r["status"], f"{r.get('step', 0):,}", *figures)
    Console(width=None if sys.stdout.isatty() else 160).print(shown)


def sample(
    run: RunName,
    n: Annotated[Count, arg(aliases=("-n",))] = 64,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    quiet: Quiet = False,
) -> None:
    """Draw new images from a run's model into one PNG.

    Args:
        n: How many.
        label: Only this class, a number from 0 in the order of `limner data`; for runs trained with --conditional.
        seed: The same seed gives the same images.
        out: The PNG; by default samples-SEED.png in the run folder.
    """
    from limner import workbench
    from limner.reports import draw

    opened = workbench.open_run(run)
    path = place(out, opened.folder, seed, "samples")
    draw.save_png(draw.grid(opened.sample(n, label=label, seed=seed, quiet=quiet)), path)
    print(path)


ALL = (demo, models, data, train, resume, runs, delete, sample, complete, latent, evaluate, probe, compare)
COMMANDS = {f.__name__: f for f in ALL}
