"""The words of `limner latent`: what is walked between, changed, encoded, added up, looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from limner import display, sampling
from limner.data import OneImage
from limner.errors import LimnerError, option
from limner.evaluation import Codes
from limner.models import Latents, Reconstructs, with_article
from limner.workbench.classes import ClassLabel
from limner.workbench.encoding import (
    Mapped,
    Reconstructions,
    held_out_codes,
    latent_map,
    reconstruct,
)
from limner.workbench.neighbours import Neighbours, compare_with_held_out, known, neighbours
from limner.workbench.run import Run

__all__ = [
    "Mapped",
    "Neighbours",
    "Reconstructions",
    "Spread",
    "Traversal",
    "analogy",
    "compare_with_held_out",
    "interpolate",
    "latent_map",
    "latent_spread",
    "manifold",
    "neighbours",
    "reconstruct",
    "traversal",
]

REACH = 3.0  # standard deviations that a traversal goes each way
DRAWN = 2000  # latents of the prior by which its spread is known


def interpolate(
    run: Run,
    ends: Sequence[OneImage] = (),
    *,
    rows: int = 8,
    steps: int = 10,
    label: ClassLabel | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Walks between two latents, uint8 ``(rows · steps, C, H, W)``, a walk a row; see ``limner.sampling.interpolate``.

    Args:
        run: Whose model decodes latents.
        ends: Two images (a file, ``test:7``, uint8 ``(C, H, W)``) to walk between, one row; of a model that encodes.
            By default each row goes between two latents of the prior, where there is one.
        rows: How many, where the ends are drawn.
        steps: Images in a row, ends included.
        label: The class, of a conditional model; by default row i shows class i.
        seed: Of the drawn ends.

    Raises:
        LimnerError: The model has no latents, or cannot encode the ends.
    """
    model, y = run.decoder(), run.class_of(label)
    if ends:
        if len(ends) != 2:
            raise LimnerError(f"interpolate goes between 2 images, not {len(ends)}: give two, or none to draw both")
        return run.interpolate(ends[0], ends[1], steps=steps, label=y)
    if not isinstance(model, Latents):
        raise LimnerError(
            f"{with_article(run.config.model)} has no prior to draw from: name two images, as in test:0 test:1"
        )
    z = model.latents(2 * rows, generator=torch.Generator().manual_seed(seed)).view(rows, 2, -1)
    classes = run.model.classes
    walks = [
        sampling.interpolate(model, z[i, 0], z[i, 1], steps, i % classes if y is None and classes else y)
        for i in range(rows)
    ]
    return torch.cat(walks)


@dataclass(frozen=True)
class Traversal:
    """One latent after the other changed, the others held.

    Attributes:
        images: uint8 ``(M · steps, C, H, W)``, a latent a row.
        dimensions: Which latents, int64 ``(M,)``: of a model that encodes the most active first.
        activity: Variance over held-out images of the mean of each, ``(M,)``; None without an encoder.
        codes: Of those images; None without an encoder.
    """

    images: torch.Tensor
    dimensions: torch.Tensor
    activity: torch.Tensor | None
    codes: Codes | None


@dataclass(frozen=True)
class Spread:
    """Where the latents of a model lie.

    Attributes:
        start: A latent of the prior, or the mean code where there is none, ``(D,)``.
        mean: Of each latent, ``(D,)``: the prior's, or that of the codes of held-out images where there is no prior.
        deviation: Likewise.
        codes: Of held-out images; None without an encoder.
        split: Of which images.
    """

    start: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    codes: Codes | None
    split: str | None

    @property
    def activity(self) -> torch.Tensor | None:
        """How much each latent carries: the variance of its mean over the held-out images, ``(D,)``."""
        return None if self.codes is None else self.codes.codes.var(0)

    @property
    def order(self) -> torch.Tensor:
        """The latents, int64 ``(D,)``: of a model that encodes the most active first."""
        if self.activity is None:
            return torch.arange(len(self.start))
        return self.activity.argsort(descending=True, stable=True)


def latent_spread(run: Run, seed: int = 0, *, quiet: bool | None = None) -> Spread:
    """Mean and deviation of each latent, and how much it carries; see ``Spread``. ``seed`` is that of drawn latents.

    Raises:
        LimnerError: The model has no latents, or its data cannot be read.
    """
    model = run.decoder()
    split, held = held_out_codes(run, quiet=quiet) if isinstance(model, Reconstructs) else (None, None)
    if isinstance(model, Latents):
        drawn = model.latents(DRAWN, generator=torch.Generator().manual_seed(seed)).cpu()
        start = drawn[0]
    elif held is not None:
        drawn, start = held.codes, held.codes.mean(0)
    deviation, mean = torch.std_mean(drawn, 0)
    return Spread(start, mean, deviation, held, split)


