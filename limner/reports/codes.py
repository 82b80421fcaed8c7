"""What codes are worth: reconstructions, where codes lie, accuracies of classifiers upon encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from limner import sampling
from limner.evaluation import encode_split
from limner.evaluation.probe import METHODS
from limner.models import Reconstructs, Scores
from limner.models.cost import images_at_once
from limner.reports import draw
from limner.reports.html import Bitmap, Block, Section, Svg, Table, Text
from limner.reports.run_view import RunView

__all__ = ["latent_sections", "probe_plot", "probe_sections"]

MAPPED = 2000  # images whose codes are shown


def latent_sections(runs: Sequence[RunView]) -> list[Section]:
    """Reconstructions, where the codes of held-out images lie, and what a plane of latents decodes to."""
    rebuilt: list[Bitmap] = []
    codes: list[Block] = []
    planes: list[Bitmap] = []
    for run in runs:
        if isinstance(run.model, Reconstructs):
            originals = run.held_out[: run.affordable(30)]
            again = torch.cat(
                [run.model.reconstruct(part).cpu() for part in originals.split(images_at_once(run.model, 30))]
            )
            what = "the mean of p(x|z)" if isinstance(run.model, Scores) else "its code, decoded"
            caption = f"{run.name}: {_kind(run)} images, each above its reconstruction ({what})"
            rebuilt.append(Bitmap(draw.pairs(originals, again), caption, "originals and reconstructions"))
            codes += _codes(run, run.model)
        if not run.model.classes and sampling.has_plane(run.model) and run.affordable(400) == 400:
            image = draw.grid(sampling.manifold(run.model), columns=20, gap=0)
            caption = f"{run.name}: what the latent plane decodes to, equal prior mass a cell"
            planes.append(Bitmap(image, caption, "a plane of images that turn into each other"))
    found: dict[str, Sequence[Block]] = {"Reconstructions": rebuilt, "Codes": codes, "The latent plane": planes}
    return [Section(title, blocks) for title, blocks in found.items() if blocks]


def _codes(run: RunView, model: Reconstructs) -> list[Block]:
    """How many latents are active, and a map of the codes."""
    if len(run.held_out_split) < 2:
        return []
    if (most := run.affordable(MAPPED)) < 2:
        return []
    found = encode_split(model, run.held_out_split, most)
    blocks: list[Block] = [Text(f"{run.name}: {found.collapse}.")] if found.collapse else []
    if found.codes.shape[1] > 1:
        where = sampling.latent_map(found.codes)
        xlabel, ylabel = where.axes
        image = draw.scatter(where.points, found.labels, run.data.label_names, xlabel=xlabel, ylabel=ylabel)
        alike = "" if found.labels is None else ", coloured by class"
        caption = f"{run.name}: the codes of {len(found.codes):,} {_kind(run)} images{alike}"
        blocks.append(Bitmap(image, caption, "a map of the latent space", pixelated=False))
    return blocks


def _kind(run: RunView) -> str:
    return "held-out" if run.has_validation else "training"


def probe_sections(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The latest probe of a run, as a plot and a table; nothing where there was none."""
    found = [
        e for e in evaluations if "accuracies" in e and e["accuracies"] and all(map(_is_accuracy, e["accuracies"]))
    ]
    if not found:
        return []
    e = found[-1]
    counts = sorted({a["labels_per_class"] for a in e["accuracies"]})
    cells: dict[str, dict[int, str]] = {}
    for a in e["accuracies"]:
        figure = f"{100 * a['mean']:.1f} ± {100 * a['deviation']:.1f}"
        cells.setdefault(a["method"], {})[a["labels_per_class"]] = figure
    rows = [[method, *map(of_count.get, counts)] for method, of_count in cells.items()]
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


def _is_accuracy(a: Any) -> bool:
    """Whether it is one of a probe's, and not what became of it in a damaged file."""
    try:
        shares = isinstance(a["labels_per_class"], int) and 0 <= a["mean"] <= 1 and 0 <= a["deviation"] <= 1
        return shares and 0 < a["labels_per_class"] < 1e9 and a["method"] in METHODS
    except (LookupError, TypeError):
        return False


def probe_plot(record: Mapping[str, Any], *, png: bool = False) -> bytes:
    """Accuracies of a probe by the number of labels, as SVG or as a PNG of its own."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for a in record["accuracies"]:
        point = (a["labels_per_class"], 100 * a["mean"], 100 * a["deviation"])
        series.setdefault(a["method"], []).append(point)
    return draw.error_bars(series, xlabel="labels of each class", ylabel="test images classified right, %", png=png)
