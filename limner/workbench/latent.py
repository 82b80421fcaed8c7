"""The words of `limner latent`: what is walked between, added up, looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from limner import display, sampling
from limner.data import ImageSet, Split
from limner.data.neighbours import nearest
from limner.errors import LimnerError
from limner.models import Latents, Reconstructs
from limner.training.doctor import Nearness, memorisation, nearness
from limner.workbench.completing import picture_of

if TYPE_CHECKING:
    from limner.workbench.run import Run

__all__ = ["Neighbours", "analogy", "beside_unseen", "interpolate", "manifold", "neighbours"]

MOST = 60_000  # training pictures that are searched or encoded,
VALUES = 100_000_000  # or as many as have so many values
UNSEEN = 1000  # held-out pictures to compare with


def interpolate(
    run: Run,
    ends: Sequence[str | os.PathLike[str] | torch.Tensor] = (),
    *,
    rows: int = 8,
    steps: int = 10,
    label: int | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Spherical walks between two latents, uint8 ``(rows · steps, C, H, W)``, a walk a row.

    Args:
        run: Whose model decodes latents.
        ends: Two pictures (a file, ``test:7``, uint8 ``(C, H, W)``) to walk between, one row; of a model that encodes.
            By default each row goes between two latents of the prior.
        rows: How many, where the ends are drawn.
        steps: Pictures in a row, ends included.
        label: The class, of a conditional model; by default row i shows class i.
        seed: Of the drawn ends.

    Raises:
        LimnerError: The model has no latents, or cannot encode the ends.
    """
    model = _decoder(run)
    if ends:
        if not isinstance(model, Reconstructs):
            raise LimnerError(f"a {run.config.model} has no encoder to find a picture's latent: leave the pictures out")
        if len(ends) != 2:
            raise LimnerError(f"interpolate goes between 2 pictures, not {len(ends)}: give two, or none to draw both")
        pair = [end if isinstance(end, torch.Tensor) else picture_of(run, end) for end in ends]
        a, b = model.encode(torch.stack(pair))
        return sampling.interpolate(model, a, b, steps).cpu()
    run.check_label(label)
    z = model.latents(2 * rows, generator=torch.Generator().manual_seed(seed)).view(rows, 2, -1)
    classes = run.model.classes
    walks = [
        sampling.interpolate(model, z[i, 0], z[i, 1], steps, i % classes if label is None and classes else label)
        for i in range(rows)
    ]
    return torch.cat(walks).cpu()


def manifold(run: Run, side: int = 20) -> torch.Tensor:
    """The plane of a two-dimensional latent space, uint8 ``(side², C, H, W)``; see ``limner.sampling.manifold``.

    Raises:
        LimnerError: The model has no latents, or not two dimensions of them, or has classes.
    """
    model = _decoder(run)
    _without_classes(run, "a plane")
    return sampling.manifold(model, side).cpu()


def analogy(run: Run, a: str, b: str, c: str, *, n: int = 8, seed: int = 0, quiet: bool = True) -> sampling.Analogy:
    """Averaged latents a - b + c of three classes; see ``limner.sampling.analogy``.

    Args:
        run: Whose model decodes latents.
        a: Name of a class, or its number from 0.
        b: Likewise, taken away.
        c: Likewise, added.
        n: Single latents of ``c`` to show with a - b added.
        seed: Of the latents that a model without encoder draws.
        quiet: No progress.

    Raises:
        LimnerError: The model has no latents, or has classes of its own; the data has no labels, or no such class.
    """
    model = _decoder(run)
    _without_classes(run, "arithmetic between classes")
    data = run.data(quiet=quiet)
    split = data.split("train")
    if split.labels is None:
        raise LimnerError(f"{data.source} has no labels to average latents by; sub-folders or a labels array make them")
    known = list(data.label_names)
    classes = [known.index(word) if word in known else int(word) if word.isdecimal() else -1 for word in (a, b, c)]
    for word, k in zip((a, b, c), classes, strict=True):
        if not 0 <= k < len(known):
            shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
            raise LimnerError(f"class {word!r}: choose one of {shown}")
    images = _known(split)
    with display.stages(quiet) as progress:
        progress("latents of the classes", 0, 1)
        latents = sampling.labelled_latents(
            model, images, split.labels[: len(images)], generator=torch.Generator().manual_seed(seed)
        )
        return sampling.analogy(model, latents, (classes[0], classes[1], classes[2]), n)


