"""Training a run, and going on with one."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric

from limner import display, sampling
from limner.config.run_config import DataConfig, RunConfig, read_run_config
from limner.config.settings import with_settings
from limner.data import Batch, Batches, ImageSet, load
from limner.data.imageset import Split
from limner.data.options import FitMode
from limner.errors import LimnerError
from limner.evaluation import feature_network
from limner.evaluation.distances import frechet_distance
from limner.files import sweep
from limner.models import Model, Samples, Scores, families, family, with_article
from limner.models.contracts import ConditionalConfig
from limner.models.recipes import AdversarialConfig, Recipe, TrainingConfig
from limner.reports import draw
from limner.reports.pages import README, REPORT
from limner.runs import check_name, find_run, locked_run, new_run, runs_folder
from limner.training.adversarial import Adversarial
from limner.training.checkpoints import MODEL, STATE, read_header
from limner.training.loop import Hooks
from limner.training.loop import train as run_loop
from limner.training.memory import check_fits, keep_freed_memory
from limner.training.objectives import Objective, SingleLoss
from limner.training.precision import FABRIC_PRECISION, choose_precision
from limner.training.state import read_numbers
from limner.workbench import latent
from limner.workbench.measuring import FEATURES
from limner.workbench.planning import evaluation_seconds, fitting, timed
from limner.workbench.run import Run, device
from limner.workbench.sizes import suiting_side

__all__ = ["resume", "train"]


def train(
    model: str,
    data: str | os.PathLike[str] | ImageSet = "digits",
    *,
    name: str | None = None,
    runs: str | os.PathLike[str] | None = None,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    conditional: bool = False,
    settings: Sequence[str] = (),
    recipe: Recipe | str = "default",
    quiet: bool = True,
) -> Run:
    """Train a model in a new run folder and write its report.

    Args:
        model: The name of a family; ``limner models`` lists them.
        data: A SOURCE, or a set that ``load_data`` gave.
        name: Of the run; by default ``MODEL-DATA-N``.
        runs: Folder of runs; by default ``$LIMNER_RUNS`` or ``runs``.
        size: ``(H, W)`` of every image.
        fit: How images get that size: crop, pad, stretch.
        levels: Values of a pixel; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        conditional: Learn p(x|y) with the data's labels y.
        settings: ``key=value`` changes to the recipe.
        recipe: One of the model's recipes by name, or one of your own.
        quiet: No progress.

    Raises:
        LimnerError: Anything is wrong with the arguments or the data, or training diverged.
    """

    def complete(shape: tuple[int, int, int], classes: int) -> Recipe:
        chosen = family(model).recipe(recipe, shape) if isinstance(recipe, str) else recipe
        if conditional and not isinstance(chosen.network, ConditionalConfig):
            able = ", ".join(f.name for f in families().values() if f.conditional)
            raise LimnerError(f"--conditional: {with_article(model)} has no classes; {able} can have them")
        given = [f"classes={classes}"] if conditional else []
        return with_settings(_of_length(chosen, minutes, epochs), [*settings, *given], model)

    complete((1, 28, 28), 1)  # bad settings and names are said before a large set is read
    parent = Path(runs or runs_folder())
    check_name(name, parent)
    if isinstance(data, ImageSet):
        images = data
    else:
        longest = suiting_side(model, lambda shape: complete(shape, 1), minutes)
        with display.stages(quiet) as progress:
            images = load(data, size=size, fit=fit, levels=levels, on_progress=progress, longest=longest)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the precision stands in config.toml
    began = time.perf_counter()
    images.split("train")
    config = RunConfig(family(model).name, DataConfig.of(images, fit), complete(images.shape, len(images.label_names)))
    if conditional and not images.label_names:
        raise LimnerError(f"--conditional: {images.source} has no labels; sub-folders or a labels array make them")
    _check_classes(config, images)
    check_fits(config.build)
    plan = fitting(config, len(images.split("train")), lambda shape: complete(shape, len(images.label_names)))
    keep_freed_memory()
    built = config.build().to(device())
    plan = timed(plan, built, images)
    config = plan.config
    short = "".join(c if c.isalnum() else "-" for c in Path(images.source).stem)[:50] or "data"
    folder = new_run(name, f"{config.model}-{short}", parent)
    skipped = [f"skipped {b.path}: {b.reason}" for b in images.broken]
    more = [f"skipped {len(skipped) - 10} more files; `limner data` names them"] if len(skipped) > 10 else []
    for note in (*images.notes, *skipped[:10], *more, *plan.notes):
        display.console(quiet).print(note, style="dim", markup=False, soft_wrap=True)
    with locked_run(folder):
        check_name(folder.name, parent)
        config.write(folder)
        return _train(Run(folder, config, images), built, began, resume=False, quiet=quiet)


def resume(
    run: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    epochs: float | None = None,
    settings: Sequence[str] = (),
    quiet: bool = True,
) -> Run:
    """Go on with a run from its last checkpoint, on CPU bit for bit as if it had never stopped.

    Args:
        run: Name or folder.
        minutes: A new total budget, for a run that shall train longer.
        epochs: A new total of passes.
        settings: ``key=value`` changes to the training (not to the network).
        quiet: No progress.

    Raises:
        LimnerError: There is no such run, its data changed, it has reached its end already, or another process trains
            it.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the precision stands in config.toml
    folder = find_run(run)
    with locked_run(folder):
        return _resume(folder, minutes, epochs, settings, quiet)


