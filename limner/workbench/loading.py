"""Where images come from."""

from __future__ import annotations

import os

from limner import display
from limner.config.run_config import Source
from limner.data import ImageSet, from_arrays, load
from limner.data.options import FitMode, Longest

__all__ = ["load_data"]


def load_data(
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    fit: FitMode = "crop",
    levels: int | None = None,
    longest: Longest | None = None,
    quiet: bool | None = None,
) -> ImageSet:
    """Load a SOURCE, with progress, see ``limner.data.load``; or make a set of images, see ``limner.from_arrays``.

    Args:
        source: A name, a file or a folder; or ``Images``: arrays, tensors, lists, a ``Dataset``, a pair
            ``(images, labels)``. A set that is loaded already is given back as it is.
        size: ``(H, W)`` of every image.
        fit: How images get that size: crop, pad, stretch.
        levels: Values of a pixel; by default as found.
        longest: Asked for the longest side where no ``size`` is given and the images are longer than 64 pixels.
        quiet: No progress; by default it shows where a person watches, in a terminal or a notebook.

    Raises:
        LimnerError: They cannot be read; see there.
    """
    if isinstance(source, ImageSet):
        return source
    with display.stages(quiet) as progress:
        if isinstance(source, str | os.PathLike):
            return load(source, size=size, fit=fit, levels=levels, on_progress=progress, longest=longest)
        return from_arrays(source, size=size, fit=fit, levels=levels, on_progress=progress, longest=longest)
