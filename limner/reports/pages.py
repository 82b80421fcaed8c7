"""The pages, put together: ``report.html`` of one run, the comparison of several, the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from limner import sampling
from limner.files import write_text
from limner.models import Samples, family, with_article
from limner.models.contracts import describe_shape
from limner.reports import codes, curves, draw, metrics
from limner.reports.html import Bitmap, Code, Row, Section, Text, render, write
from limner.reports.run_view import SAMPLES, RunView
from limner.runs import read_evaluations

__all__ = ["REPORT", "write_comparison", "write_run_pages"]

REPORT = "report.html"
IN_A_ROW = 12  # images of each model at the top of a comparison


def write_run_pages(run: RunView) -> Path:
    """Write ``report.html`` and ``README.md`` into the run's folder; gives the report's path."""
    evaluations = read_evaluations(run.folder)
    during = curves.over_time(run)
    sections = [
        Section("Samples" if isinstance(run.model, Samples) else "Data", [Row([_data_image(run), *_samples(run)])]),
        *([Section("Samples during training", during)] if during else []),
        *codes.latent_sections([run]),
        Section("Likelihood", metrics.likelihood(run, evaluations)),
        *codes.reconstruction_sections([(run, e) for e in evaluations]),
        *metrics.fidelity_sections([(run, e) for e in evaluations]),
        *codes.probe_sections(run, evaluations),
        Section("Learning curves", curves.curves([run])),
        *curves.doctor(run),
        Section("Configuration", [Code((run.folder / "config.toml").read_text(encoding="utf-8"))]),
    ]
    path = run.folder / REPORT
    write(path, render(f"limner · {run.name}", sections, subtitle=_subtitle(run)))
    write_text(run.folder / "README.md", _model_card(run, evaluations))
    return path


def write_comparison(
    path: Path,
    runs: Sequence[tuple[RunView, Mapping[str, Any]]],
    *,
    title: str,
    introduction: str = "",
) -> Path:
    """Several runs on one page, each with its measurement."""
    views = [run for run, _ in runs]
    during = [image for run in views for image in curves.over_time(run)]
    begin = [Text(introduction)] if introduction else []
    sections = [
        Section("Samples", [*begin, _row(views[0].held_out, _data_caption(views[0])), *_sample_rows(views)]),
        *codes.latent_sections(views),
        *([Section("Samples during training", during)] if during else []),
        Section("Likelihood", [metrics.likelihood_table(runs)]),
        *codes.reconstruction_sections(runs),
        *metrics.fidelity_sections(runs),
        Section("Learning curves", curves.curves(views)),
    ]
    write(path, render(title, sections))
    return path


def _subtitle(run: RunView) -> str:
    n = sum(p.numel() for p in run.model.parameters())
    shape = describe_shape(tuple(run.config.data.shape))
    return (
        f"{run.config.model} ({family(run.config.model).paper}), {n:,} parameters, on {run.config.data.source}, {shape}"
    )


def _data_caption(run: RunView) -> str:
    return f"data: {Path(run.config.data.source).name}"


def _data_image(run: RunView) -> Bitmap:
    return Bitmap(draw.grid(run.held_out), _data_caption(run), "images of the data set")


def _row(images: torch.Tensor, caption: str) -> Bitmap:
    """A row of images ``(n, C, H, W)``."""
    return Bitmap(draw.grid(images[:IN_A_ROW].cpu(), columns=IN_A_ROW), caption, caption)


def _sample_rows(views: Sequence[RunView]) -> list[Bitmap]:
    """A row of samples of each model that draws some."""
    return [
        _row(
            sampling.sample(run.model, IN_A_ROW, generator=torch.Generator().manual_seed(0)),
            f"{run.name}: samples of {with_article(run.config.model)}",
        )
        for run in views
        if isinstance(run.model, Samples)
    ]


def _samples(run: RunView) -> list[Bitmap]:
    if not isinstance(run.model, Samples):
        return []
    labels, columns = sampling.class_rows(run.model, SAMPLES)
    n = SAMPLES if labels is None else len(labels)
    images = sampling.sample(run.model, n, generator=torch.Generator().manual_seed(0), labels=labels)
    caption = f"{run.name}: samples" if labels is None else f"{run.name}: samples, a class a row"
    return [Bitmap(draw.grid(images.cpu(), columns=columns), caption, f"images drawn by {run.name}")]


def _model_card(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> str:
    name, paper = with_article(run.config.model), family(run.config.model).paper
    lines = [
        f"# {run.name}",
        "",
        f"{name.capitalize()} ({paper}) trained by limner on `{run.config.data.source}`: {_subtitle(run)}.",
        "",
        *(t.text for t in metrics.validation_note(run)),
        "",
    ]
    scored = [e for e in evaluations if "bound" in e]
    if scored:
        lines += ["| data | split | images | nats an image | bits/dim | bound |", "|---|---|---|---|---|---|"]
    for e in scored:
        k = f", {metrics.samples_of(e)}" if "importance_samples" in e else ""
        figures = f"{e['nats_per_image']:.3f} | {e['bits_per_dim']:.4f} | {e['bound']}{k}{metrics.over_classes(e)}"
        lines.append(f"| {e['data']} | {e['split']} | {e['n']} | {figures} |")
    compared = [e for e in evaluations if "frechet" in e]
    if compared:
        lines += ["", "| data | split | samples | Fréchet ratio | precision | recall |", "|---|---|---|---|---|---|"]
    for e in compared:
        figures = f"{e['frechet_ratio']:.2f} | {e['precision']:.3f} | {e['recall']:.3f}"
        lines.append(f"| {e['data']} | {e['split']} | {e['samples']} | {figures} |")
    rebuilt = [e for e in evaluations if "mse" in e]
    if rebuilt:
        lines += ["", "| data | split | images | squared error a value |", "|---|---|---|---|"]
    lines += [f"| {e['data']} | {e['split']} | {e['n']} | {e['mse']:.5f} |" for e in rebuilt]
    use = (
        "images = run.sample(16)        # uint8 (16, C, H, W)"
        if isinstance(run.model, Samples)
        else "again = run.reconstruct(images)  # both uint8 (B, C, H, W)"
    )
    lines += [
        "",
        "`config.toml` trains it again; `model.safetensors` holds the weights; use it with",
        "",
        "```python",
        "import limner",
        f'run = limner.open_run("{run.name}")',
        use,
        "```",
    ]
    return "\n".join(lines) + "\n"