def _resume(folder: Path, minutes: float | None, epochs: float | None, settings: Sequence[str], quiet: bool) -> Run:
    config = read_run_config(folder)
    before = config.recipe
    recipe = with_settings(_of_length(before, minutes, epochs), settings, config.model)
    if recipe.network != before.network:
        raise LimnerError("resume cannot change the network's sizes: its weights are trained; start a new run")
    started = (folder / STATE).is_file()
    if (folder / MODEL).is_file() and not started:
        raise LimnerError(f"{folder} has weights but no {STATE} to go on from: train a new run under another name")
    opened = Run(folder, replace(config, recipe=recipe))
    images = opened.data(quiet=quiet).split("train")
    _check_classes(config, opened.data())
    if started:
        _check_unfinished(opened, before.training, Batches(images, recipe.training.batch_size, 0).steps_per_epoch)
    check_fits(opened.config.build)
    began = time.perf_counter()
    plan = fitting(opened.config, len(images), lambda shape: recipe)
    for note in plan.notes:
        display.console(quiet).print(note, style="dim", markup=False, soft_wrap=True)
    model = opened.config.build()
    opened.config = _of_precision(plan.config, model, images)
    unchanged = opened.config.recipe == before
    begun = (lambda: None) if unchanged else (lambda: opened.config.write(folder))
    return _train(opened, model, began, resume=started, quiet=quiet, begun=begun)


def _check_unfinished(run: Run, before: TrainingConfig, steps_per_epoch: int) -> None:
    """Refuse to resume a run that is finished, or has trained for longer than it is asked to."""
    config, path = run.config.recipe.training, run.folder / STATE
    state = read_numbers(read_header(path), path)
    step, seconds, finished = state.step, state.seconds, state.finished
    same = (config.minutes, config.minutes or config.epochs) == (before.minutes, before.minutes or before.epochs)
    if same and finished and not all((run.folder / page).is_file() for page in (README, REPORT)):
        return  # it ended between its last step and its report
    enough = (
        seconds >= config.minutes * 60 if config.minutes else step >= max(1, round(config.epochs * steps_per_epoch))
    )
    if (same and finished) or (not same and enough):
        done = f"{step:,} steps, {step / steps_per_epoch:.4g} epochs, {seconds / 60:.2g} minutes"
        where = "is finished" if finished else "is further already"
        raise LimnerError(
            f"run {run.name!r} {where} ({done}): to train longer give a larger total, as in "
            f"`limner resume {run.name} --epochs {math.ceil(2 * step / steps_per_epoch)}`, or --minutes"
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
        raise LimnerError("choose --minutes or --epochs, not both")
    for name, value in (("minutes", minutes), ("epochs", epochs)):
        if value is not None and not 0 < value < 1e9:
            raise LimnerError(f"--{name} must be a positive number, not {value}")
    budget: dict[str, Any] = {} if epochs is None else {"epochs": epochs, "minutes": 0.0}
    if minutes is not None:
        budget = {"minutes": minutes}
    return replace(recipe, training=replace(recipe.training, **budget))


def _objective(run: Run, model: Model, fabric: Fabric, quiet: bool) -> Objective[Any]:
    """What trains ``model``: two players, of which the validation images' features choose the best, or one loss."""
    config = run.config.recipe.training
    if not isinstance(config, AdversarialConfig):
        return SingleLoss(model, config, fabric)
    if config.keep == "last":
        return Adversarial(cast("Any", model), config, fabric)
    with display.stages(quiet) as progress:
        network = feature_network(run.data(), run.folder.parent / FEATURES, device=model.device, on_progress=progress)

    def distance(gan: Samples, batches: Sequence[Batch]) -> dict[str, float]:
        reference = torch.cat([network(batch.images) for batch in batches])
        random = torch.Generator().manual_seed(config.seed)
        drawn = sampling.sample(gan, len(reference), generator=random)
        return {"distance": frechet_distance(network(drawn), reference)}

    return Adversarial(cast("Any", model), config, fabric, distance)


def _train(
    run: Run, model: Model, began: float, *, resume: bool, quiet: bool, begun: Callable[[], None] = lambda: None
) -> Run:
    config, data = run.config.recipe.training, run.data()
    fabric = Fabric(accelerator="auto", devices=1, precision=FABRIC_PRECISION[config.precision])
    objective = _objective(run, model.to(fabric.device), fabric, quiet)
    validation = data.splits["validation"] if len(data.splits["validation"]) else data.split("train")
    samples = run.folder / "samples"
    samples.mkdir(exist_ok=True)
    sweep(samples)
    compare_with_held_out = cache(lambda: latent.compare_with_held_out(data))  # only where there is a doctor, and once
    n, bound = config.sample_images, model.bound if isinstance(model, Scores) else None
    allowed = evaluation_seconds(config.minutes * 60)

    def evaluated(step: int, averaged: Model) -> None:
        if n and isinstance(averaged, Samples):
            labels, columns = sampling.class_rows(averaged, n)
            count, generator = n if labels is None else len(labels), torch.Generator().manual_seed(config.seed)
            images = sampling.sample_in(allowed, averaged, count, generator=generator, labels=labels)
            if len(images):
                draw.save_png(draw.grid(images.cpu(), columns=columns), samples / f"{step:06d}.png")
        if objective.doctor and isinstance(averaged, Samples) and (compare := compare_with_held_out()):
            drawn = sampling.sample_in(allowed, averaged, 200, generator=torch.Generator().manual_seed(config.seed))
            if len(drawn):
                objective.doctor.compare(compare(drawn.cpu()))

    with display.training(run.name, model.dimensions, bound, quiet, model.loss_note) as show:
        hooks = Hooks(begun, show, evaluated)
        run.outcome = run_loop(
            objective, data.split("train"), validation, run.folder, resume=resume, hooks=hooks, began=began
        )
    run.__dict__.pop("model", None)  # the best weights may be new
    if not run.outcome.interrupted:
        run.report(allowed)
    return run
