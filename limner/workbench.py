"""The library's face: train, resume, load, sample, evaluate. The command line and the studio call nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from limner import display, pages, pictures, sampling
from limner.configuration import DataConfig, RunConfig, read_run_config
from limner.data import Batches, ImageSet, load
from limner.data.options import FitMode
from limner.errors import LimnerError
from limner.evaluation import Likelihood, measure_likelihood
from limner.models import VAE, Model, Reconstructs, Samples, Scores, family
from limner.models.contracts import describe_shape
from limner.recipes import Recipe, default_recipe
from limner.runs import find_run, new_run, record_evaluation, runs_folder
from limner.settings import with_settings
from limner.training.checkpoints import MODEL, STATE, load_model
from limner.training.loop import Hooks, Outcome
from limner.training.loop import train as run_loop
from limner.training.objectives import SingleLoss
from limner.training.precision import FABRIC_PRECISION, choose_precision

__all__ = ["Run", "compare", "load_data", "open_run", "resume", "train"]


class Run:
    """A run folder with a trained model in it.

    Attributes:
        folder: ``runs/NAME``.
        config: Its configuration.
        outcome: How training ended, where it ended in this process.
    """

    def __init__(self, folder: Path, config: RunConfig, data: ImageSet | None = None) -> None:
        self.folder, self.config, self._data = folder, config, data
        self.outcome: Outcome | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def model(self) -> Model:
        """The model with its best weights (moving average), ready to use.

        Raises:
            LimnerError: No weights were saved yet, or they do not fit.
        """
        if not (self.folder / MODEL).is_file():
            raise LimnerError(
                f"run {self.name!r} has no weights yet: it ended before its first evaluation; "
                f"go on with `limner resume {self.name}`"
            )
        model = self.config.build()
        load_model(self.folder, model)
        return model.to(_device()).requires_grad_(False).eval()

    def data(self, *, quiet: bool = True) -> ImageSet:
        """The pictures of the run, read as they were for training.

        Raises:
            LimnerError: They cannot be read, or have changed.
        """
        if self._data is None:
            with display.stages(quiet) as progress:
                self._data = self.config.data.load(progress)
        return self._data

    def sample(self, n: int = 64, *, seed: int = 0, quiet: bool = True) -> torch.Tensor:
        """``n`` new pictures, uint8 ``(n, C, H, W)``; the same for the same seed.

        Raises:
            LimnerError: The model does not sample, or ``n`` is not positive.
        """
        if n < 1:
            raise LimnerError(f"the number of samples must be 1 or more, not {n}")
        if not isinstance(self.model, Samples):
            raise LimnerError(f"a {self.config.model} does not draw samples")
        generator = torch.Generator().manual_seed(seed)
        batch = 256
        with display.bar("sampling rows", quiet) as update:
            rows, total = 0, self.model.shape[1] * -(-n // batch)

            def on_row(row: int, images: torch.Tensor) -> None:
                nonlocal rows
                rows += 1
                update(rows, total)

            return sampling.sample(self.model, n, generator=generator, on_row=on_row, batch_size=batch).cpu()

    def log_prob(self, images: torch.Tensor) -> torch.Tensor:
        """ln p(x) of uint8 pictures ``(B, C, H, W)``, nats ``(B,)``: exact or a lower bound, see ``model.bound``.

        Raises:
            LimnerError: The model has no likelihood, or the pictures are not like those it was trained on.
        """
        if not isinstance(self.model, Scores):
            raise LimnerError(f"a {self.config.model} has no likelihood, nor a bound of one")
        with torch.no_grad():
            return self.model.log_prob(images, generator=torch.Generator(self.model.device).manual_seed(0)).cpu()

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures encoded and decoded, uint8 ``(B, C, H, W)``.

        Raises:
            LimnerError: The model has no encoder, or the pictures do not fit.
        """
        if not isinstance(self.model, Reconstructs):
            raise LimnerError(f"a {self.config.model} has no encoder")
        return self.model.decode(self.model.encode(images)).cpu()

    def evaluate(
        self,
        data: str | os.PathLike[str] | ImageSet | None = None,
        *,
        split: str = "test",
        importance_samples: int = 1,
        limit: int | None = None,
        seed: int = 0,
        quiet: bool = True,
    ) -> dict[str, Any]:
        """Measure the likelihood of a split; all its images, unless ``limit`` says how many.

        Args:
            data: Another SOURCE (or loaded set) than the run's own; pictures of the same shape and levels.
            split: ``train``, ``validation`` or ``test``.
            importance_samples: K of a VAE's bound.
            limit: Only the first so many images.
            seed: Of a bound's noise.
            quiet: No progress.

        Returns:
            ``run, model, data, split, n, nats_per_image, nats_standard_error, bits_per_dim, bound, seconds`` and what
            else applies; the same is added to the run's ``evaluations.jsonl``.

        Raises:
            LimnerError: There is no likelihood, or the pictures do not fit.
        """
        images = self._images(data, quiet)
        with display.bar(f"scoring {split}", quiet) as update:
            measured: Likelihood = measure_likelihood(
                self.model,
                images.split(split),
                importance_samples=importance_samples,
                limit=limit,
                seed=seed,
                on_progress=update,
            )
        source = DataConfig.of(images, "crop").source
        record = {"run": self.name, "model": self.config.model, "data": source, "split": split}
        record |= {k: v for k, v in asdict(measured).items() if v is not None}
        record_evaluation(self.folder, record)
        return record

    def report(self) -> Path:
        """Write ``report.html`` and the model card ``README.md`` anew; gives the report's path."""
        return pages.write_run_pages(self.portrait())

    def portrait(self) -> pages.Portrait:
        """The run as the pages show it."""
        return pages.Portrait(self.name, self.folder, self.config, self.model, self.data())

    def _images(self, data: str | os.PathLike[str] | ImageSet | None, quiet: bool) -> ImageSet:
        if data is None:
            return self.data(quiet=quiet)
        images = data if isinstance(data, ImageSet) else load_data(data, quiet=quiet)
        ours = self.config.data
        if (images.shape, images.levels) != (tuple(ours.shape), ours.levels):
            raise LimnerError(
                f"run {self.name!r} was trained on pictures of {describe_shape(ours.shape)} with {ours.levels} levels; "
                f"{images.source} has {describe_shape(images.shape)} with {images.levels}: no likelihood in common"
            )
        return images


