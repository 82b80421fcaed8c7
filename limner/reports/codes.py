"""What codes are worth: reconstructions and their errors, where codes lie, accuracies of classifiers upon encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner import sampling
from limner.evaluation import encode_split
from limner.models import Reconstructs, Scores
from limner.reports import draw
from limner.reports.html import Bitmap, Block, Section, Svg, Table, Text
from limner.reports.run_view import RunView

__all__ = ["latent_sections", "probe_plot", "probe_sections", "reconstruction_sections"]

Rows = Sequence[tuple[RunView, Mapping[str, Any]]]
MAPPED = 2000  # images whose codes are shown


def latent_sections(runs: Sequence[RunView]) -> list[Section]:
    """Reconstructions, where the codes of held-out images lie, and what a plane of latents decodes to."""
    rebuilt: list[Bitmap] = []
    codes: list[Block] = []
    planes: list[Bitmap] = []
    for run in runs:
        if isinstance(run.model, Reconstructs):
            originals = run.held_out[:30]
            again = run.model.reconstruct(originals).cpu()
            what = "the mean of p(x|z)" if isinstance(run.model, Scores) else "its code, decoded"
            caption = f"{run.name}: held-out images, each above its reconstruction ({what})"
            rebuilt.append(Bitmap(draw.pairs(originals, again), caption, "originals and reconstructions"))
            codes += _codes(run, run.model)
        if not run.model.classes and sampling.has_plane(run.model):
            image = draw.grid(sampling.manifold(run.model), columns=20, gap=0)
            caption = f"{run.name}: what the latent plane decodes to, equal prior mass a cell"
            planes.append(Bitmap(image, caption, "a plane of images that turn into each other"))
    found: dict[str, Sequence[Block]] = {"Reconstructions": rebuilt, "Codes": codes, "The latent plane": planes}
    return [Section(title, blocks) for title, blocks in found.items() if blocks]


def _codes(run: RunView, model: Reconstructs) -> list[Block]:
    """How many latents are active, and a map of the codes."""
    if len(run.held_out_split) < 2:
        return []
    found = encode_split(model, run.held_out_split, MAPPED)
    blocks: list[Block] = [Text(f"{run.name}: {found.collapse}.")] if found.collapse else []
    if found.codes.shape[1] > 1:
        where = sampling.latent_map(found.codes)
        xlabel, ylabel = where.axes
        image = draw.scatter(where.points, found.labels, run.data.label_names, xlabel=xlabel, ylabel=ylabel)
        alike = "" if found.labels is None else ", coloured by class"
        caption = f"{run.name}: the codes of {len(found.codes):,} held-out images{alike}"
        blocks.append(Bitmap(image, caption, "a map of the latent space", pixelated=False))
    return blocks


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
        "Denoised: the squared error of what is made of corrupted images; in brackets, of these themselves.",
    ]
    return [Section("Errors of reconstructions", [Table(header, cells, notes=notes, numeric=range(3, len(header)))])]


def probe_sections(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> list[Section]:
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
        f"Of {e['n']:,} {e['split']} images of {Path(e['data']).name}, %; mean ± standard deviation of {e['seeds']} "
        "seeds, each with labelled images of its own.",
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
    return draw.error_bars(series, xlabel="labels of each class", ylabel="test images told right, %", png=png)
