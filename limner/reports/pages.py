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
from limner.reports.run_view import SAMPLES, Portrait
from limner.runs import read_evaluations

__all__ = ["REPORT", "write_comparison", "write_run_pages"]

REPORT = "report.html"


def write_run_pages(run: Portrait) -> Path:
    """Write ``report.html`` and ``README.md`` into the run's folder; gives the report's path."""
    evaluations = read_evaluations(run.folder)
    sections = [
        Section("Samples" if isinstance(run.model, Samples) else "Data", [Row([_data_image(run), *_samples(run)])]),
        *codes.latent_sections([run]),
        *codes.probe_sections(run, evaluations),
        Section("Likelihood", metrics.likelihood(run, evaluations)),
        *codes.reconstruction_sections([(run, e) for e in evaluations]),
        *metrics.fidelity_sections([(run, e) for e in evaluations]),
        Section("Learning curves", [*curves.curves([run]), *curves.over_time(run)]),
        *curves.doctor(run),
        Section("Configuration", [Code((run.folder / "config.toml").read_text(encoding="utf-8"))]),
    ]
    path = run.folder / REPORT
    write(path, render(f"limner · {run.name}", sections, subtitle=_subtitle(run)))
    write_text(run.folder / "README.md", _model_card(run, evaluations))
    return path


def write_comparison(
    path: Path,
    runs: Sequence[tuple[Portrait, Mapping[str, Any]]],
    *,
    title: str,
    introduction: str = "",
) -> Path:
    """Several runs on one page, each with its measurement."""
    portraits = [run for run, _ in runs]
    strips = [image for run in portraits for image in curves.over_time(run)]
    sections = [
        Section("Likelihood", [*([Text(introduction)] if introduction else []), metrics.likelihood_table(runs)]),
        *codes.reconstruction_sections(runs),
        *metrics.fidelity_sections(runs),
        Section("Samples", [Row([_data_image(portraits[0]), *(p for run in portraits for p in _samples(run))])]),
        *codes.latent_sections(portraits),
        Section("Learning curves", [*curves.curves(portraits), *strips]),
    ]
    write(path, render(title, sections))
    return path


def _subtitle(run: Portrait) -> str:
    n = sum(p.numel() for p in run.model.parameters())
    shape = describe_shape(tuple(run.config.data.shape))
    return (
        f"{run.config.model} ({family(run.config.model).paper}), {n:,} parameters, on {run.config.data.source}, {shape}"
    )


def _data_image(run: Portrait) -> Bitmap:
    image = draw.grid(run.held_out)
    return Bitmap(image, f"data: {Path(run.config.data.source).name}", "images of the data set")


def _samples(run: Portrait) -> list[Bitmap]:
    if not isinstance(run.model, Samples):
        return []
    labels, columns = sampling.class_rows(run.model, SAMPLES)
    n = SAMPLES if labels is None else len(labels)
    images = sampling.sample(run.model, n, generator=torch.Generator().manual_seed(0), labels=labels)
    caption = f"{run.name}: samples" if labels is None else f"{run.name}: samples, a class a row"
    return [Bitmap(draw.grid(images.cpu(), columns=columns), caption, f"images drawn by {run.name}")]


def _model_card(run: Portrait, evaluations: Sequence[Mapping[str, Any]]) -> str:
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
