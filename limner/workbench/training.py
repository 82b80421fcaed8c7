"""Training a run, and going on with one."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner import display
from limner.config.run_config import DataConfig, RunConfig, Source, read_run_config
from limner.config.settings import Settings, values_of, with_settings
from limner.data import Batches, ImageSet
from limner.data.imageset import Split
from limner.data.options import FitMode
from limner.devices import device, flushing_denormals
from limner.errors import LimnerError, command, option, setting
from limner.models import Model, families, family, with_article
from limner.models.contracts import ConditionalConfig
from limner.models.recipes import Recipe, TrainingConfig
from limner.reports.pages import README, REPORT
from limner.runs import check_name, find_run, locked_run, new_run, runs_folder
from limner.training.checkpoints import MODEL, STATE, read_header
from limner.training.memory import check_fits, keep_freed_memory
from limner.training.precision import choose_precision
from limner.training.processes import Processes, joined
from limner.training.state import read_numbers
from limner.workbench.advice import say_if_hopeless
from limner.workbench.few_images import of_few_images, say_if_short
from limner.workbench.following import follow, tell
from limner.workbench.loading import load_data
from limner.workbench.planning import fitting, timed
from limner.workbench.run import Run
from limner.workbench.running import train_run
from limner.workbench.sizes import suiting_side
from limner.workbench.starting import begin_again, network_of, source_of, take_over

__all__ = ["resume", "train"]


@flushing_denormals()
def train(
    model: str,
    data: Source = "digits",
    *,
    name: str | None = None,
    runs: str | os.PathLike[str] | None = None,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    conditional: bool = False,
    augment: str | None = None,
    settings: Settings = (),
    recipe: Recipe | str = "default",
    start_from: str | os.PathLike[str] | None = None,
    quiet: bool | None = None,
) -> Run:
    """Train a model in a new run folder and write its report.

    Args:
        model: The name of a family; ``limner models`` lists them.
        data: A SOURCE, a set that ``load_data`` gave, or images: an array, a tensor, a list, a ``Dataset``, a pair
            ``(images, labels)``; ``limner.from_arrays`` says more.
        name: Of the run; by default ``MODEL-DATA-N``.
        runs: Folder of runs; by default ``$LIMNER_RUNS`` or ``runs``.
        size: ``(H, W)`` of every image.
        fit: How images get that size: crop, pad, stretch.
        levels: Values of a pixel; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        conditional: Learn p(x|y) with the data's labels y.
        augment: How training images are changed, as in ``flip,shift``; by default as the recipe says.
        settings: Changes to the recipe: a mapping as in ``{"blocks": 3}``, or texts ``key=value``.
        recipe: One of the model's recipes by name, or one of your own.
        start_from: A run of the same family, whose weights are taken over where they fit, and whose network, size and
            levels stand where nothing else is given; see docs/runs.md.
        quiet: No progress; by default none unless a person watches.

    Started by ``torchrun``, or by ``limner train --processes N``, several processes train one run together.

    Raises:
        LimnerError: Anything is wrong with the arguments or the data, or training diverged.
    """
    with joined() as processes:
        if not processes.first:
            return follow(processes, data)
        return _train(
            processes, model, data, name, runs, size, fit, levels, minutes, epochs, conditional, augment, settings,
            recipe, start_from, quiet,
        )  # fmt: skip


def _train(
    processes: Processes,
    model: str,
    data: Source,
    name: str | None,
    runs: str | os.PathLike[str] | None,
    size: tuple[int, int] | None,
    fit: FitMode,
    levels: int | None,
    minutes: float | None,
    epochs: float | None,
    conditional: bool,
    augment: str | None,
    settings: Settings,
    recipe: Recipe | str,
    start_from: str | os.PathLike[str] | None,
    quiet: bool | None,
) -> Run:
    def complete(shape: tuple[int, int, int], classes: int) -> Recipe:
        chosen = family(model).recipe(recipe, shape) if isinstance(recipe, str) else recipe
        if source is not None and recipe == "default":
            chosen = replace(chosen, network=network_of(source))
        if conditional and not isinstance(chosen.network, ConditionalConfig):
            able = ", ".join(f.name for f in families().values() if f.conditional)
            raise LimnerError(
                f"{option('conditional', True)}: {with_article(model)} has no classes; {able} can have them"
            )
        given = ({"classes": classes} if conditional else {}) | ({} if augment is None else {"augment": augment})
        return with_settings(_of_length(chosen, minutes, epochs), values_of(settings) | given, model)

    source = None if start_from is None else source_of(start_from, model)
    if source is not None:
        size, levels = size or source.config.data.shape[1:], levels or source.config.data.levels
    complete((1, 28, 28), 1)  # bad settings and names are said before a large set is read
    parent = Path(runs or runs_folder())
    check_name(name, parent)
    if isinstance(data, ImageSet):
        images = data
    else:
        longest = suiting_side(model, lambda shape: complete(shape, 1), minutes)
        images = load_data(data, size=size, fit=fit, levels=levels, longest=longest, quiet=quiet)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the precision stands in config.toml
    began = time.perf_counter()
    images.split("train")
    config = RunConfig(family(model).name, DataConfig.of(images, fit), complete(images.shape, len(images.label_names)))
    if conditional and not images.label_names:
        how = f"{option('conditional', True)}: {images.source} has no labels"
        raise LimnerError(f"{how}; sub-folders or a labels array make them")
    _check_classes(config, images)
    config = of_few_images(config, len(images.split("train")), quiet)
    check_fits(config.build)
    if minutes is None and epochs is None and not {"epochs", "minutes"} & values_of(settings).keys():
        say_if_short(config, len(images.split("train")), quiet)
    plan = fitting(config, len(images.split("train")), lambda shape: complete(shape, len(images.label_names)))
    keep_freed_memory()
    built = config.build().to(device())
    plan = timed(plan, built, images)
    config = plan.config
    say_if_hopeless(config, images, quiet, plan.steps)
    if source is not None:
        config = replace(config, start=take_over(source, built, config, quiet))
    short = "".join(c if c.isalnum() else "-" for c in Path(images.source).stem)[:50] or "data"
    folder = new_run(name, f"{config.model}-{short}", parent)
    skipped = [f"skipped {b.path}: {b.reason}" for b in images.broken]
    more = [f"skipped {len(skipped) - 10} more files; `limner data` names them"] if len(skipped) > 10 else []
    for note in (*images.notes, *skipped[:10], *more, *plan.notes):
        display.console(quiet).print(note, style="dim", markup=False, soft_wrap=True)
    with locked_run(folder):
        check_name(folder.name, parent)
        config.write(folder)
        tell(processes, folder, config, built, resume=False, quiet=quiet)
        return train_run(Run(folder, config, images), built, began, resume=False, quiet=quiet, processes=processes)


@flushing_denormals()
def resume(
    run: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    epochs: float | None = None,
    settings: Settings = (),
    data: Source | None = None,
    quiet: bool | None = None,
) -> Run:
    """Go on with a run from its last checkpoint, on CPU bit for bit as if it had never stopped.

    Args:
        run: Name or folder.
        minutes: A new total budget, for a run that shall train longer.
        epochs: A new total of passes.
        settings: Changes to the training (not to the network), as of ``train``.
        data: The images it was trained on, where they were handed over in Python; or a SOURCE that has moved.
        quiet: No progress; by default none unless a person watches.

    Raises:
        LimnerError: There is no such run, its data changed, it has reached its end already, or another process trains
            it.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the precision stands in config.toml
    with joined() as processes:
        if not processes.first:
            return follow(processes, data)
        folder = find_run(run)
        with locked_run(folder):
            return _resume(processes, folder, minutes, epochs, settings, data, quiet)


