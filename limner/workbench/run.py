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
from limner.config.run_config import DataConfig, RunConfig, read_run_config
from limner.data import ImageSet, load
from limner.data.options import FitMode
from limner.errors import LimnerError
from limner.evaluation import EvaluationOptions
from limner.files import can_write
from limner.models import Model, Reconstructs, Samples, Scores, families, with_article
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import describe_shape
from limner.reports.pages import write_run_pages
from limner.reports.run_view import RunView
from limner.runs import EVALUATIONS, find_run, record_evaluation
from limner.training.checkpoints import MODEL, load_model
from limner.training.loop import Outcome
from limner.workbench.inputs import image_of, missing_part
from limner.workbench.measuring import FEATURES, measured

__all__ = ["Run", "device", "load_data", "open_run"]


def device() -> torch.device:
    """Where a run's model is: on the GPU if there is one.

    float32 means float32 there, too: cuDNN's convolutions would else be of 10 bits (TF32), and a likelihood depend on
    how many images are measured together. Where fewer bits are faster in training, ``precision=auto`` finds bf16. And
    its gradients are summed in the same order each time, so that a resumed run ends as one that was never stopped.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Run:
    """A run folder with a trained model in it.

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
                f"go on with `limner resume {self.name}`"
            )
        model = self.config.build()
        self.step = int(load_model(self.folder, model).get("step", 0))
        return model.to(device()).requires_grad_(False).eval()

    def data(self, *, quiet: bool = True) -> ImageSet:
        """The images of the run, read as they were for training.

        Raises:
            LimnerError: They cannot be read, or have changed.
        """
        if self._data is None:
            with display.stages(quiet) as progress:
                self._data = self.config.data.load(progress)
        return self._data

    def sample(self, n: int = 64, *, label: int | None = None, seed: int = 0, quiet: bool = True) -> torch.Tensor:
        """``n`` new images, uint8 ``(n, C, H, W)``; the same for the same seed.

        Of a conditional model they are of class ``label``; by default each one's class is drawn, all alike probable.

        Raises:
            LimnerError: The model does not sample, has no such class, or ``n`` is not positive.
        """
        if n < 1:
            raise LimnerError(f"the number of samples must be 1 or more, not {n}")
        if not isinstance(self.model, Samples):
            raise LimnerError(f"{with_article(self.config.model)} does not draw samples")
        self.check_label(label)
        labels = None if label is None else torch.full((n,), label)
        generator = torch.Generator().manual_seed(seed)
        batch = 256
        with display.bar("sampling rows", quiet) as update:
            rows, total = count(1), self.model.shape[1] * -(-n // batch)
            return sampling.sample(
                self.model,
                n,
                generator=generator,
                labels=labels,
                on_row=lambda row, images: update(next(rows), total),
                batch_size=batch,
            ).cpu()

    def check_label(self, label: int | None) -> None:
        """Refuse a ``label`` that is given and no class of the model."""
        if label is not None and not 0 <= label < self.model.classes:
            known = f"0 to {k - 1}" if (k := self.model.classes) else "none: it was trained without --conditional"
            raise LimnerError(f"label {label}: the classes of run {self.name!r} are {known}")

    def complete(
        self,
        image: str | os.PathLike[str] | torch.Tensor,
        mask: str | os.PathLike[str] | torch.Tensor,
        n: int = 8,
        *,
        particles: int = 512,
        gibbs: int = 0,
        label: int | None = None,
        seed: int = 0,
        quiet: bool = True,
    ) -> sampling.Completions:
        """``n`` draws of the missing part of an image, given the rest; see ``limner.sampling.complete``.

        Args:
            image: An image file, ``test:7`` of the run's data, or uint8 ``(C, H, W)``.
            mask: The missing part: ``bottom-half`` and the like, ``box=y0,x0,y1,x1``, an image file (white = missing),
                or bool ``(H, W)``, True = missing.
            n: How many.
            particles: Of sequential Monte Carlo, where the mask is no raster suffix.
            gibbs: Passes over the missing values afterwards.
            label: The image's class, of a conditional model; by default inferred.
            seed: Of the random numbers.
            quiet: No progress.

        Raises:
            LimnerError: The model does not complete images, or the image or the mask does not fit it.
        """
        if not isinstance(self.model, Autoregressive):
            able = ", ".join(f.name for f in families().values() if issubclass(f.model, Autoregressive))
            raise LimnerError(
                f"{with_article(self.config.model)} has no p(missing | given) row by row to complete with: {able} do"
            )
        image = image if isinstance(image, torch.Tensor) else image_of(image, self.model, self.data)
        missing = mask if isinstance(mask, torch.Tensor) else missing_part(mask, self.model.shape[1:])
        with display.stages(quiet) as progress:
            return sampling.complete(
                self.model,
                image,
                missing,
                n,
                particles=particles,
                gibbs=gibbs,
                label=label,
                generator=torch.Generator().manual_seed(seed),
                on_row=lambda row, images: progress("completing rows", row + 1, self.model.shape[1]),
                on_gibbs=lambda done, total: progress("Gibbs passes", done, total),
            )

    def log_prob(self, images: torch.Tensor) -> torch.Tensor:
        """ln p(x) of uint8 images ``(B, C, H, W)``, nats ``(B,)``: exact or a lower bound, see ``model.bound``.

        Raises:
            LimnerError: The model has no likelihood, or the images are not like those it was trained on.
        """
        if not isinstance(self.model, Scores):
            raise LimnerError(f"{with_article(self.config.model)} has no likelihood, nor a bound of one")
        with torch.no_grad():
            return self.model.log_prob(images, generator=torch.Generator(self.model.device).manual_seed(0)).cpu()

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Images encoded and decoded, uint8 ``(B, C, H, W)``.

        Raises:
            LimnerError: The model has no encoder, or the images do not fit.
        """
        if not isinstance(self.model, Reconstructs):
            raise LimnerError(f"{with_article(self.config.model)} has no encoder")
        return self.model.reconstruct(images).cpu()

    def evaluate(
        self,
        data: str | os.PathLike[str] | ImageSet | None = None,
        options: EvaluationOptions | None = None,
        *,
        features: Path | None = None,
        quiet: bool = True,
        **changes: Any,
    ) -> dict[str, Any]:
        """Measure the likelihood of a split, of all its images unless ``limit`` says how many, and samples' fidelity.

        Args:
            data: Another SOURCE (or loaded set) than the run's own; images of the same shape and levels.
            options: What is measured.
            features: Folder of feature networks; by default ``.features`` beside the run.
            quiet: No progress.
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
        source = DataConfig.of(images, "crop").source
        record = {"run": self.name, "model": self.config.model, "step": self.step, "data": source, "split": split}
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
                f"run {self.name!r} was trained on images of {describe_shape(ours.shape)} with {ours.levels} levels; "
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


def open_run(run: str | os.PathLike[str]) -> Run:
    """A trained run by name or folder.

    Raises:
        LimnerError: There is no such run, or its files are damaged.
    """
    folder = find_run(run)
    return Run(folder, read_run_config(folder))
