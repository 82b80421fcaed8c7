"""`limner probe`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.cli.arguments import (
    Count,
    Counts,
    Device,
    Json,
    Limit,
    Methods,
    OtherSource,
    OutFile,
    Quiet,
    RunName,
    SplitName,
)
from limner.cli.printing import answer, table
from limner.devices import use_device
from limner.errors import counted

__all__ = ["probe"]


def probe(
    run: RunName,
    data: OtherSource = None,
    labels_per_class: Counts = None,
    seeds: Count = 5,
    methods: Methods = None,
    split: SplitName = "test",
    limit: Limit = None,
    out: OutFile = None,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Classify held-out images after training with few labels: what the run's encoder is worth there.

    fine-tuned: a classifier that begins at the run's encoder. frozen: logistic regression on its features as they are.
    scratch: the same network from new weights. pixels: logistic regression on the pixels. Each several times, with
    other labelled images; accuracies go into a plot with error bars, and into the run's report.html. Any model can be
    probed that was trained without --conditional.

    Args:
        data: Another SOURCE with labels, brought to the run's size and levels; by default the run's own.
        labels_per_class: Labelled images of each class; by default those of 1,10,100,1000 that the data has.
        seeds: How many times each.
        methods: Only these, as in frozen,pixels; fine-tuning a PixelCNN takes long.
        split: The images to classify: test, or validation where something is still to be chosen.
        limit: Classify only the first so many of them.
        out: The plot; by default probe.png in the run folder.
    """
    use_device(device)
    from limner import workbench

    path, record = workbench.probe(
        workbench.open_run(run),
        data,
        labels_per_class=labels_per_class,
        seeds=seeds,
        methods=methods,
        split=split,
        limit=limit,
        out=out,
        quiet=quiet or json,
    )
    answer(json, record | {"out": str(path)}, *_accuracies(record), str(path))


def _accuracies(r: Mapping[str, Any]) -> list[str]:
    """A method a line, a number of labels a column."""
    head = f"{r['n']:,} {r['split']} images classified right, %, over {counted(r['seeds'], 'seed')}"
    cells: dict[str, list[str]] = {"labels a class": []}
    for a in r["accuracies"]:
        n = f"{a['labels_per_class']:,}"
        if n not in cells["labels a class"]:
            cells["labels a class"].append(n)
        cells.setdefault(a["method"], []).append(f"{100 * a['mean']:.1f} ± {100 * a['deviation']:.1f}")
    rows = table([(name, "".join(f"{text:>14}" for text in texts)) for name, texts in cells.items()])
    return [f"{r['run']} ({r['model']}) on {r['data']}: {head}", *rows]