def _resume(
    processes: Processes,
    folder: Path,
    minutes: float | None,
    epochs: float | None,
    settings: Settings,
    data: Source | None,
    quiet: bool | None,
) -> Run:
    config = read_run_config(folder)
    before = config.recipe
    recipe = with_settings(_of_length(before, minutes, epochs), settings, config.model)
    if recipe.network != before.network:
        raise LimnerError("resume cannot change the network's sizes: its weights are trained; start a new run")
    started = (folder / STATE).is_file()
    if (folder / MODEL).is_file() and not started:
        raise LimnerError(f"{folder} has weights but no {STATE} to go on from: train a new run under another name")
    opened = Run(folder, replace(config, recipe=recipe))
    images = opened.data(data, quiet=quiet).split("train")
    _check_classes(config, opened.data())
    if started:
        _check_unfinished(opened, before.training, Batches(images, recipe.training.batch_size, 0).steps_per_epoch)
    check_fits(opened.config.build)
    began = time.perf_counter()
    plan = fitting(opened.config, len(images), lambda shape: recipe)
    for note in plan.notes:
        display.console(quiet).print(note, style="dim", markup=False, soft_wrap=True)
    model = opened.config.build()
    if not (started and read_header(folder / STATE).get("step")):
        begin_again(opened, model, quiet)
    opened.config = _of_precision(plan.config, model, images)
    unchanged = opened.config.recipe == before
    begun = (lambda: None) if unchanged else (lambda: opened.config.write(folder))
    tell(processes, folder, opened.config, model, resume=started, quiet=quiet)
    return train_run(opened, model, began, resume=started, quiet=quiet, begun=begun, processes=processes)


