"""Points in a plane, coloured by class: where a model's codes lie."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image

from limner.errors import LimnerError

__all__ = ["scatter"]

NAMED = 20  # classes in the legend at most
INK = "#1d2025"


def scatter(
    points: torch.Tensor,
    labels: torch.Tensor | None = None,
    label_names: Sequence[str] = (),
    *,
    xlabel: str,
    ylabel: str,
) -> Image.Image:
    """Points on white paper, both axes to one scale, with a legend of the classes.

    Args:
        points: ``(N, 2)``.
        labels: Class indices int64 ``(N,)``; by default all points are alike.
        label_names: Names of the classes; the index is written where there is none.
        xlabel: What the first coordinate is.
        ylabel: What the second is.

    Raises:
        LimnerError: The points are not ``(N, 2)``, or have not one label each.
    """
    if points.dim() != 2 or points.shape[1] != 2 or (labels is not None and labels.shape != points.shape[:1]):
        raise LimnerError(f"points to show must be (N, 2) with a label each, not {tuple(points.shape)}")
    import matplotlib
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    classes = torch.zeros(len(points), dtype=torch.int64) if labels is None else labels
    present = classes.unique().tolist()
    few = len(present) <= 10
    colours = [
        to_rgba(matplotlib.colormaps["tab10" if few else "turbo"](i if few else i / (len(present) - 1)))
        for i in range(len(present))
    ]
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
        hidden = len(present) - len(names)
        handles = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in colours[:NAMED]]
        title = f"and {hidden} more" if hidden else None
        legend = axes.legend(
            handles, names, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9, title=title
        )
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
