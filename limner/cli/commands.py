"""The commands. Each is a function whose docstring is its help; heavy imports live inside them."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from limner.cli.advising import advice_lines, advice_record, advise, size_options
from limner.cli.arguments import Device, Fit, Json, OutFile, Quiet, Size, Source
from limner.cli.completing import complete
from limner.cli.latent import latent
from limner.cli.measuring import compare, evaluate
from limner.cli.models import models
from limner.cli.printing import answer, said, table
from limner.cli.probing import probe
from limner.cli.sampling import sample
from limner.cli.showing import runs, show
from limner.cli.studio import studio
from limner.cli.training import delete, resume, train
from limner.devices import use_device

__all__ = ["COMMANDS"]


def demo(out: Path = Path("demo"), device: Device = "auto", quiet: Quiet = False) -> None:
    """Train every family on the bundled digits, minutes on a laptop; ends with a report to look at.

    Args:
        out: Folder for the runs and report.html; an earlier demo in it is replaced.
    """
    use_device(device)
    from limner.workbench.demo import demo

    print(demo(out, quiet=quiet))


def data(source: Source, size: Size = None, fit: Fit = "crop", out: OutFile = None, json: Json = False) -> None:
    """Say what a SOURCE is (count, size, channels, levels, labels, broken files) and write a contact sheet.

    Args:
        source: digits, mnist, binarized-mnist, fashion-mnist, cifar10, stacked-mnist, a folder, .zip, .parquet, .npz,
            .npy, IDX or .amat file.
        out: The contact sheet; by default contact-sheet.png in this folder.
    """
    from limner import workbench
    from limner.reports import draw

    path = out or Path("contact-sheet.png")
    draw.check_image_name(path)
    images = workbench.load_data(source, size=size, fit=fit, quiet=json)
    train = images.split("train")
    few = max(1, (1 << 27) // math.prod(images.shape))  # large ones
    shown = train.spread(min(2000 if images.label_names else 96, few))  # a sorted source shows all its classes
    labels = None if train.labels is None else train.labels[shown]
    draw.save_image(draw.contact_sheet(train.take(shown), labels, images.label_names), path)
    c, h, w = images.shape
    counts = {name: len(split) for name, split in images.splits.items()}
    facts = {
        "source": images.source,
        "images": sum(counts.values()),
        "splits": counts,
        "size": f"{w}×{h} (width × height)",
        "channels": c,
        "levels": images.levels,
        "labels": list(images.label_names),
        "in_memory": all(split.store.in_memory for split in images.splits.values()),
        "broken": [{"file": b.path, "reason": b.reason} for b in images.broken],
        "notes": list(images.notes),
        "contact_sheet": str(path),
    }
    lines = table([(k.replace("_", " "), said(v)) for k, v in facts.items() if v != []])
    options = size_options(size, fit)
    if advice := workbench.kept_advice(images, options=options):
        facts["advice"] = advice_record(advice)
        lines += ["", *advice_lines(advice, most=2)]
    more = " ".join(filter(None, ["limner advise", shlex.quote(images.source), options]))
    answer(json, facts, *lines, "", f"`{more}` says which models suit these images on this machine")


ALL = (
    demo, models, data, advise, train, resume, runs, show, delete, sample, complete, latent, evaluate, probe, compare,
    studio,
)  # fmt: skip
COMMANDS = {f.__name__: f for f in ALL}