def traversal(
    run: Run,
    image: OneImage | None = None,
    *,
    most: int = 64,
    steps: int = 10,
    label: ClassLabel | None = None,
    seed: int = 0,
    quiet: bool | None = None,
) -> Traversal:
    """Each latent from three standard deviations below its mean to three above, the others held.

    Mean and deviation are the prior's; those of the codes of held-out images where there is no prior.

    Args:
        run: Whose model decodes latents.
        image: Whose code is held (a file, ``test:7``, uint8 ``(C, H, W)``); by default a latent of the prior, or the
            mean code where there is none.
        most: Latents at most.
        steps: Images of each.
        label: The class, of a conditional model; by default that of the image, or 0.
        seed: Of the drawn latents.
        quiet: No progress; by default none unless a person watches.

    Raises:
        LimnerError: The model has no latents, or cannot encode the image; there are fewer than two steps.
    """
    model, y = run.decoder(), run.class_of(label)
    if steps < 2:
        raise LimnerError(f"a traversal has 2 steps or more, not {steps}")
    spread = latent_spread(run, seed, quiet=quiet)
    base, activity = spread.start, spread.activity
    if image is not None:
        _, (base,), labels = run.encoded([image], y)
        y = None if labels is None else int(labels[0])
    elif y is None and run.model.classes:
        y = 0
    chosen = spread.order[:most]
    values = spread.mean[chosen, None] + spread.deviation[chosen, None] * torch.linspace(-REACH, REACH, steps)
    images = sampling.traversal(model, base, values, chosen, y)
    return Traversal(images, chosen, None if activity is None else activity[chosen], spread.codes)


def manifold(run: Run, side: int = 20, *, label: ClassLabel | None = None) -> torch.Tensor:
    """The plane of a two-dimensional latent space, uint8 ``(side², C, H, W)``; see ``limner.sampling.manifold``.

    A conditional model has a plane for each class, of which ``label`` chooses one.

    Raises:
        LimnerError: The model has no prior, or not two dimensions; it has classes and none is chosen.
    """
    model = run.decoder()
    if not isinstance(model, Latents):
        raise LimnerError(
            f"{with_article(run.config.model)} has no prior, so no cells of equal mass; its codes: limner latent "
            f"{run.name} map"
        )
    y = run.class_of(label)
    if run.model.classes and y is None:
        raise LimnerError(
            f"run {run.name!r} has a plane for each of its {run.model.classes} classes: choose with {option('label')}"
        )
    return sampling.manifold(model, side, y)


def analogy(
    run: Run, a: str, b: str, c: str, *, n: int = 8, seed: int = 0, quiet: bool | None = None
) -> sampling.Analogy:
    """Averaged latents a - b + c of three classes, by name or number from 0; see ``limner.sampling.analogy``.

    ``n`` single latents of ``c`` are shown with a - b added. A model without encoder draws its latents by ``seed``.

    Raises:
        LimnerError: The model has no latents, or has classes of its own; the data has no labels, or no such class.
    """
    model = run.decoder()
    if run.model.classes:
        raise LimnerError(
            f"arithmetic between classes needs a model whose latents alone decide the image; run {run.name!r} is given "
            f"the class beside them: use a run trained without {option('conditional', True)}"
        )
    data = run.data(quiet=quiet)
    split = data.split("train")
    if split.labels is None:
        raise LimnerError(f"{data.source} has no labels to average latents by; sub-folders or a labels array make them")
    names = list(data.label_names)
    classes = [names.index(word) if word in names else int(word) if word.isdecimal() else -1 for word in (a, b, c)]
    for word, k in zip((a, b, c), classes, strict=True):
        if not 0 <= k < len(names):
            shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
            raise LimnerError(f"class {word!r}: choose one of {shown}")
    images = known(split)
    with display.stages(quiet) as progress:
        progress("latents of the classes", 0, 1)
        latents = sampling.labelled_latents(
            model, images, split.labels[: len(images)], generator=torch.Generator().manual_seed(seed)
        )
        return sampling.analogy(model, latents, (classes[0], classes[1], classes[2]), n)
