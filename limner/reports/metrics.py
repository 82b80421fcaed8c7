"""What was measured of runs: likelihoods, the fidelity of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.evaluation import bits_per_dim
from limner.models import Samples, Scores, with_article
from limner.reports.html import Block, Section, Table, Text
from limner.reports.run_view import RunView
from limner.training.journal import read_metrics

__all__ = [
    "fidelity_sections",
    "likelihood",
    "likelihood_table",
    "looked_at_with",
    "over_classes",
    "samples_of",
    "validation_note",
]


def likelihood(run: RunView, evaluations: Sequence[Mapping[str, Any]]) -> list[Block]:
    """What one run's likelihood is, or that it has none."""
    if not isinstance(run.model, Scores):
        told = "what its samples are like" if isinstance(run.model, Samples) else "how well it reconstructs"
        name = with_article(run.config.model).capitalize()
        return [Text(f"{name} has no likelihood, nor a bound of one: {told} is measured."), *validation_note(run)]
    scored = [(run, e) for e in evaluations if "bound" in e]
    if not scored:
        unscored = Text("Not measured on the test split yet: limner evaluate does it, and counts every image.")
        return [unscored, *validation_note(run)]
    return [likelihood_table(scored), *validation_note(run)]


def samples_of(e: Mapping[str, Any]) -> str:
    """How many samples the bound of a measurement has, and of which distribution where it is not q(z|x)."""
    learned = f", q after {e['proposal_steps']:,} steps on own images" if "proposal_steps" in e else ""
    wider = f", σ of q × {e['proposal_scale']:g}" if "proposal_scale" in e else ""
    decoded = f", {e['decoded_samples']:.0f} decoded" if "decoded_samples" in e else ""
    return f"K = {e.get('importance_samples', 1)}{decoded}{learned}{wider}"


def likelihood_table(rows: Sequence[tuple[RunView, Mapping[str, Any]]]) -> Block:
    """A row each measurement."""
    cells: list[list[str | int | None]] = []
    for run, e in rows:
        if "bound" not in e:
            cells.append([run.name, run.config.model, None, None, "no likelihood", None, None, None])
            continue
        error = e.get("nats_standard_error")
        lower = e["bound"] == "lower"
        cells.append(
            [
                run.name,
                run.config.model,
                f"{Path(e['data']).name} {e['split']}",
                e["n"],
                f"{'≤ ' if lower else ''}{e['nats_per_image']:.2f}" + (f" ± {error:.2f}" if error is not None else ""),
                f"{'≤ ' if lower else ''}{e['bits_per_dim']:.4f}",
                ("lower bound of ln p" if lower else "exact") + over_classes(e),
                samples_of(e) if lower else None,
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


def fidelity_sections(rows: Sequence[tuple[RunView, Mapping[str, Any]]]) -> list[Section]:
    """A table of the samples' figures, where there are any."""
    cells: list[list[str | int | None]] = [
        [
            run.name,
            run.config.model,
            f"{Path(e['data']).name} {e['split']}",
            e["samples"],
            f"{e['frechet_ratio']:.2f}",
            f"{e['frechet']:.3f} ({e['data_frechet']:.3f})",
            f"{e['kernel']:.4f} ± {e['kernel_deviation']:.4f}",
            f"{e['precision']:.3f} ({e['data_precision']:.3f})",
            f"{e['recall']:.3f} ({e['data_recall']:.3f})",
            e.get("neighbours", 3),  # evaluations of earlier versions do not say it
            e.get("classes_covered"),
            f"{e['class_kl']:.4f}" if "class_kl" in e else None,
        ]
        for run, e in rows
        if "frechet" in e
    ]
    if not cells:
        return []
    header = ["run", "model", "data", "samples", "Fréchet ratio", "Fréchet distance", "kernel distance"]
    header += ["precision", "recall", "k", "classes", "KL of classes"]
    looked = sorted({looked_at_with(e) for _, e in rows if "frechet" in e})
    notes = [
        "In brackets: what as many training images reach. A ratio of 1 is as near to the split as they are.",
        "± is the standard deviation over random subsets. KL in nats, of the classes seen from those of the data.",
        "Precision and recall: within the k-th nearest neighbour.",
        *looked,
    ]
    return [Section("Fidelity of samples", [Table(header, cells, notes=notes, numeric=range(3, len(header)))])]


def looked_at_with(evaluation: Mapping[str, Any]) -> str:
    """Whose features they are, in words."""
    network = f"a network that tells {evaluation['feature_task']} with accuracy {evaluation['feature_accuracy']:.3f}"
    inception = evaluation.get("inception")
    return f"Features of {inception}; classes of {network}." if inception else f"Features of {network}."


def over_classes(evaluation: Mapping[str, Any]) -> str:
    """What a conditional model's figure is, in words: of p(x) = 1/K Σ_y p(x|y)."""
    if "classes" not in evaluation:
        return ""
    given = evaluation.get("conditional_nats_per_image")
    return f", over {evaluation['classes']} classes" + (f"; given the class {given:.2f}" if given is not None else "")


def validation_note(run: RunView) -> list[Text]:
    """The figure that chose the weights, where it is a likelihood or an error."""
    figure = "nats" if isinstance(run.model, Scores) else "error"
    seen = [(r["validation"][figure], r["step"]) for r in read_metrics(run.folder) if figure in r.get("validation", {})]
    if not seen:
        return []
    nats, step = min(seen)
    n = run.config.recipe.training.validation_images
    split = f"the first {n:,} images of the validation split" if n else "the validation split"
    if figure == "error":
        return [Text(f"Best on {split}: an error of {nats:.4g} an image at step {step:,}; it chose the weights.")]
    bits = bits_per_dim(nats, run.model.dimensions)
    sign = "≤ " if isinstance(run.model, Scores) and run.model.bound == "lower" else ""
    figures = f"{sign}{nats:.2f} nats ({sign}{bits:.4f} bits/dim{' given the class' if run.model.classes else ''})"
    return [Text(f"Best on {split}: {figures} at step {step:,}; it chose the weights.")]