@dataclass(frozen=True)
class Neighbours:
    """Samples and the training pictures that are most like them.

    Attributes:
        samples: uint8 ``(n, C, H, W)``, the one that is nearest to its neighbour first.
        nearest: uint8 ``(n, k, C, H, W)``, nearest first.
        positions: Of the neighbours in the training split, int64 ``(n, k)``.
        distances: L2 of the pixels in [0, 1], or of the features, ``(n, k)``.
        nearness: Of the pixels, beside held-out pictures; None where there are none.
        searched: Training pictures that were looked at.
    """

    samples: torch.Tensor
    nearest: torch.Tensor
    positions: torch.Tensor
    distances: torch.Tensor
    nearness: Nearness | None
    searched: int

    @property
    def memorised(self) -> str | None:
        """What shows that the model gives training pictures back, if anything does."""
        found = memorisation(self.nearness) if self.nearness else None
        return found.observed if found else None


def neighbours(
    run: Run,
    n: int = 10,
    k: int = 3,
    *,
    features: torch.nn.Module | None = None,
    label: int | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> Neighbours:
    """The training pictures nearest to samples of any model that draws.

    Args:
        run: Whose model draws.
        n: Samples to show; 200 at least are measured.
        k: Neighbours of each.
        features: Maps uint8 pictures ``(B, C, H, W)`` to ``(B, D)``, in which neighbours are looked for; else pixels.
        label: Class of the samples, of a conditional model.
        seed: Of the samples.
        quiet: No progress.

    Raises:
        LimnerError: The model does not draw, or there are not ``k`` pictures.
    """
    drawn = run.sample(max(n, 200), label=label, seed=seed, quiet=quiet)
    data = run.data(quiet=quiet)
    pool = _known(data.split("train"))
    if features is None:
        distances, positions = nearest(drawn, pool, k)
    else:
        with torch.no_grad():
            a, b = (torch.cat([features(part) for part in images.split(500)]) for images in (drawn, pool))
        distances, positions = nearest(a, b, k)
    compare = beside_unseen(data)
    first = distances[:, 0].argsort()[:n]
    near = positions[first]
    return Neighbours(
        drawn[first],
        pool[near.flatten()].view(*near.shape, *pool.shape[1:]),
        near,
        distances[first],
        compare(drawn) if compare else None,
        len(pool),
    )


def beside_unseen(data: ImageSet) -> Callable[[torch.Tensor], Nearness] | None:
    """A function that says how near samples uint8 ``(N, C, H, W)`` are to training pictures, beside unseen pictures.

    None where all pictures were trained on.
    """
    unseen = next((s.first(UNSEEN) for s in (data.splits["test"], data.splits["validation"]) if len(s)), None)
    if unseen is None:
        return None
    pool = _known(data.split("train"))
    usual = nearest(unseen, pool)[0][:, 0]
    return lambda samples: nearness(nearest(samples, pool)[0][:, 0], usual)


def _known(split: Split) -> torch.Tensor:
    """The pictures of a split, so many at most that they can be searched in memory."""
    c, h, w = split.store.shape
    return split.first(min(MOST, max(1, VALUES // (c * h * w))))


def _decoder(run: Run) -> Latents:
    model = run.model
    if not isinstance(model, Latents):
        raise LimnerError(f"a {run.config.model} has no latents to decode: a vae or a gan has")
    return model


def _without_classes(run: Run, what: str) -> None:
    if run.model.classes:
        raise LimnerError(
            f"{what} needs a model whose latents alone decide the picture; run {run.name!r} is given the class beside "
            "them: use a run trained without --conditional"
        )
