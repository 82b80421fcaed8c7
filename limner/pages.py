"""Pages about runs: ``report.html`` of one, the comparison of several, and the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limner import pictures, sampling
from limner.configuration import RunConfig
from limner.data import ImageSet
from limner.evaluation import bits_per_dim
from limner.files import write_text
from limner.models import VAE, Model, Reconstructs, Samples, Scores, family
from limner.models.contracts import describe_shape
from limner.report import Block, Code, Picture, Row, Section, Svg, Table, Text, render, write
from limner.runs import read_evaluations
from limner.training.journal import read_metrics

__all__ = ["Portrait", "write_comparison", "write_run_pages"]

REPORT = "report.html"
SAMPLES = 64


@dataclass(frozen=True)
class Portrait:
    """One run, as the pages show it.

    Attributes:
        name: Of the run.
        folder: Its folder.
        config: Its configuration.
        model: With the weights to show.
        data: What it was trained on.
    """

    name: str
    folder: Path
    config: RunConfig
    model: Model
    data: ImageSet

    @property
    def held_out(self) -> torch.Tensor:
        """Pictures that it was not trained on (if there are any), uint8 ``(n, C, H, W)``, 64 at most."""
        split = self.data.splits["validation"]
        return (split if len(split) else self.data.splits["train"]).first(SAMPLES)


def write_run_pages(run: Portrait) -> Path:
    """Write ``report.html`` and ``README.md`` into the run's folder; gives the report's path."""
    evaluations = read_evaluations(run.folder)
    sections = [
        Section("Samples", [Row([_data_picture(run), *_samples(run)])]),
        *_latent_sections([run]),
        Section("Likelihood", [_likelihood_table([(run, e) for e in evaluations]), *_validation_note(run)]),
        Section("Learning curves", [_curves([run])]),
        Section("Configuration", [Code((run.folder / "config.toml").read_text(encoding="utf-8"))]),
    ]
    path = run.folder / REPORT
    write(path, render(f"limner · {run.name}", sections, subtitle=_subtitle(run)))
    write_text(run.folder / "README.md", _model_card(run, evaluations))
    return path


def write_comparison(
    path: Path,
    runs: Sequence[tuple[Portrait, Mapping[str, Any] | None]],
    *,
    title: str,
    introduction: str = "",
) -> Path:
    """Several runs on one page, each with its measurement (None: it has no likelihood)."""
    portraits = [run for run, _ in runs]
    strips = [picture for run in portraits for picture in _over_time(run)]
    sections = [
        Section("Likelihood", [*([Text(introduction)] if introduction else []), _likelihood_table(runs)]),
        Section("Samples", [Row([_data_picture(portraits[0]), *(p for run in portraits for p in _samples(run))])]),
        *_latent_sections(portraits),
        Section("Learning curves", [_curves(portraits), *strips]),
    ]
    write(path, render(title, sections))
    return path


def _subtitle(run: Portrait) -> str:
    n = sum(p.numel() for p in run.model.parameters())
    shape = describe_shape(tuple(run.config.data.shape))
    return (
        f"{run.config.model} ({family(run.config.model).paper}), {n:,} parameters, on {run.config.data.source}, {shape}"
    )


def _data_picture(run: Portrait) -> Picture:
    image = pictures.grid(run.held_out)
    return Picture(image, f"data: {Path(run.config.data.source).name}", "pictures of the data set")


def _samples(run: Portrait) -> list[Picture]:
    if not isinstance(run.model, Samples):
        return []
    labels, columns = sampling.class_rows(run.model, SAMPLES)
    n = SAMPLES if labels is None else len(labels)
    images = sampling.sample(run.model, n, generator=torch.Generator().manual_seed(0), labels=labels)
    caption = f"{run.name}: samples" if labels is None else f"{run.name}: samples, a class a row"
    return [Picture(pictures.grid(images.cpu(), columns=columns), caption, f"pictures drawn by {run.name}")]


def _latent_sections(runs: Sequence[Portrait]) -> list[Section]:
    rebuilt: list[Picture] = []
    planes: list[Picture] = []
    for run in runs:
        if isinstance(run.model, Reconstructs):
            originals = run.held_out[:30]
            again = run.model.decode(run.model.encode(originals)).cpu()
            caption = f"{run.name}: held-out pictures, each above its reconstruction (the mean of p(x|z))"
            rebuilt.append(Picture(pictures.pairs(originals, again), caption, "originals and reconstructions"))
        if isinstance(run.model, VAE) and run.model.config.latent == 2:
            image = pictures.grid(sampling.manifold(run.model).cpu(), columns=20, gap=0)
            caption = f"{run.name}: the mean of p(x|z) over the latent plane, equal prior mass a cell"
            planes.append(Picture(image, caption, "a plane of pictures that turn into each other"))
    sections: list[Section] = []
    if rebuilt:
        sections.append(Section("Reconstructions", rebuilt))
    if planes:
        sections.append(Section("The latent plane", planes))
    return sections


def _likelihood_table(rows: Sequence[tuple[Portrait, Mapping[str, Any] | None]]) -> Block:
    if not rows:
        return Text("Not measured on the test split yet: limner evaluate does it, and counts every image.")
    cells: list[list[str | int | None]] = []
    for run, e in rows:
        if e is None:
            cells.append([run.name, run.config.model, None, None, "no likelihood", None, None, None])
            continue
        error = e.get("nats_standard_error")
        lower = e["bound"] == "lower"
        k = e.get("importance_samples", 1) if lower else None
        cells.append(
            [
                run.name,
                run.config.model,
                f"{Path(e['data']).name} {e['split']}",
                e["n"],
                f"{'≤ ' if lower else ''}{e['nats_per_image']:.2f}" + (f" ± {error:.2f}" if error is not None else ""),
                f"{'≤ ' if lower else ''}{e['bits_per_dim']:.4f}",
                "lower bound of ln p" if lower else f"exact{_over_classes(e)}",
                f"K = {k}" if lower else None,
            ]
        )
    header = [
        "run",
        "model",
        "data",
        "images",
        "-ln p, nats an image",
        "bits/dim",
        "exact or bound",
        "samples a bound",
    ]
    notes = [
        "± is one standard error over the images. Lower is better.",
        "≤: the model's true figure is no larger; a bound and an exact figure are compared with that in mind.",
    ]
    return Table(header, cells, notes=notes, numeric=(3, 4, 5))


def _over_classes(evaluation: Mapping[str, Any]) -> str:
    """What a conditional model's figure is, in words: of p(x) = 1/K Σ_y p(x|y)."""
    if "classes" not in evaluation:
        return ""
    given = evaluation.get("conditional_nats_per_image")
    return f", over {evaluation['classes']} classes" + (f"; given the class {given:.2f}" if given is not None else "")