def load_data(
    source: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    quiet: bool = True,
) -> ImageSet:
    """Load a SOURCE, with progress; see ``limner.data.load``."""
    with display.stages(quiet) as progress:
        return load(source, size=size, fit=fit, levels=levels, on_progress=progress)


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
    settings: Sequence[str] = (),
    recipe: Recipe | None = None,
    quiet: bool = True,
) -> Run:
    """Train a model in a new run folder and write its report.

    Args:
        model: ``pixelcnn`` or ``vae``.
        data: A SOURCE, or a set that ``load_data`` gave.
        name: Of the run; by default ``MODEL-DATA-N``.
        runs: Folder of runs; by default ``$LIMNER_RUNS`` or ``runs``.
        size: ``(H, W)`` of every picture.
        fit: How pictures get that size: crop, pad, stretch.
        levels: Values of a pixel; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        settings: ``key=value`` changes to the recipe.
        recipe: In place of the model's default recipe.
        quiet: No progress.

    Raises:
        LimnerError: Anything is wrong with the arguments or the data, or training diverged.
    """
    if minutes is not None and epochs is not None:
        raise LimnerError("choose --minutes or --epochs, not both")
    recipe = recipe or default_recipe(family(model).name)
    lengths = {"minutes": minutes or 0.0} | ({} if epochs is None else {"epochs": epochs})
    recipe = replace(recipe, training=replace(recipe.training, **lengths))
    recipe = with_settings(recipe, settings)
    images = data if isinstance(data, ImageSet) else load_data(data, size=size, fit=fit, levels=levels, quiet=quiet)
    for note in images.notes:
        display.console(quiet).print(f"[dim]{note}[/dim]")
    images.split("train")
    config = RunConfig(family(model).name, DataConfig.of(images, fit), recipe)
    built = config.build()
    short = Path(images.source).stem or "data"
    folder = new_run(name, f"{config.model}-{''.join(c if c.isalnum() else '-' for c in short)}", Path(runs or runs_folder()))
    first = Batches(images.split("train"), recipe.training.batch_size, recipe.training.seed).at(0).images
    precision = choose_precision(recipe.training.precision, built.to(_device()), first)
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    config = replace(config, recipe=recipe)
    config.write(folder)
    return _train(Run(folder, config, images), built, resume=False, quiet=quiet)


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
        LimnerError: There is no such run, its data changed, or it has reached its end already.
    """
    folder = find_run(run)
    config = read_run_config(folder)
    before = config.recipe
    lengths = {} if minutes is None else {"minutes": minutes}
    lengths |= {} if epochs is None else {"epochs": epochs, "minutes": 0.0}
    recipe = with_settings(replace(before, training=replace(before.training, **lengths)), settings)
    if recipe.network != before.network:
        raise LimnerError("resume cannot change the network's sizes: its weights are trained; start a new run")
    config = replace(config, recipe=recipe)
    opened = Run(folder, config)
    opened.data(quiet=quiet)
    if recipe != before:
        config.write(folder)
    return _train(opened, config.build(), resume=(folder / STATE).is_file(), quiet=quiet)


def open_run(run: str | os.PathLike[str]) -> Run:
    """A trained run by name or folder.

    Raises:
        LimnerError: There is no such run, or its files are damaged.
    """
    folder = find_run(run)
    return Run(folder, read_run_config(folder))


def compare(
    runs: Sequence[str | os.PathLike[str] | Run],
    *,
    out: str | os.PathLike[str] = "comparison.html",
    split: str = "test",
    importance_samples: int = 100,
    title: str = "limner · comparison",
    introduction: str = "",
    quiet: bool = True,
) -> tuple[Path, list[dict[str, Any]]]:
    """Measure several runs on their own data's ``split`` and put them on one page.

    Args:
        runs: Names, folders or opened runs.
        out: The page to write.
        split: Which pictures are scored.
        importance_samples: K of a VAE's bound.
        title: Of the page.
        introduction: A text above the table.
        quiet: No progress.

    Returns:
        The page's path, and a record for each run as ``Run.evaluate`` gives it (``bound`` is absent where a model
        has no likelihood).

    Raises:
        LimnerError: A run cannot be opened or measured.
    """
    if not runs:
        raise LimnerError("name at least one run to compare; `limner runs` lists them")
    rows: list[tuple[pages.Portrait, dict[str, Any] | None]] = []
    for item in runs:
        run = item if isinstance(item, Run) else open_run(item)
        k = importance_samples if isinstance(run.model, VAE) else 1
        scored = isinstance(run.model, Scores)
        record = run.evaluate(split=split, importance_samples=k, quiet=quiet) if scored else None
        rows.append((run.portrait(), record))
    path = pages.write_comparison(Path(out), rows, title=title, introduction=introduction)
    records = [r or {"run": p.name, "model": p.config.model, "data": p.config.data.source} for p, r in rows]
    return path, records


def _train(run: Run, model: Model, *, resume: bool, quiet: bool) -> Run:
    config, data = run.config.recipe.training, run.data()
    fabric = Fabric(accelerator="auto", devices=1, precision=FABRIC_PRECISION[config.precision])
    objective = SingleLoss(model.to(fabric.device), config, fabric)
    validation = data.splits["validation"] if len(data.splits["validation"]) else data.split("train")
    n, bound = config.sample_images, model.bound if isinstance(model, Scores) else None

    def evaluated(step: int, averaged: Model) -> None:
        if n and isinstance(averaged, Samples):
            images = sampling.sample(averaged, n, generator=torch.Generator().manual_seed(config.seed))
            (run.folder / "samples").mkdir(exist_ok=True)
            pictures.save_png(pictures.grid(images.cpu()), run.folder / "samples" / f"{step:06d}.png")

    with display.training(run.name, model.dimensions, bound, quiet) as show:
        hooks = Hooks(progress=show, evaluated=evaluated)
        run.outcome = run_loop(
            objective, data.split("train"), validation, config, run.folder, resume=resume, hooks=hooks
        )
    run.__dict__.pop("model", None)  # the best weights may be new
    if not run.outcome.interrupted:
        run.report()
    return run


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
