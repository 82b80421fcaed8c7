"""Samples of a run as a sheet, as files, and as they came about during training."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from PIL import Image

from limner import sampling
from limner.errors import LimnerError, option, reason_of
from limner.files import check_place, write_bytes
from limner.reports import draw
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["sample_files", "sample_sheet", "time_lapse"]


def sample_sheet(
    run: Run,
    n: int = 64,
    *,
    label: ClassLabel | None = None,
    seed: int = 0,
    means: bool = False,
    quiet: bool | None = None,
) -> Image.Image:
    """``n`` samples on one sheet; of a conditional model class by class with their names, as many of each.

    Those are ``n`` or a few more, so that the classes come out even. With ``label``, of that class alone.

    Raises:
        LimnerError: As ``Run.sample``.
    """
    labels = None if label is not None or n < 1 else sampling.class_rows(run.model, n)[0]
    if labels is None:
        return draw.grid(run.sample(n, label=label, seed=seed, means=means, quiet=quiet))
    images = run.sample(len(labels), label=labels, seed=seed, means=means, quiet=quiet)
    return draw.class_sheet(images, labels, run.label_names)


def sample_files(
    run: Run,
    folder: str | os.PathLike[str],
    n: int = 64,
    *,
    label: ClassLabel | None = None,
    seed: int = 0,
    means: bool = False,
    quiet: bool | None = None,
) -> list[Path]:
    """``n`` samples as PNG files in a new ``folder``; of a conditional model in a sub-folder for each class.

    So that ``folder`` is a SOURCE, with labels where the model knows some.

    Raises:
        LimnerError: As ``Run.sample``; or there is something in the folder.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise LimnerError(f"{folder}/ is not empty: give {option('out')} a new folder for the samples")
    except OSError as error:
        raise LimnerError(f"cannot write samples to {folder}/: {reason_of(error)}") from error
    classes, y = run.model.classes, run.class_of(label)
    labels = torch.full((n,), y) if y is not None else torch.arange(n) % classes if classes else None
    images = run.sample(n, label=labels, seed=seed, means=means, quiet=quiet)
    paths = []
    for i, image in enumerate(images):
        where = folder
        if labels is not None:
            where = folder / _folder_name(run.label_names, int(labels[i]))
            where.mkdir(exist_ok=True)
        paths.append(where / f"{i:0{len(str(n - 1))}}.png")
        draw.save_png(draw.grid(image[None], gap=0, scale=1), paths[-1])
    return paths


def _folder_name(names: tuple[str, ...], k: int) -> str:
    """A class's name as a folder's, or its number where the name cannot be one."""
    name = names[k] if k < len(names) else str(k)
    return name if re.fullmatch(r"\w[\w .+-]{0,99}", name) else str(k)


def time_lapse(run: Run, out: str | os.PathLike[str] | None = None) -> Path:
    """The sheets that training drew at its evaluations as a GIF; by default ``over-time.gif`` in the run's folder.

    Raises:
        LimnerError: There are fewer than two; the file cannot be written, or is to be no GIF.
    """
    path = run.folder / "over-time.gif" if out is None else Path(out)
    if path.suffix.lower() != ".gif":
        raise LimnerError(f"{path}: a time lapse is a .gif")
    check_place(path)
    write_bytes(path, draw.time_lapse(sorted((run.folder / "samples").glob("*.png"))))
    return path
