"""Curves, and points with error bars, as SVG; and how such an SVG goes into a page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "error_bars", "inline_svg"]

# Eight hues that keep a contrast of at least 3 : 1 both on white and on near-black paper.
COLOURS = ("#3d84c6", "#d9702a", "#2f9a6b", "#c0559c", "#8870d0", "#9b8412", "#d1504f", "#6b8794")
_CURRENT = "#0a0b0c"  # stands for the text colour of the page while matplotlib draws


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    size: tuple[float, float] = (7.2, 3.4),
) -> bytes:
    """Curves as an SVG that takes its text colour from the page (``currentColor``) and leaves the paper open.

    The vertical range follows the part after the first tenth of each curve, so that a start far away does not
    squash what is interesting; how many points lie beyond the plot is said below it.

    Args:
        series: Points ``(x, y)`` by name, in any order; a y that is not finite leaves a gap.
        xlabel: What x is, with its unit.
        ylabel: What y is, with its unit.
        size: Width and height in inches.
    """
    from matplotlib.figure import Figure  # not pyplot: a figure of our own, no global state
    from matplotlib.ticker import EngFormatter

    arrays = {name: np.asarray(points, dtype=float).reshape(-1, 2) for name, points in series.items()}
    arrays = {name: points for name, points in arrays.items() if np.isfinite(points).all(axis=1).any()}
    arrays = {name: points[np.argsort(points[:, 0], kind="stable")] for name, points in arrays.items()}
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    lines = []
    for i, points in enumerate(arrays.values()):
        x, y = _thinned(points).T
        dots = "o" if len(points) <= 30 else ""
        dash = ("-", "--", ":")[i // len(COLOURS) % 3]
        colour = COLOURS[i % len(COLOURS)]
        lines += axes.plot(x, y, color=colour, linewidth=1.6, linestyle=dash, marker=dots, markersize=3.5)
    if arrays:
        low, high, beyond = _limits(list(arrays.values()))
        axes.set_ylim(low, high)
        if beyond:
            xlabel += f"  ({beyond} {'point lies' if beyond == 1 else 'points lie'} beyond the plot)"
        if max(np.nanmax(points[:, 0]) for points in arrays.values()) >= 10_000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _legend(axes, lines, list(arrays), figure.get_figwidth())
    else:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color=_CURRENT)
    _dress(axes, xlabel, ylabel)
    return _svg(figure)


def error_bars(
    series: Mapping[str, Sequence[tuple[float, float, float]]], *, xlabel: str, ylabel: str, png: bool = False
) -> bytes:
    """Points with error bars, a line through those of each name, over a logarithmic x.

    Args:
        series: ``(x, y, half the bar's length)`` by name, in any order; names share their x, and stand side by side.
        xlabel: What x is, with its unit.
        ylabel: What y is, with its unit.
        png: A PNG on white paper instead of an SVG as that of ``curves``.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    lines = []
    for i, points in enumerate(series.values()):
        x, y, half = np.asarray(sorted(points), dtype=float).T
        beside = 1.035 ** (i - (len(series) - 1) / 2)
        colour = COLOURS[i % len(COLOURS)]
        lines.append(axes.errorbar(x * beside, y, half, color=colour, linewidth=1.6, marker="o", ms=4, capsize=3))
    places = sorted({x for points in series.values() for x, _, _ in points})
    axes.set_xlim(places[0] / 1.5, places[-1] * 1.5)
    axes.set_xticks(places, [f"{x:,g}" for x in places])
    axes.xaxis.set_minor_locator(NullLocator())
    _legend(axes, lines, list(series), figure.get_figwidth())
    _dress(axes, xlabel, ylabel)
    if not png:
        return _svg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    silent = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=silent)
    svg = buffer.getvalue().replace(_CURRENT.encode(), b"currentColor")
    return svg[svg.index(b"<svg") :]  # the document type names an outside address


def _legend(axes: Axes, lines: Sequence[Any], names: Sequence[str], width: float) -> None:
    """Above the plot, where it covers no curve."""
    names = [f"\u200b{name}" if name.startswith("_") else name for name in names]  # matplotlib drops "_"
    columns = max(1, min(4, len(names), int(12 * width / (6 + max(map(len, names))))))
    legend = axes.legend(
        lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set(parse_math=False, color=_CURRENT)  # a dollar in a name is a dollar


def inline_svg(data: bytes, prefix: str, label: str) -> str:
    """A plot to stand inside HTML: without namespaces and comments, named for those who cannot see it.

    Args:
        data: The SVG.
        prefix: Begins every id, so that no two plots of a page share one.
        label: What is to be seen.
    """
    root = ElementTree.fromstring(data)
    ids = {element.get("id"): f"{prefix}-{i}" for i, element in enumerate(root.iter()) if element.get("id")}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            new = re.sub(r"(?<=#)[\w.-]+", lambda match: ids.get(match[0], match[0]), value)  # href, url(...)
            element.set(name, ids[value] if name == "id" else new)
    root.attrib.update({"role": "img", "aria-label": label})
    return ElementTree.tostring(root, encoding="unicode")


def _thinned(points: np.ndarray, buckets: int = 500) -> np.ndarray:
    """Of the points (n, 2) the lowest and the highest of each bucket, in their order: no peak is lost."""
    if len(points) <= 2 * buckets:
        return points
    kept = []
    for part in np.array_split(np.arange(len(points)), buckets):
        values = points[part, 1]
        if np.isfinite(values).any():
            kept += sorted({part[np.nanargmin(values)], part[np.nanargmax(values)]})
        else:
            kept.append(part[0])
    return points[kept]


def _limits(curves: list[np.ndarray]) -> tuple[float, float, int]:
    """The vertical range, and how many finite points lie outside."""
    curves = [points[np.isfinite(points).all(axis=1)] for points in curves]
    everything = np.concatenate([points[:, 1] for points in curves])
    settled = [points[points[:, 0] >= np.quantile(points[[0, -1], 0], 0.1), 1] for points in curves]
    middle = [np.quantile(values, q) for values in settled for q in (0.01, 0.99)]  # each curve counts alike
    ends = [points[-1, 1] for points in curves]  # where a curve has got to is always seen
    low, high = min(*middle, *ends), max(*middle, *ends)
    if np.ptp(everything) <= 1.5 * (high - low):  # not worth hiding a point
        low, high = everything.min(), everything.max()
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return low, high, int(((everything < low) | (everything > high)).sum())


def _dress(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, color=_CURRENT, fontsize=9)
    axes.set_ylabel(ylabel, color=_CURRENT, fontsize=9)
    axes.tick_params(color=_CURRENT, labelcolor=_CURRENT, labelsize=8.5, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_CURRENT)
    axes.grid(color=_CURRENT, alpha=0.14, linewidth=0.8)
    axes.set_axisbelow(True)
