"""The commands. Each is a function whose docstring is its help; heavy imports live inside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from limner.cli.arguments import (
    Count,
    Epochs,
    Fit,
    Flag,
    Label,
    Levels,
    Minutes,
    Model,
    Name,
    OutFile,
    RunName,
    Seed,
    Settings,
    Size,
    Source,
)
from limner.cli.completing import complete
from limner.cli.latent import latent
from limner.cli.measuring import compare, evaluate
from limner.cli.models import models
from limner.cli.printing import describe, figure, print_json, print_table, said, size_of, spread
from limner.cli.probing import probe

if TYPE_CHECKING:
    from limner.workbench import Run

__all__ = ["COMMANDS"]


def demo(out: Path = Path("demo"), quiet: Flag = False) -> None:
    """Train every family on the bundled digits, minutes on a laptop; ends with a report to look at.

    Args:
        out: Folder for the runs and report.html; an earlier demo in it is replaced.
        quiet: No progress.
    """
    from limner.workbench.demo import demo

    print(demo(out, quiet=quiet))


def data(
    source: Source,
    size: Size = None,
    fit: Fit = "crop",
    out: OutFile = None,
    json: Flag = False,
) -> None:
    """Say what a SOURCE is (count, size, channels, levels, labels, broken files) and write a contact sheet.

    Args:
        source: digits, mnist, binarized-mnist, fashion-mnist, cifar10, stacked-mnist, a folder, .zip, .npz, .npy, IDX
            or .amat file.
        size: Bring every image to this size: S (square) or WIDTHxHEIGHT.
        fit: How: crop (cover, cut the borders), pad (add black borders), stretch.
        out: The contact sheet; by default contact-sheet.png in this folder.
        json: Print one JSON object.
    """
    from limner import workbench
    from limner.reports import draw

    images = workbench.load_data(source, size=size_of(size), fit=fit, quiet=json)
    path = out or Path("contact-sheet.png")
    train = images.split("train")
    shown = train.take(spread(len(train), 2000 if images.label_names else 96))
    labels = None if train.labels is None else train.labels[spread(len(train), 2000)]
    draw.save_png(draw.contact_sheet(shown, labels, images.label_names), path)
    facts = describe(images) | {"contact_sheet": str(path)}
    if json:
        print_json(facts)
        return
    print_table([(k.replace("_", " "), said(v)) for k, v in facts.items() if v not in ((), [], {})])


def train(
    model: Model,
    data: Annotated[str, arg(metavar="SOURCE")] = "digits",
    name: Name = None,
    size: Size = None,
    fit: Fit = "crop",
    levels: Levels = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    conditional: Flag = False,
    recipe: Annotated[str, arg(metavar="NAME")] = "default",
    settings: Settings = (),
    quiet: Flag = False,
) -> None:
    """Train a MODEL in a new run folder; progress, samples and checkpoints on the way.

    Args:
        model: A family; `limner models` lists them.
        data: SOURCE, see `limner data --help`.
        name: Of the run, the folder runs/NAME; by default MODEL-DATA-N.
        size: Bring every image to this size: S (square) or WIDTHxHEIGHT.
        fit: How: crop (cover, cut the borders), pad (add black borders), stretch.
        levels: Values of a pixel, 2 to 256; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        conditional: Learn p(x|y) with the data's labels y; `limner sample --label` draws one class.
        recipe: One of the family's recipes; `limner models MODEL` lists them.
        settings: Changes to the recipe, as in --set features=96 batch_size=32; `limner models MODEL` explains all keys.
        quiet: No progress.
    """
    from limner import workbench

    run = workbench.train(
        model,
        data,
        name=name,
        size=size_of(size),
        fit=fit,
        levels=levels,
        minutes=minutes,
        epochs=epochs,
        conditional=conditional,
        recipe=recipe,
        settings=settings,
        quiet=quiet,
    )
    _print_outcome(run)


def resume(
    run: RunName,
    minutes: Minutes = None,
    epochs: Epochs = None,
    settings: Settings = (),
    quiet: Flag = False,
) -> None:
    """Go on with a run from its last checkpoint; on CPU bit for bit as if it had never stopped.

    Args:
        run: Name (in runs/) or folder.
        minutes: A new total time budget, to train longer than planned.
        epochs: A new total of passes, to train longer than planned.
        settings: Changes to the training, as in --set learning_rate=0.0005.
        quiet: No progress.
    """
    from limner import workbench

    _print_outcome(workbench.resume(run, minutes=minutes, epochs=epochs, settings=settings, quiet=quiet))


def runs(json: Flag = False) -> None:
    """List the runs in runs/ (or $LIMNER_RUNS) with their figures, newest first.

    Args:
        json: Print one JSON list.
    """
    from limner.runs import list_runs, runs_folder

    rows = list_runs()
    if json:
        print_json(rows)
        return
    if not rows:
        print(f"no runs in {runs_folder()}/ yet: limner train pixelcnn --data digits makes one")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in ("run", "model", "data", "status"):
        table.add_column(column, overflow="fold")  # a name that is cut is no name
    for column in ("step", "validation nats", "test nats", "bits/dim", "Fréchet ratio"):
        table.add_column(column, justify="right")
    for r in rows:
        sign = "≤ " if r.get("bound") == "lower" else ""
        figures = [figure(r.get("validation_nats"), 2), figure(r.get("test_nats"), 2, sign)]
        figures += [figure(r.get("bits_per_dim"), 4, sign), figure(r.get("frechet_ratio"), 2)]
        source = Path(r.get("data", "")).name
        table.add_row(r["run"], r.get("model", ""), source, r["status"], f"{r.get('step', 0):,}", *figures)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def sample(
    run: RunName,
    n: Annotated[Count, arg(aliases=("-n",))] = 64,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    quiet: Flag = False,
) -> None:
    """Draw new images from a run's model into one PNG.

    Args:
        run: Name (in runs/) or folder.
        n: How many.
        label: Only this class, a number from 0 in the order of `limner data`; for runs trained with --conditional.
        seed: The same seed gives the same images.
        out: The PNG; by default samples-SEED.png in the run folder.
        quiet: No progress.
    """
    from limner import workbench
    from limner.files import check_place
    from limner.reports import draw

    opened = workbench.open_run(run)
    path = out or opened.folder / f"samples-{seed}.png"
    check_place(path)
    images = opened.sample(n, label=label, seed=seed, quiet=quiet)
    draw.save_png(draw.grid(images), path)
    print(path)


def _print_outcome(run: Run) -> None:
    outcome = run.outcome
    if outcome is None or outcome.interrupted:
        print(f"limner: stopped and saved; go on with `limner resume {run.name}`", file=sys.stderr)
        sys.exit(130)
    print(run.folder / "report.html")


ALL = (demo, models, data, train, resume, runs, sample, complete, latent, evaluate, probe, compare)
COMMANDS = {f.__name__: f for f in ALL}
