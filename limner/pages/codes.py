"""What codes are worth: errors of reconstructions, and accuracies of classifiers that begin at the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner import pictures
from limner.pages.portrait import Portrait
from limner.report import Block, Section, Svg, Table

__all__ = ["probe_plot", "probe_sections", "reconstruction_sections"]

Rows = Sequence[tuple[Portrait, Mapping[str, Any]]]


def reconstruction_sections(rows: Rows) -> list[Section]:
    """A table of the errors of reconstructions, where they were measured."""
    cells: list[list[str | int | float | None]] = [
        [
            run.name,
            run.config.model,
            f"{Path(e['data']).name} {e['split']}",
            e["n"],
            f"{e['mse']:.5f}" + (f" ± {e['mse_standard_error']:.5f}" if "mse_standard_error" in e else ""),
            f"{e['psnr']:.2f}" if "psnr" in e else None,
            f"{e['cross_entropy']:.4f}" if "cross_entropy" in e else None,
            f"{e['denoised_mse']:.5f} ({e['corrupted_mse']:.5f})" if "denoised_mse" in e else None,
        ]
        for run, e in rows
        if "mse" in e
    ]
    if not cells:
        return []
    header = ["run", "model", "data", "images", "squared error", "PSNR, dB", "cross-entropy, nats", "denoised"]
    notes = [
        "Mean a value, intensities in [0, 1]; ± is one standard error over the images. PSNR = −10 log₁₀ of the squared "
        "error. No figure here is a likelihood.",
        "Denoised: the squared error of what is made of corrupted pictures; in brackets, of these themselves.",
    ]
    return [Section("Errors of reconstructions", [Table(header, cells, notes=notes, numeric=range(3, len(header)))])]


def probe_sections(run: Portrait, evaluations: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The latest probe of a run, as a plot and a table; nothing where there was none."""
    found = [e for e in evaluations if "accuracies" in e]
    if not found:
        return []
    e = found[-1]
    counts = sorted({a["labels_per_class"] for a in e["accuracies"]})
    methods = list(dict.fromkeys(a["method"] for a in e["accuracies"]))
    cell = {
        (a["method"], a["labels_per_class"]): f"{a['mean']:.1%} ± {a['deviation']:.1%}".replace("%", "")
        for a in e["accuracies"]
    }
    rows = [[method, *(cell.get((method, n)) for n in counts)] for method in methods]
    notes = [
        f"Of {e['n']:,} {e['split']} pictures of {Path(e['data']).name}, %; mean ± standard deviation of {e['seeds']} "
        "seeds, each with labelled pictures of its own.",
        "frozen: logistic regression on the features as they are; fine-tuned: then all weights are trained; scratch: "
        "the same from new weights; pixels: logistic regression on the pixels.",
    ]
    table = Table(["method", *(f"{n:,} a class" for n in counts)], rows, notes=notes, numeric=range(1, len(counts) + 1))
    blocks: list[Block] = []
    if len(counts) > 1:
        blocks.append(Svg(probe_plot(e), "Accuracy by the number of labels; bars are ± one standard deviation."))
    return [Section("Few labels", [*blocks, table])]


def probe_plot(record: Mapping[str, Any], *, png: bool = False) -> bytes:
    """Accuracies of a probe by the number of labels, as SVG or as a PNG of its own."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for a in record["accuracies"]:
        point = (a["labels_per_class"], 100 * a["mean"], 100 * a["deviation"])
        series.setdefault(a["method"], []).append(point)
    return pictures.error_bars(series, xlabel="labels of each class", ylabel="test pictures told right, %", png=png)
