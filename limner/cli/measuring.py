"""`limner evaluate` and `limner compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.cli.arguments import Count, Device, Flag, Json, Limit, OtherSource, RunName, RunNames, Seed, SplitName
from limner.cli.printing import answer
from limner.devices import use_device

if TYPE_CHECKING:
    from limner.workbench import Run

__all__ = ["compare", "evaluate"]


def evaluate(
    run: RunName,
    data: OtherSource = None,
    split: SplitName = "test",
    importance_samples: Limit = None,
    fidelity: Flag = False,
    neighbours: Count = 3,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure the likelihood: nats an image with standard error, bits/dim, exact or bound. All images are counted.

    The run's report.html shows what was measured.

    With --fidelity, and for models without a likelihood, as many samples are drawn and compared with these images:
    Fréchet and kernel distance, precision, recall, Clipped Density and Coverage, classes. The first time, features are
    fitted to the data, and a classifier is trained where there are labels.
    Of an autoencoder, which has no likelihood and draws no samples, the errors of reconstructions are measured.

    Args:
        data: Another SOURCE, of the same shape and levels; by default the run's own.
        split: Which split.
        importance_samples: K of a VAE's bound; 1 is the ELBO, more tighten it; by default 100.
        fidelity: Compare samples with the split as well.
        neighbours: k of precision and recall; 3 as published, 5 is usual too.
        limit: Only the first so many images, and as many samples.
        seed: Seed of the samples, and of the noise that a bound is estimated with.
    """
    use_device(device)
    from limner import workbench

    opened = workbench.open_run(run)
    record = opened.evaluate(
        data,
        split=split,
        importance_samples=importance_samples,
        fidelity=fidelity,
        neighbours=neighbours,
        limit=limit,
        seed=seed,
        quiet=False,
    )
    amount = f"{record['n']:,} images" if "n" in record else f"{record['samples']:,} samples"
    lines = [f"{record['run']} ({record['model']}) on {record['data']}, {record['split']}, {amount}:"]
    lines += _likelihood(record) if "bound" in record else ["  no likelihood"]
    lines += _reconstruction(record) if "mse" in record else []
    lines += _fidelity(record) if "frechet" in record else []
    answer(json, record, *lines)
    _refresh(opened)


def _refresh(run: Run) -> None:
    """Bring the run's report up to date, unless the run trains on: then that is done at its end."""
    from limner import display
    from limner.errors import LimnerError
    from limner.files import can_write, is_locked
    from limner.runs import LOCK

    if can_write(run.folder) and not is_locked(run.folder / LOCK):
        try:
            run.report()
        except LimnerError as error:  # the figures are printed and kept; its own data may be gone
            display.warn(f"the report is as it was: {error}")


def _likelihood(record: Mapping[str, Any]) -> list[str]:
    sign = "≤ " if record["bound"] == "lower" else ""
    error = f" ± {record['nats_standard_error']:.3f}" if "nats_standard_error" in record else ""
    k = record.get("importance_samples", 1)
    kind = "exact" if not sign else f"bound, K = {k}" if k > 1 else "bound: the ELBO; --importance-samples tightens it"
    lines = [
        f"  {sign}{record['nats_per_image']:.3f}{error} nats an image, {sign}{record['bits_per_dim']:.4f} bits/dim"
    ]
    if "classes" in record:
        kind += f"{'; of' if sign else ''} ln p(x), the mean of p(x|y) over {record['classes']} classes"
        if "conditional_nats_per_image" in record:
            kind += f"; -ln p(x|y) {record['conditional_nats_per_image']:.3f} nats"
    lines.append(f"  {kind}; {record['seconds']:.1f} s")
    elbo = (
        f"by the ELBO (K = 1) ≤ {record['elbo_nats_per_image']:.3f} nats; " if "elbo_nats_per_image" in record else ""
    )
    if elbo or "effective_samples" in record:
        lines.append(f"  {elbo}effective samples {record.get('effective_samples', 1):.1f} of {k}")
    return lines


