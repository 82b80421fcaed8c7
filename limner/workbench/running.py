"""A run whose folder and model stand is trained: its objective, its samples, its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from limner import display, sampling, version
from limner.data import Batch
from limner.evaluation.distances import frechet_distance
from limner.evaluation.features import patch_features
from limner.evaluation.fidelity import BLUR
from limner.evaluation.patches import blurred
from limner.files import sweep
from limner.models import Model, Samples, Scores
from limner.models.recipes import AdversarialConfig
from limner.noise import leaving_out
from limner.reports import draw
from limner.training.adversarial import Adversarial
from limner.training.hooks import Hooks
from limner.training.loop import train as run_loop
from limner.training.objectives import Objective, SingleLoss
from limner.training.precision import fabric_of
from limner.training.processes import ALONE, Processes
from limner.workbench import latent
from limner.workbench.few_images import has_distance, say_which_are_kept
from limner.workbench.planning import evaluation_seconds
from limner.workbench.run import Run

__all__ = ["train_run"]


def _objective(run: Run, model: Model, fabric: Fabric, processes: Processes, quiet: bool | None) -> Objective[Any]:
    """What trains ``model``: two players, of which the validation images' features choose the best, or one loss."""
    config = run.config.recipe.training
    if not isinstance(config, AdversarialConfig):
        return SingleLoss(model, config, fabric, processes)
    if config.keep == "last" or not has_distance(run.data(), quiet):
        return Adversarial(cast("Any", model), config, fabric, processes=processes)
    network = patch_features(run.data(), device=model.device)
    known: dict[int, float] = {}  # distances of so many blurred images

    def distance(gan: Samples, batches: Sequence[Batch]) -> dict[str, float]:
        reference = torch.cat([network(batch.images) for batch in batches])
        n = len(reference)
        if n not in known:
            images = blurred(run.data().split("train").first(n), BLUR)
            known[n] = frechet_distance(network(images), reference)
        random = torch.Generator().manual_seed(config.seed)
        drawn, _ = shared(processes, n, None, lambda m, _: sampling.sample(gan, m, generator=random))
        return {"distance": frechet_distance(network(drawn), reference), "blurred_distance": known[n]}

    yardstick = f"features {version.FEATURES}"
    return Adversarial(cast("Any", model), config, fabric, distance, yardstick, processes)


def shared(
    processes: Processes, n: int, labels: Tensor | None, draw: Callable[[int, Tensor | None], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """``n`` images and their ``labels``, of which each process draws its share by ``draw(m, labels)``.

    Those of one process draw all; a process that draws fewer than it was asked for leaves out its last.
    """
    start, stop = processes.slice(n)
    mine = None if labels is None else labels[start:stop]
    with leaving_out(start):
        images = draw(stop - start, mine)
    return processes.gathered(images), None if mine is None else processes.gathered(mine[: len(images)])


def train_run(
    run: Run,
    model: Model,
    began: float,
    *,
    resume: bool,
    quiet: bool | None,
    begun: Callable[[], None] = lambda: None,
    processes: Processes = ALONE,
) -> Run:
    """Train ``model``, as the configuration of ``run`` says, and write the report.

    Args:
        run: Its folder holds the configuration; and the state to go on from, where it is a ``resume``.
        model: As it was built.
        began: When the time budget began, by ``time.perf_counter``.
        resume: Whether to go on from a state.
        quiet: No progress.
        begun: Called when nothing can be refused any more.
        processes: Which train it together; the first writes.

    Raises:
        LimnerError: The state cannot be gone on from, or training diverged.
    """
    config, data = run.config.recipe.training, run.data()
    fabric = fabric_of(config.precision)
    weights = processes.tensors(model.state_dict())
    if not processes.first:
        model.load_state_dict(weights)
    objective = _objective(run, model.to(fabric.device), fabric, processes, quiet)
    samples = run.folder / "samples"
    if processes.first:
        samples.mkdir(exist_ok=True)
        sweep(samples)
    compare_with_held_out = cache(lambda: latent.compare_with_held_out(data))  # only where there is a doctor, and once
    n, bound = config.sample_images, model.bound if isinstance(model, Scores) else None
    allowed = evaluation_seconds(config.minutes * 60)

    def evaluated(step: int, averaged: Model) -> None:
        if n and isinstance(averaged, Samples):
            labels, _ = sampling.class_rows(averaged, n)
            count, generator = n if labels is None else len(labels), torch.Generator().manual_seed(config.seed)
            draw_in_time = partial(sampling.sample_in, allowed, averaged, generator=generator)
            images, classes = shared(processes, count, labels, lambda m, y: draw_in_time(m, labels=y))
            if len(images) and processes.first:
                sheet = draw.class_sheet(images.cpu(), classes, data.label_names)
                draw.save_png(sheet, samples / f"{step:06d}.png")
        if objective.doctor and isinstance(averaged, Samples) and (compare := compare_with_held_out()):
            generator = torch.Generator().manual_seed(config.seed)
            draw_in_time = partial(sampling.sample_in, allowed, averaged, generator=generator)
            drawn, _ = shared(processes, 200, None, lambda m, _: draw_in_time(m))
            if len(drawn):
                objective.doctor.compare(compare(drawn.cpu()))

    with display.training(run.name, model.dimensions, bound, quiet, model.loss_note, samples) as show:
        hooks = Hooks(begun, show, evaluated)
        train, validation = data.split("train"), data.splits["validation"]
        run.outcome = run_loop(objective, train, validation, run.folder, resume=resume, hooks=hooks, began=began)
    if not processes.first:
        return run
    run.__dict__.pop("model", None)  # the best weights may be new
    say_which_are_kept(run, run.outcome, quiet)
    if not run.outcome.interrupted:
        run.report(allowed)
    return run
