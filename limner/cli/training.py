"""`limner train`, `limner resume` and `limner delete`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from limner.cli.arguments import (
    Augment,
    Device,
    Epochs,
    Fit,
    Flag,
    Levels,
    Limit,
    Minutes,
    Model,
    Name,
    Quiet,
    RunName,
    Settings,
    Size,
    StartFrom,
)
from limner.devices import use_device
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.workbench import Run

__all__ = ["delete", "resume", "train"]


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
    augment: Augment = None,
    recipe: Annotated[str, arg(metavar="NAME")] = "default",
    start_from: StartFrom = None,
    seeds: Limit = None,
    processes: Limit = None,
    settings: Settings = (),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train a MODEL in a new run folder; progress, samples and checkpoints on the way.

    Args:
        model: A family; `limner models` lists them.
        data: SOURCE, see `limner data --help`.
        name: Of the run, the folder runs/NAME; by default MODEL-DATA-N.
        levels: Values of a pixel, 2 to 256; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        conditional: Learn p(x|y) with the data's labels y; `limner sample --label` draws one class.
        augment: How training images are changed, against learning a small set by heart; some of flip, shift, elastic
            and, for a GAN, color, translation, cutout; or none. By default as the recipe says.
        recipe: One of the family's recipes; `limner models MODEL` lists them.
        start_from: A run of the same family to begin from: the weights that fit are taken over; its network, size and
            levels stand unless others are given.
        seeds: Train so many runs that differ in their seed, and give the mean ± deviation of their validation figures.
        processes: Train in so many processes on this machine, each with its part of every batch; see docs/scale.md.
        settings: Changes to the recipe, as in --set features=96 batch_size=32; `limner models MODEL` explains all keys.
    """
    use_device(device)
    from limner import workbench

    options: dict[str, Any] = {
        "name": name,
        "size": size,
        "fit": fit,
        "levels": levels,
        "minutes": minutes,
        "epochs": epochs,
        "conditional": conditional,
        "augment": augment,
        "recipe": recipe,
        "start_from": start_from,
        "settings": settings,
        "quiet": quiet,
    }
    if seeds is not None:
        if processes is not None:
            raise LimnerError("--seeds trains one run after the other, each in one process: leave --processes out")
        _train_seeds(model, data, seeds, **options)
        return
    run = workbench.train(model, data, **options)
    _print_outcome(run)


def _train_seeds(model: str, data: str, seeds: int, **options: Any) -> None:
    """Several runs, the path of each one's report, and what they reached together."""
    from limner.workbench.seeds import train_seeds

    found = train_seeds(model, data, seeds, **options)
    for run in found.runs:
        _print_outcome(run)
    print(found)


def resume(
    run: RunName,
    minutes: Minutes = None,
    epochs: Epochs = None,
    processes: Limit = None,
    settings: Settings = (),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Go on with a run from its last checkpoint; on CPU bit for bit as if it had never stopped.

    Args:
        minutes: A new total time budget, to train longer than planned.
        epochs: A new total of passes, to train longer than planned.
        processes: Train in so many processes on this machine, as many as before or others; see docs/scale.md.
        settings: Changes to the training, as in --set learning_rate=0.0005.
    """
    use_device(device)
    from limner import workbench

    _print_outcome(workbench.resume(run, minutes=minutes, epochs=epochs, settings=settings, quiet=quiet))


def delete(run: RunName, yes: Annotated[Flag, arg(aliases=("-y",))] = False) -> None:
    """Remove a run's folder with everything in it; refused while the run trains.

    Args:
        yes: Do not ask.
    """
    from limner.runs import find_run, is_run, locked_run, remove_run

    folder = find_run(run)
    if not is_run(folder):
        raise LimnerError(f"{folder / 'config.toml'} is not that of a run: if {folder}/ is to go, remove it yourself")
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise LimnerError(f"delete {run} asks before it removes {folder}/: where nobody can answer, give --yes")
        print(f"delete {folder}/ with everything in it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print(f"{folder}/ is kept", file=sys.stderr)
            return
    with locked_run(folder):
        remove_run(folder)
    print(f"deleted {folder}/")


def _print_outcome(run: Run) -> None:
    if int(os.environ.get("RANK", "0")):
        sys.exit(130 if run.outcome is None or run.outcome.interrupted else 0)  # the first process says it
    if run.outcome is None or run.outcome.interrupted:
        print(f"limner: stopped and saved; go on with `limner resume {run.name}`", file=sys.stderr)
        sys.exit(130)
    print(run.folder / "report.html")
