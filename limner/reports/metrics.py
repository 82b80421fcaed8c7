"""What was measured of runs: likelihoods, the fidelity of samples, errors of reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.errors import counted
from limner.evaluation import bits_per_dim
from limner.models import Samples, Scores, with_article
from limner.records import compared_with_blur, features_of, same_features
from limner.reports.html import Block, Cell, Section, Table, Text
from limner.reports.run_view import Rows, RunView
from limner.runs import beside_training, with_errors
from limner.training.journal import read_metrics

__all__ = [
    "fidelity_sections",
    "likelihood",
    "likelihood_table",
    "over_classes",
    "reconstruction_sections",
    "samples_of",
    "validation_note",
]

# Columns of tables: what is above them, and how the figures of a measurement are written in them.
FIDELITY = {
    "samples": "{samples:,}",
    "Fréchet ratio": "{frechet_ratio:.2f}{frechet_ratio_error}",
    "beside training images": "{near}",
    "blurred copies": "{blurred_ratio:.2f}{blur}",
    "Fréchet distance": "{frechet:.3f}{frechet_error} ({data_frechet:.3f})",
    "kernel distance": "{kernel:.4f} ± {kernel_deviation:.4f}",
    "precision": "{precision:.3f}{precision_error} ({data_precision:.3f})",
    "recall": "{recall:.3f}{recall_error} ({data_recall:.3f})",
    "k": "{neighbours}",
    "clipped density": "{clipped_density:.3f}{clipped_density_error} ({data_clipped_density:.3f})",
    "clipped coverage": "{clipped_coverage:.3f}{clipped_coverage_error} ({data_clipped_coverage:.3f})",
    "classes": "{classes_covered:,}",
    "KL of classes": "{class_kl:.4f}{class_kl_error}",
}
RECONSTRUCTION = {
    "images": "{n:,}",
    "squared error": "{mse:.5f}{error}",
    "PSNR, dB": "{psnr:.2f}",
    "cross-entropy, nats": "{cross_entropy:.4f}",
    "denoised": "{denoised_mse:.5f} ({corrupted_mse:.5f})",
}


def likelihood(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> list[Block]:
    """What one run's likelihood is, or that it has none."""
    if not isinstance(run.model, Scores):
        told = "what its samples are like" if isinstance(run.model, Samples) else "how well it reconstructs"
        name = with_article(run.config.model).capitalize()
        block: Block = Text(f"{name} has no likelihood, nor a bound of one: {told} is measured.")
    elif scored := [(run, e) for e in evaluations if "bound" in e]:
        block = likelihood_table(scored)
    else:
        block = Text("Not measured on the test split yet: limner evaluate does it, and counts every image.")
    return [block, *validation_note(run)]


def samples_of(e: Mapping[str, Any]) -> str:
    """How many samples the bound of a measurement has, and of which distribution where it is not q(z|x)."""
    learned = f", q after {e['proposal_steps']:,} steps on own images" if "proposal_steps" in e else ""
    wider = f", σ of q × {e['proposal_scale']:g}" if "proposal_scale" in e else ""
    decoded = f", {e['decoded_samples']:.0f} decoded" if "decoded_samples" in e else ""
    return f"K = {e.get('importance_samples', 1)}{decoded}{learned}{wider}"


def likelihood_table(rows: Rows) -> Block:
    """A row each measurement."""
    cells: list[list[Cell]] = []
    for run, e in rows:
        if "bound" not in e:
            cells.append([run.name, run.config.model, None, None, "no likelihood", None, None, None])
            continue
        lower = e["bound"] == "lower"
        sign = "≤ " if lower else ""
        error = f" ± {e['nats_standard_error']:.2f}" if "nats_standard_error" in e else ""
        nats, bits = f"{sign}{e['nats_per_image']:.2f}{error}", f"{sign}{e['bits_per_dim']:.4f}"
        kind = ("lower bound of ln p" if lower else "exact") + over_classes(e)
        cells.append([*_place(run, e), e["n"], nats, bits, kind, samples_of(e) if lower else None])
    header = [
        "run",
        "model",
        "data",
        "images",
        "-ln p, nats an image",
        "bits/dim",
        "exact or bound",
        "importance samples",
    ]
    notes = [
        "± is one standard error over the images. Lower is better.",
        "≤: the model's true figure is no larger; a bound and an exact figure are compared with that in mind.",
    ]
    return Table(header, cells, notes=notes, numeric=(3, 4, 5))


