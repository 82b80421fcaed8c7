"""Where images come from, and where models are: what runs and trainings share."""

from __future__ import annotations

import os

import torch

from limner import display
from limner.config.run_config import Source
from limner.data import ImageSet, from_arrays, load
from limner.data.options import FitMode

__all__ = ["device", "load_data"]


def device() -> torch.device:
    """Where a run's model is: on the GPU if there is one.

    float32 means float32 there, too: cuDNN's convolutions would else be of 10 bits (TF32), and a likelihood depend on
    how many images are measured together. Where fewer bits are faster in training, ``precision=auto`` finds bf16. And
    its gradients are summed in the same order each time, so that a resumed run ends as one that was never stopped.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_data(
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    quiet: bool | None = None,
) -> ImageSet:
    """Load a SOURCE, with progress, see ``limner.data.load``; or make a set of images, see ``limner.from_arrays``.

    Args:
        source: A name, a file or a folder; or ``Images``: arrays, tensors, lists, a ``Dataset``, a pair
            ``(images, labels)``. A set that is loaded already is given back as it is.
        size: ``(H, W)`` of every image.
        fit: How images get that size: crop, pad, stretch.
        levels: Values of a pixel; by default as found.
        quiet: No progress; by default it shows where a person watches, in a terminal or a notebook.

    Raises:
        LimnerError: They cannot be read; see there.
    """
    if isinstance(source, ImageSet):
        return source
    with display.stages(quiet) as progress:
        if isinstance(source, str | os.PathLike):
            return load(source, size=size, fit=fit, levels=levels, on_progress=progress)
        return from_arrays(source, size=size, fit=fit, levels=levels, on_progress=progress)
