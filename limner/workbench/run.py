"""A run and what can be asked of it."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from limner import display, sampling
from limner.config.run_config import RunConfig, Source, read_run_config, source_of
from limner.data import ImageSet, OneImage
from limner.devices import device
from limner.errors import LimnerError, command
from limner.evaluation import EvaluationOptions
from limner.files import can_write
from limner.models import Model, Samples, families, with_article
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import describe_images
from limner.reports.card import describe, describe_progress, run_card
from limner.reports.pages import write_run_pages
from limner.reports.run_view import RunView
from limner.runs import EVALUATIONS, find_run, record_evaluation
from limner.training.checkpoints import MODEL, load_model, read_header
from limner.training.loop import Outcome
from limner.training.memory import check_fits
from limner.workbench.classes import ClassLabel
from limner.workbench.inputs import Mask, image_of, missing_part
from limner.workbench.loading import load_data
from limner.workbench.measuring import FEATURES, measured
from limner.workbench.trained import TrainedModel

__all__ = ["Run", "open_run"]


class Run(TrainedModel):
    """A run folder with a trained model in it.

    What it says of images (``log_prob``, ``encode``, ``decode``, ``reconstruct``, ``interpolate``) is in
    ``TrainedModel``; here is what it draws, measures and keeps.

    Attributes:
        folder: ``runs/NAME``.
        config: Its configuration.
        outcome: How training ended, where it ended in this process.
        step: At which the weights of ``model`` were kept, once it is loaded.
    """

    def __init__(self, folder: Path, config: RunConfig, data: ImageSet | None = None) -> None:
        self.folder, self.config, self._data = folder, config, data
        self.outcome: Outcome | None = None
        self.step = 0

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def model(self) -> Model:
        """The model with its best weights (moving average), ready to use.

        Raises:
            LimnerError: No weights were saved yet, or they do not fit.
        """
        if not (self.folder / MODEL).is_file():
            raise LimnerError(
                f"run {self.name!r} has no weights yet: it ended before its first evaluation; "
                f"go on with `{command('resume', self.name)}`"
            )
        read_header(self.folder / MODEL)  # a damaged file is said first
        check_fits(self.config.build, self.folder / MODEL)
        model = self.config.build()
        self.step = int(load_model(self.folder, model).get("step", 0))
        return model.to(device()).requires_grad_(False).eval()

    def data(self, images: Source | None = None, *, quiet: bool | None = None) -> ImageSet:
        """The images of the run, read as they were for training.

        Those that were handed over in Python, and not read from a source, are given again as ``images``.

        Raises:
            LimnerError: They cannot be read, have changed, or have to be given.
        """
        if self._data is None or images is not None:
            with display.stages(quiet) as progress:
                self._data = self.config.data.load(images, progress)
        return self._data

    def __repr__(self) -> str:
        return f"Run({self.name!r}: {describe(self.config)}, {describe_progress(self.folder)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the latest samples, and the figures that there are."""
        return run_card(self.name, self.folder, self.config)

    def sample(
        self,
        n: int = 64,
        *,
        label: ClassLabel | torch.Tensor | None = None,
        seed: int = 0,
        means: bool = False,
        on_row: sampling.OnRow | None = None,
        quiet: bool | None = None,
    ) -> torch.Tensor:
        """``n`` new images, uint8 ``(n, C, H, W)``; the same for the same seed.

        Of a conditional model they are of class ``label``, a name or a number (or int64 ``(n,)``, one each); by
        default each one's class is drawn, all alike probable. With ``means``, of a VAE, the mean of the p(x|z) that
        each is drawn from: smoother, and no sample of the model. ``on_row`` is called after each finished row of an
        autoregressive model with its index and the batch of images so far; what it raises ends the drawing.

        Raises:
            LimnerError: The model does not sample, has no such class or no such means, or ``n`` is not positive.
        """
        if n < 1:
            raise LimnerError(f"the number of samples must be 1 or more, not {n}")
        if not isinstance(self.model, Samples):
            raise LimnerError(f"{with_article(self.config.model)} does not draw samples")
        labels = label if isinstance(label, torch.Tensor) else None
        if not isinstance(label, torch.Tensor) and (y := self.class_of(label)) is not None:
            labels = torch.full((n,), y)
        generator = torch.Generator().manual_seed(seed)
        batch = 256
        with display.bar("sampling rows", quiet) as update:
            rows, total = count(1), self.model.shape[1] * -(-n // batch)

            def drawn(row: int, images: torch.Tensor) -> None:
                update(next(rows), total)
                if on_row is not None:
                    on_row(row, images)

            return sampling.sample(
                self.model,
                n,
                generator=generator,
                labels=labels,
                on_row=drawn,
                batch_size=batch,
                means=means,
            ).cpu()

    def complete(
        self,
        image: OneImage,
        mask: Mask,
        n: int = 8,
        *,
        particles: int = 512,
        gibbs: int = 0,
        label: ClassLabel | None = None,
        seed: int = 0,
        on_row: sampling.OnRow | None = None,
        quiet: bool | None = None,
    ) -> sampling.Completions:
        """``n`` draws of the missing part of an image, given the rest; see ``limner.sampling.complete``.

        Args:
            image: An image file or one of Pillow's, brought to the model's size as its data was; ``test:7``; or an
                array ``(C, H, W)`` or ``(H, W, C)``, uint8 or floats in 0..1.
            mask: The missing part: ``bottom-half`` and the like, ``box=y0,x0,y1,x1``, an image file or one of Pillow's
                (white = missing), or bool ``(H, W)``, True = missing.
            n: How many.
            particles: Of sequential Monte Carlo, where the mask is no raster suffix.
            gibbs: Passes over the missing values afterwards.
            label: The image's class by name or number, of a conditional model; by default inferred.
            seed: Of the random numbers.
            on_row: Called after each row with its index and ``n`` particles so far; what it raises ends the drawing.
            quiet: No progress; by default none unless a person watches.

        Raises:
            LimnerError: The model does not complete images, or the image or the mask does not fit it.
        """
        if not isinstance(self.model, Autoregressive):
            able = ", ".join(f.name for f in families().values() if issubclass(f.model, Autoregressive))
            raise LimnerError(
                f"{with_article(self.config.model)} cannot complete images: that takes an autoregressive model ({able})"
            )
        fit = self.config.data.fit
        pixels = image_of(image, self.model, self.data, fit)
        missing = missing_part(mask, self.model.shape[1:], fit)
        with display.stages(quiet) as progress:

            def drawn(row: int, images: torch.Tensor) -> None:
                progress("completing rows", row + 1, self.model.shape[1])
                if on_row is not None:
                    on_row(row, images)

            return sampling.complete(
                self.model,
                pixels,
                missing,
                n,
                particles=particles,
                gibbs=gibbs,
                label=self.class_of(label),
                generator=torch.Generator().manual_seed(seed),
                on_row=drawn,
                on_gibbs=lambda done, total: progress("Gibbs passes", done, total),
            )

    def evaluate(
        self,
        data: Source | None = None,
        options: EvaluationOptions | None = None,
        *,
        features: Path | None = None,
        quiet: bool | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Measure the likelihood of a split, of all its images unless ``limit`` says how many, and samples' fidelity.

        Args:
            data: Another SOURCE (loaded set, or images) than the run's own; images of the same shape and levels.
            options: What is measured.
            features: Folder of feature networks; by default ``.features`` beside the run.
            quiet: No progress; by default none unless a person watches.
            changes: Fields of ``options`` by name, as in ``run.evaluate(split="validation")``.

        Where the run folder cannot be written to, that is said on stderr, and the record is returned but not kept.

        Returns:
            ``run, model, step`` (of the weights), ``data, split``; of a likelihood ``n, nats_per_image,
            nats_standard_error, bits_per_dim, bound, seconds`` and what else applies; of samples the fields of
            ``evaluation.Fidelity``, of an autoencoder those of ``evaluation.Reconstruction``. The same is added to the
            run's ``evaluations.jsonl``.

        Raises:
            LimnerError: There is nothing to measure, the images do not fit, or there are too few of them.
        """
        chosen = replace(options or EvaluationOptions(), **changes)
        keep = self.can_record()
        other = data if data is None or isinstance(data, ImageSet) else load_data(data, quiet=quiet)
        images = self.data(quiet=quiet) if other is None else self.matching(other)
        sample, kept_in = partial(self.sample, seed=chosen.seed, quiet=quiet), features or self.folder.parent / FEATURES
        figures = measured(self.model, self.config.model, images, chosen, sample, kept_in, quiet)
        return self.record(images, chosen.split, keep=keep, **figures)

    def can_record(self) -> bool:
        """Whether measurements can be added to the run; where they cannot, that is said now, before the work."""
        if possible := can_write(self.folder / EVALUATIONS):
            return possible
        display.warn(f"{self.folder}/ cannot be written to: what is measured is shown, but not kept there")
        return False

    def record(self, images: ImageSet, split: str, *, keep: bool = True, **figures: Any) -> dict[str, Any]:
        """A measurement of the model on a split, as it is added to the run's ``evaluations.jsonl`` if ``keep``."""
        record = {"run": self.name, "model": self.config.model, "step": self.step, "data": source_of(images)}
        record["split"] = split
        if keep:
            try:
                record_evaluation(self.folder, record | figures)
            except LimnerError as error:  # a disk that is full: the work is done, and not lost with it
                display.warn(f"{error}: what was measured is shown, but not kept there")
        return record | figures

    def report(self, seconds: float = math.inf) -> Path:
        """Write ``report.html`` and the model card ``README.md`` anew; gives the report's path.

        Each thing that the model draws or reads for it may take about ``seconds``.
        """
        return write_run_pages(replace(self.view(), seconds=seconds))

    def view(self) -> RunView:
        """The run as the pages show it."""
        return RunView(self.name, self.folder, self.config, self.model, self.data())

    def matching(self, images: ImageSet) -> ImageSet:
        """``images``, which are of the shape and the levels of those it was trained on.

        Raises:
            LimnerError: They are not.
        """
        ours = self.config.data
        if (images.shape, images.levels) != (tuple(ours.shape), ours.levels):
            raise LimnerError(
                f"run {self.name!r} was trained on images of {describe_images(ours.shape)}, {ours.levels} levels; "
                f"{images.source} has {describe_images(images.shape)}, {images.levels} levels: give images like its own"
            )
        return images


def open_run(run: str | os.PathLike[str], data: Source | None = None) -> Run:
    """A trained run by name or folder; with its images, where they were handed over in Python and are needed.

    Raises:
        LimnerError: There is no such run, its files are damaged, or the images are not those it was trained on.
    """
    folder = find_run(run)
    opened = Run(folder, read_run_config(folder))
    if data is not None:
        opened.data(data)
    return opened