def fidelity_sections(rows: Rows) -> list[Section]:
    """A table of the samples' figures, where there are any."""
    old = {"neighbours": 3}  # evaluations of earlier versions do not say it
    measured = [(run, e) for run, e in rows if "frechet" in e]
    same = same_features([e for _, e in measured])
    compared = []
    for run, e in measured:
        if e in same:
            near, blur = beside_training(e), compared_with_blur(e)
            words = {"near": near, "blur": ": samples are worse" if blur == "worse" else ""}
            compared.append((run, old | with_errors(e) | {k: v for k, v in words.items() if v is not None}))
    left_out = len(measured) - len(compared)
    notes = [
        "In brackets: what as many training images reach. A ratio of 1 is as near to the split as they are; nearer or "
        "farther is said beyond two standard errors.",
        "± is one standard error over the images (jackknife); of the kernel distance the standard deviation over "
        "random subsets. KL in nats, of the classes seen from those of the data.",
        "Blurred copies: the ratio of training images under a Gaussian of one pixel. Samples should be nearer.",
        "Precision and recall: within the k-th nearest neighbour.",
        "Clipped density and coverage: the share of good samples, by quality and by variety.",
        *sorted({f"{features_of(e)}." for _, e in compared}),
        *([f"{left_out} evaluations with other features are left out: they do not compare."] if left_out else []),
    ]
    return _table("Fidelity of samples", FIDELITY, compared, notes)


def reconstruction_sections(rows: Rows) -> list[Section]:
    """A table of the errors of reconstructions, where they were measured."""
    rebuilt = []
    for run, e in rows:
        if "mse" in e:
            error = f" ± {e['mse_standard_error']:.5f}" if "mse_standard_error" in e else ""
            rebuilt.append((run, {"error": error, **e}))
    notes = [
        "Mean a value, intensities in [0, 1]; ± is one standard error over the images. PSNR = −10 log₁₀ of the squared "
        "error. No figure here is a likelihood.",
        "Denoised: the squared error of what is made of corrupted images; in brackets, of these themselves.",
    ]
    return _table("Errors of reconstructions", RECONSTRUCTION, rebuilt, notes)


def over_classes(evaluation: Mapping[str, Any]) -> str:
    """What a conditional model's figure is, in words: of p(x) = 1/K Σ_y p(x|y)."""
    if "classes" not in evaluation:
        return ""
    given = evaluation.get("conditional_nats_per_image")
    return f", over {evaluation['classes']} classes" + (f"; given the class {given:.2f}" if given is not None else "")


def validation_note(run: RunView) -> list[Text]:
    """The figure that chose the weights, where it is a likelihood or an error."""
    figure = "nats" if isinstance(run.model, Scores) else "error"
    part = "validation" if run.has_validation else "training_images"
    seen = [(r[part][figure], r["step"]) for r in read_metrics(run.folder) if figure in r.get(part, {})]
    if not seen:
        return []
    nats, step = min(seen)
    split = _chosen_on(run)
    if figure == "error":
        return [Text(f"Best on {split}: an error of {nats:.4g} an image at step {step:,}; it chose the weights.")]
    bits = bits_per_dim(nats, run.model.dimensions)
    sign = "≤ " if isinstance(run.model, Scores) and run.model.bound == "lower" else ""
    figures = f"{sign}{nats:.2f} nats ({sign}{bits:.4f} bits/dim{' given the class' if run.model.classes else ''})"
    return [Text(f"Best on {split}: {figures} at step {step:,}; it chose the weights.")]


def _chosen_on(run: RunView) -> str:
    """The images that chose the weights, in words."""
    n, there = run.config.recipe.training.validation_images, len(run.held_out_split)
    name = "validation" if run.has_validation else "training"
    part = f"the first {n:,} of " if 0 < n < there else "all " if there > 1 else ""
    return f"{part}{counted(there, f'image of the {name} split', f'images of the {name} split')}"


def _table(title: str, columns: Mapping[str, str], rows: Rows, notes: Sequence[str]) -> list[Section]:
    """A table of measurements, nothing where there is none; ``columns`` as ``FIDELITY``."""
    cells = [[*_place(run, e), *(_written(form, e) for form in columns.values())] for run, e in rows]
    header = ["run", "model", "data", *columns]
    table = Table(header, cells, notes=notes, numeric=range(3, len(header)))
    return [Section(title, [table])] if cells else []


def _place(run: RunView, e: Mapping[str, Any]) -> list[Cell]:
    return [run.name, run.config.model, f"{Path(e['data']).name} {e['split']}"]


def _written(form: str, e: Mapping[str, Any]) -> str | None:
    """The figures of a measurement, or None where it lacks one of them: it does not apply."""
    try:
        return form.format_map(e)
    except KeyError:
        return None