def _check_unfinished(run: Run, before: TrainingConfig, steps_per_epoch: int) -> None:
    """Refuse to resume a run that is finished, or has trained for longer than it is asked to."""
    config, path = run.config.recipe.training, run.folder / STATE
    state = read_numbers(read_header(path), path)
    step, seconds, finished = state.step, state.seconds, state.finished
    length, length_before = ((c.minutes, c.minutes or c.epochs, c.patience) for c in (config, before))
    same = length == length_before
    if same and finished and not all((run.folder / page).is_file() for page in (README, REPORT)):
        return  # it ended between its last step and its report
    enough = (
        seconds >= config.minutes * 60 if config.minutes else step >= max(1, round(config.epochs * steps_per_epoch))
    )
    if (same and finished) or (not same and enough):
        done = f"{step:,} steps, {step / steps_per_epoch:.4g} epochs, {seconds / 60:.2g} minutes"
        where = "is finished" if finished else "is further already"
        if 0 < before.patience <= state.stale:
            where, done = "stopped early", f"{done}; {setting('patience', '0')} goes on to its end"
        raise LimnerError(
            f"run {run.name!r} {where} ({done}): to train longer give a larger total, as in "
            f"`{command('resume', run.name, epochs=math.ceil(2 * step / steps_per_epoch))}`, or {option('minutes')}"
        )


def _of_precision(config: RunConfig, model: Model, images: Split) -> RunConfig:
    """``config`` with the precision that ``auto`` stands for on this machine; ``model`` is moved to the device."""
    keep_freed_memory()
    training = config.recipe.training
    first = Batches(images, -(-training.batch_size // training.accumulate), training.seed).at(0)
    return config.with_training(precision=choose_precision(training.precision, model.to(device()), first))


def _check_classes(config: RunConfig, data: ImageSet) -> None:
    """Refuse a conditional model that has other classes than its images."""
    network, there = config.recipe.network, len(data.label_names)
    if isinstance(network, ConditionalConfig) and network.classes not in (0, there):
        raise LimnerError(f"classes={network.classes}: {data.source} has {there or 'no labels, so no'} classes")


def _of_length(recipe: Recipe, minutes: float | None, epochs: float | None) -> Recipe:
    """``recipe`` with a budget of minutes, or of epochs, or as it is."""
    if minutes is not None and epochs is not None:
        raise LimnerError(f"choose {option('minutes')} or {option('epochs')}, not both")
    for name, value in (("minutes", minutes), ("epochs", epochs)):
        if value is not None and not 0 < value < 1e9:
            raise LimnerError(f"{option(name)} must be a positive number, not {value}")
    budget: dict[str, Any] = {} if epochs is None else {"epochs": epochs, "minutes": 0.0}
    if minutes is not None:
        budget = {"minutes": minutes}
    return replace(recipe, training=replace(recipe.training, **budget))
