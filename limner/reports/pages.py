"""The pages, put together: ``report.html`` of one run, the comparison of several, the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import torch

from limner import sampling
from limner.files import write_text
from limner.models import Samples, family, with_article
from limner.models.contracts import SampleMeans, describe_images
from limner.records import same_features
from limner.reports import codes, curves, draw, metrics
from limner.reports.html import Bitmap, Block, Code, Row, Section, Text, render
from limner.reports.run_view import SAMPLES, Rows, RunView
from limner.runs import read_evaluations, with_errors

__all__ = ["README", "REPORT", "write_comparison", "write_run_pages"]

README, REPORT = "README.md", "report.html"
SAMPLES_OF_CLASSES = 100  # of a conditional model, all classes together
IN_A_ROW = 12  # images of each model at the top of a comparison
CARD = {  # the tables of a model card: header and row, by a figure that their measurements have
    "bound": (
        "data | split | images | nats an image | bits/dim | bound",
        "{data} | {split} | {n} | {nats_per_image:.3f} | {bits_per_dim:.4f} | {bound}{note}",
    ),
    "frechet": (
        "data | split | samples | Fréchet ratio | precision | recall",
        "{data} | {split} | {samples} | {frechet_ratio:.2f}{frechet_ratio_error} | {precision:.3f}{precision_error} | "
        "{recall:.3f}{recall_error}",
    ),
    "mse": ("data | split | images | squared error a value", "{data} | {split} | {n} | {mse:.5f}"),
}


def write_run_pages(run: RunView) -> Path:
    """Write ``report.html`` and ``README.md`` into the run's folder; gives the report's path."""
    evaluations = read_evaluations(run.folder)
    during = curves.over_time(run)
    data = Bitmap(draw.grid(run.held_out), _data_caption(run), "images of the data set")
    sections = [
        Section("Samples" if isinstance(run.model, Samples) else "Data", _beside_data(run, data)),
        *([Section("Samples during training", during)] if during else []),
        *codes.latent_sections([run]),
        Section("Likelihood", metrics.likelihood(run, evaluations)),
        *metrics.reconstruction_sections([(run, e) for e in evaluations]),
        *metrics.fidelity_sections([(run, e) for e in evaluations]),
        *codes.probe_sections(run, evaluations),
        Section("Learning curves", curves.curves([run])),
        *curves.doctor(run),
        Section("Configuration", [Code((run.folder / "config.toml").read_text(encoding="utf-8"))]),
    ]
    write_text(run.folder / README, _model_card(run, evaluations))
    subtitle = "{model} ({paper}), {parameters} parameters, on {source}, {images}".format(
        model=run.config.model, **_facts(run)
    )
    path = run.folder / REPORT  # the last: where it is, the card is
    write_text(path, render(f"limner · {run.name}", sections, subtitle=subtitle))
    return path


def write_comparison(path: Path, runs: Rows, *, title: str, introduction: str) -> None:
    """Several runs on one page, each with its measurement."""
    views = [run for run, _ in runs]
    during = [image for run in views for image in curves.over_time(run)]
    begin = [Text(introduction)] if introduction else []
    sections = [
        Section("Samples", [*begin, _row(views[0].held_out, _data_caption(views[0])), *_sample_rows(views)]),
        *codes.latent_sections(views),
        *([Section("Samples during training", during)] if during else []),
        Section("Likelihood", [metrics.likelihood_table(runs)]),
        *metrics.reconstruction_sections(runs),
        *metrics.fidelity_sections(runs),
        Section("Learning curves", curves.curves(views)),
    ]
    write_text(path, render(title, sections))


def _facts(run: RunView) -> dict[str, str]:
    """What a run is, for the head of its two pages."""
    return {
        "paper": family(run.config.model).paper,
        "parameters": f"{sum(p.numel() for p in run.model.parameters()):,}",
        "source": run.config.data.source,
        "images": describe_images(run.config.data.shape),
    }


def _data_caption(run: RunView) -> str:
    return f"data: {Path(run.config.data.source).name}"


def _row(images: torch.Tensor, caption: str) -> Bitmap:
    """A row of images ``(n, C, H, W)``."""
    return Bitmap(draw.grid(images[:IN_A_ROW].cpu(), columns=min(IN_A_ROW, len(images))), caption, caption)


def _sample_rows(views: Sequence[RunView]) -> list[Bitmap]:
    """A row of samples of each model that draws some."""
    rows = []
    for run in views:
        if isinstance(run.model, Samples):
            images = sampling.sample(run.model, IN_A_ROW, generator=torch.Generator().manual_seed(0))
            rows.append(_row(images, f"{run.name}: samples of {with_article(run.config.model)}"))
    return rows


def _beside_data(run: RunView, data: Bitmap) -> list[Block]:
    """Samples beside the data; those of a conditional model class by class above it, over the whole width."""
    if not isinstance(run.model, Samples):
        return [Row([data])]
    labels, _ = sampling.class_rows(run.model, SAMPLES if not run.model.classes else SAMPLES_OF_CLASSES)
    n = SAMPLES if labels is None else len(labels)
    generator = torch.Generator().manual_seed(0)
    images = sampling.sample_in(run.seconds, run.model, n, generator=generator, labels=labels).cpu()
    if not len(images):
        return [Row([data])]
    caption = f"{run.name}: samples" if labels is None else f"{run.name}: samples, class by class"
    if len(images) < n:
        caption += f" (those of {n} that could be drawn in {run.seconds:.0f} seconds of the run's time)"
    labels = None if labels is None else labels[: len(images)]
    sheets = [Bitmap(draw.class_sheet(images, labels, run.data.label_names), caption, f"images drawn by {run.name}")]
    if isinstance(run.model, SampleMeans):
        generator = torch.Generator().manual_seed(0)
        means = sampling.sample(run.model, len(images), generator=generator, labels=labels, means=True).cpu()
        caption = f"{run.name}: means of the p(x|z) that these samples are drawn from; no samples themselves"
        sheet = draw.class_sheet(means, labels, run.data.label_names)
        sheets.append(Bitmap(sheet, caption, f"means of decoded codes of {run.name}"))
    return [Row([data, *sheets])] if labels is None else [*sheets, data]


def _model_card(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> str:
    tables = ""
    for figure, (header, row) in CARD.items():
        found = [e for e in evaluations if figure in e]
        found = same_features(found) if figure == "frechet" else found
        if found:
            tables += f"| {header} |\n|{'---|' * len(header.split('|'))}\n"
            tables += "".join(f"| {row.format(**with_errors(e), note=_note(e))} |\n" for e in found) + "\n"
    use = "again = run.reconstruct(images)  # both uint8 (B, C, H, W)"
    if isinstance(run.model, Samples):
        use = "images = run.sample(16)        # uint8 (16, C, H, W)"
    return Template((resources.files(__package__) / "card.md").read_text("utf-8")).substitute(
        name=run.name,
        article=with_article(run.config.model).capitalize(),
        chosen="".join(f"{t.text}\n\n" for t in metrics.validation_note(run)),
        tables=tables,
        use=use,
        **_facts(run),
    )


def _note(e: Mapping[str, Any]) -> str:
    """How many samples a bound has, over how many classes."""
    k = f", {metrics.samples_of(e)}" if "importance_samples" in e else ""
    return k + metrics.over_classes(e)