def _reconstruction(record: Mapping[str, Any]) -> list[str]:
    error = f" ± {record['mse_standard_error']:.5f}" if "mse_standard_error" in record else ""
    ratio = f", PSNR {record['psnr']:.2f} dB" if "psnr" in record else ""
    lines = [f"  reconstructions: squared error {record['mse']:.5f}{error} a value, intensities in [0, 1]{ratio}"]
    if "cross_entropy" in record:
        nats = f"{record['cross_entropy']:.4f} nats a value"
        lines.append(f"  cross-entropy {nats}; no likelihood, as the code is read off x")
    if "denoised_mse" in record:
        before, after = record["corrupted_mse"], record["denoised_mse"]
        lines.append(f"  corrupted images, squared error {before:.5f}: {after:.5f} is left")
    return lines


def _fidelity(record: Mapping[str, Any]) -> list[str]:
    from limner.records import compared_with_blur, features_of
    from limner.runs import beside_training, with_errors

    r = with_errors(record)
    distance = f"Fréchet distance {r['frechet']:.3f}{r['frechet_error']} ({r['data_frechet']:.3f})"
    near = beside_training(r)
    precision = f"precision {r['precision']:.3f}{r['precision_error']} ({r['data_precision']:.3f})"
    recall = f"recall {r['recall']:.3f}{r['recall_error']} ({r['data_recall']:.3f}), k = {r['neighbours']}"
    density = (
        f"clipped density {r['clipped_density']:.3f}{r['clipped_density_error']} ({r['data_clipped_density']:.3f})"
    )
    coverage = (
        f"clipped coverage {r['clipped_coverage']:.3f}{r['clipped_coverage_error']} ({r['data_clipped_coverage']:.3f})"
    )
    blur = f"{compared_with_blur(r)} than a blurred copy of the data (σ = 1), whose ratio is {r['blurred_ratio']:.2f}"
    lines = [
        f"  {r['samples']:,} samples; in brackets what as many training images reach:",
        f"  {distance}, ratio {r['frechet_ratio']:.2f}{r['frechet_ratio_error']}",
        *([f"  beside training images: {near}, as far as two standard errors tell"] if near else []),
        f"  {blur}",
        f"  kernel distance {r['kernel']:.4f} ± {r['kernel_deviation']:.4f}",
        f"  {precision}, {recall}",
        f"  {density}, {coverage}: the share of good samples",
    ]
    if "classes_covered" in r:
        kl = f"KL of their histogram from the data's {r['class_kl']:.4f}{r['class_kl_error']} nats"
        lines.append(f"  {r['classes_covered']:,} classes, {kl}")
    return [*lines, f"  {features_of(r)}"]


def compare(
    runs: RunNames,
    split: SplitName = "test",
    importance_samples: Limit = None,
    fidelity: Flag = False,
    out: Path = Path("comparison.html"),
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure runs side by side and write one page: likelihoods, fidelity, samples, reconstructions, curves.

    Args:
        runs: Names (in runs/) or folders.
        split: Which split of each run's data is scored.
        importance_samples: K of the VAEs' bounds; by default as for evaluate.
        fidelity: Compare samples with the split as well; done anyway where one of the runs that draw has no likelihood.
        out: The page.
    """
    use_device(device)
    from limner import workbench

    path, records = workbench.compare(
        runs, out=out, split=split, importance_samples=importance_samples, fidelity=fidelity, quiet=False
    )
    answer(json, records, *map(_row, records), str(path))


def _row(record: Mapping[str, Any]) -> str:
    from limner.runs import with_errors

    r = with_errors(record)
    sign = "≤ " if r.get("bound") == "lower" else ""
    text = "no likelihood"
    if "bound" in r:
        text = f"{sign}{r['nats_per_image']:.2f} nats, {sign}{r['bits_per_dim']:.4f} bits/dim"
    if "frechet" in r:
        text += f"  Fréchet ratio {r['frechet_ratio']:.2f}{r['frechet_ratio_error']}"
        text += f", precision {r['precision']:.3f}{r['precision_error']}, recall {r['recall']:.3f}{r['recall_error']}"
    if "mse" in r:
        text += f"  squared error {r['mse']:.5f} a value"
    return f"{r['run']:24} {r['model']:12} {text}"
