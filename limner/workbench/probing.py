"""What a run's encoder is worth where labels are few; the words of `limner probe`."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from limner import display
from limner.errors import LimnerError, option
from limner.evaluation import measure_probe
from limner.evaluation.probe import METHODS, Method
from limner.files import check_place
from limner.reports.codes import probe_plot
from limner.reports.draw import check_image_name, save_image
from limner.workbench.loading import load_data
from limner.workbench.run import Run

__all__ = ["LABELS_PER_CLASS", "probe"]

LABELS_PER_CLASS = (1, 10, 100, 1000)


def probe(
    run: Run,
    data: str | os.PathLike[str] | None = None,
    *,
    labels_per_class: Sequence[int] | None = None,
    seeds: int = 5,
    methods: Sequence[Method] | None = None,
    split: str = "test",
    limit: int | None = None,
    out: str | os.PathLike[str] | None = None,
    quiet: bool | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Classifiers from few labels: from the run's encoder, from new weights, from pixels; see ``evaluation.probe``.

    Labelled images are from the training split, those to classify from another. The report is written anew.

    Args:
        run: Whose features are probed.
        data: Another SOURCE with labels, brought to the run's size and levels; by default the run's own data.
        labels_per_class: Labelled images of each class; by default those of 1, 10, 100, 1,000 that there are.
        seeds: Experiments of each kind.
        methods: Which of ``evaluation.probe.METHODS``; by default all.
        split: The images to classify: ``test``, or ``validation`` where something is still to be chosen.
        limit: Only the first so many of them; by default all, of a set that is not kept in memory 10,000.
        out: The plot, .png, .jpg or .webp; by default ``probe.png`` in the run folder.
        quiet: No progress; by default none unless a person watches.

    Returns:
        The plot's path, and ``run, model, step, data, split, n, seeds, seconds, accuracies``: of each number and
        method ``labels_per_class, method, mean, deviation, accuracies`` (one a seed). The same is added to the run's
        ``evaluations.jsonl``.

    Raises:
        LimnerError: The model has no features or is told the class; the data has no labels, too few of a class, or no
            such split.
    """
    if split == "train":
        raise LimnerError("the training split has the labelled images: classify those of test or validation")
    path = Path(out) if out is not None else run.folder / "probe.png"
    check_image_name(path)
    check_place(path)
    keep = run.can_record()
    config, model = run.config, run.model
    if data is None:
        images = run.data(quiet=quiet)
    else:
        _, h, w = config.data.shape
        images = run.matching(load_data(data, size=(h, w), levels=config.data.levels, quiet=quiet))
    train, told = images.split("train"), images.split(split)
    if train.labels is None:
        raise LimnerError(
            f"{images.source} has no labels to probe with; give data of the same shape that has, as in "
            f"{option('data', 'mnist')}"
        )
    counts = train.labels.bincount(minlength=len(images.label_names))
    chosen = labels_per_class or [n for n in LABELS_PER_CLASS if n <= int(counts.min())]
    if not chosen:
        raise LimnerError(f"{images.source} has no training image of {images.label_names[int(counts.argmin())]!r}")

    start = time.perf_counter()
    with display.stages(quiet) as progress:
        found = measure_probe(
            model,
            lambda seed: config.with_training(seed=config.recipe.training.seed + 1 + seed).build(),
            train,
            told,
            len(images.label_names),
            labels_per_class=sorted(set(chosen)),
            seeds=seeds,
            methods=methods or METHODS,
            limit=limit,
            on_progress=progress,
        )
    record = run.record(
        images,
        split,
        keep=keep,
        n=told.held_at_once(limit),
        seeds=seeds,
        seconds=time.perf_counter() - start,
        accuracies=[asdict(a) | {"mean": a.mean, "deviation": a.deviation} for a in found],
    )
    with Image.open(io.BytesIO(probe_plot(record, png=True))) as plot:
        save_image(plot, path)
    if keep:
        run.report()
    return path, record