def _validation_note(run: Portrait) -> list[Text]:
    seen = [(r["validation"]["nats"], r["step"]) for r in read_metrics(run.folder) if "validation" in r]
    if not seen:
        return []
    nats, step = min(seen)
    n = run.config.recipe.training.validation_images
    bits = bits_per_dim(nats, run.model.dimensions)
    sign = "≤ " if isinstance(run.model, Scores) and run.model.bound == "lower" else ""
    split = f"the first {n:,} images of the validation split" if n else "the validation split"
    figures = f"{sign}{nats:.2f} nats ({sign}{bits:.4f} bits/dim{' given the class' if run.model.classes else ''})"
    return [Text(f"Best on {split}: {figures} at step {step:,}; it chose the weights.")]


def _curves(runs: Sequence[Portrait]) -> Block:
    series: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        records = read_metrics(run.folder)
        d, name = run.model.dimensions, f"{run.name}: " if len(runs) > 1 else ""
        training = [(r["seconds"], bits_per_dim(r["train"]["nats"], d)) for r in records if "train" in r]
        held_out = [(r["seconds"], bits_per_dim(r["validation"]["nats"], d)) for r in records if "validation" in r]
        series |= {f"{name}training": training, f"{name}validation": held_out}
    svg = pictures.curves(series, xlabel="seconds of training", ylabel="bits/dim")
    return Svg(
        svg,
        "Loss in bits/dim (exact, or the ELBO's bound); validation is of the averaged weights.",
        "learning curves",
    )


def _over_time(run: Portrait) -> list[Picture]:
    from PIL import Image

    files = sorted((run.folder / "samples").glob("*.png"))
    if len(files) < 2:
        return []
    chosen = [files[round(i * (len(files) - 1) / min(4, len(files) - 1))] for i in range(min(5, len(files)))]
    frames = [Image.open(f).copy() for f in chosen]
    strip = pictures.strip(frames, [f"step {int(f.stem):,}" for f in chosen])
    return [Picture(strip, f"{run.name}: the same random numbers as training goes on", "samples during training")]


def _model_card(run: Portrait, evaluations: Sequence[Mapping[str, Any]]) -> str:
    paper = family(run.config.model).paper
    lines = [
        f"# {run.name}",
        "",
        f"A {run.config.model} ({paper}) trained by limner on `{run.config.data.source}`: {_subtitle(run)}.",
        "",
        *(t.text for t in _validation_note(run)),
        "",
    ]
    if evaluations:
        lines += ["| data | split | images | nats an image | bits/dim | bound |", "|---|---|---|---|---|---|"]
    for e in evaluations:
        k = f", K = {e['importance_samples']}" if "importance_samples" in e else ""
        figures = f"{e['nats_per_image']:.3f} | {e['bits_per_dim']:.4f} | {e['bound']}{k}{_over_classes(e)}"
        lines.append(f"| {e['data']} | {e['split']} | {e['n']} | {figures} |")
    lines += [
        "",
        "`config.toml` trains it again; `model.safetensors` holds the weights; use it with",
        "",
        "```python",
        "import limner",
        f'run = limner.open_run("{run.name}")',
        "images = run.sample(16)        # uint8 (16, C, H, W)",
        "```",
    ]
    return "\n".join(lines) + "\n"
