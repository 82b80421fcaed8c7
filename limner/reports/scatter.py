"""Points in a plane, coloured by class: where a model's codes lie."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

__all__ = ["scatter"]

NAMED = 20  # classes in the legend at most
INK = "#1d2025"


def scatter(
    points: Tensor, labels: Tensor | None = None, label_names: Sequence[str] = (), *, xlabel: str, ylabel: str
) -> Image.Image:
    """Points on white paper, both axes to one scale, with a legend of the classes.

    Args:
        points: ``(N, 2)``.
        labels: Class indices int64 ``(N,)``; without them all points are alike.
        label_names: Names of the classes; the index is written where there is none.
        xlabel: What the first coordinate is.
        ylabel: What the second is.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    classes = torch.zeros(len(points), dtype=torch.int64) if labels is None else labels
    present = classes.unique().tolist()
    tab10, turbo = matplotlib.colormaps["tab10"], matplotlib.colormaps["turbo"]
    colours = [tab10(i) if len(present) <= 10 else turbo(i / (len(present) - 1)) for i in range(len(present))]
    # In random order: a class that is drawn last would lie over all others.
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    place = torch.searchsorted(torch.tensor(present), classes[order]).tolist()
    figure = Figure(figsize=(7.2, 6.2), layout="constrained")
    axes = figure.add_subplot(aspect="equal", adjustable="datalim")
    size = max(3.0, min(30.0, 30_000 / max(1, len(points))))
    x, y = points[order].double().numpy().T
    axes.scatter(x, y, s=size, c=[colours[i] for i in place], linewidths=0)
    if labels is not None:
        names = [label_names[k] if 0 <= k < len(label_names) else str(k) for k in present[:NAMED]]
        handles = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in colours[:NAMED]]
        legend = axes.legend(handles, names, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
        if len(present) > NAMED:
            legend.set_title(f"and {len(present) - NAMED} more")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a dollar in a name is a dollar
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return Image.open(buffer).convert("RGB")
