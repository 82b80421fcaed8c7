"""`limner evaluate` and `limner compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.cli.arguments import (
    Count,
    Flag,
    Limit,
    OtherSource,
    RunName,
    RunNames,
    Samples,
    Seed,
    SplitName,
)
from limner.cli.printing import print_json

__all__ = ["compare", "evaluate"]


def evaluate(
    run: RunName,
    data: OtherSource = None,
    split: SplitName = "test",
    importance_samples: Samples = None,
    fidelity: Flag = False,
    neighbours: Count = 3,
    limit: Limit = None,
    seed: Seed = 0,
    json: Flag = False,
) -> None:
    """Measure the likelihood: nats an image with standard error, bits/dim, exact or bound. All images are counted.

    With --fidelity, and for models without a likelihood, as many samples are drawn and compared with these images:
    Fréchet and kernel distance, precision, recall, classes. The first time, a feature network is trained on the data.
    Of an autoencoder, which has no likelihood and draws no samples, the errors of reconstructions are measured.

    Args:
        run: Name (in runs/) or folder.
        data: Another SOURCE, of the same shape and levels; by default the run's own.
        split: Which split.
        importance_samples: K of a VAE's bound; 1 is the ELBO, more tighten it; by default 100.
        fidelity: Compare samples with the split as well.
        neighbours: k of precision and recall; 3 as published, 5 is usual too.
        limit: Only the first so many images, and as many samples.
        seed: Of a bound's noise, and of the samples.
        json: Print one JSON object.
    """
    from limner import workbench

    record = workbench.open_run(run).evaluate(
        data,
        split=split,
        importance_samples=importance_samples,
        fidelity=fidelity,
        neighbours=neighbours,
        limit=limit,
        seed=seed,
        quiet=False,
    )
    if json:
        print_json(record)
        return
    amount = f"{record['n']:,} images" if "n" in record else f"{record['samples']:,} samples"
    print(f"{record['run']} ({record['model']}) on {record['data']}, {record['split']}, {amount}:")
    if "bound" in record:
        _print_likelihood(record)
    else:
        print("  no likelihood")
    if "mse" in record:
        _print_reconstruction(record)
    if "frechet" in record:
        _print_fidelity(record)


def _print_likelihood(record: Mapping[str, Any]) -> None:
    sign = "≤ " if record["bound"] == "lower" else ""
    error = f" ± {record['nats_standard_error']:.3f}" if "nats_standard_error" in record else ""
    k = record.get("importance_samples", 1)
    kind = "exact" if not sign else f"bound, K = {k}" if k > 1 else "bound: the ELBO; --importance-samples tightens it"
    print(f"  {sign}{record['nats_per_image']:.3f}{error} nats an image, {sign}{record['bits_per_dim']:.4f} bits/dim")
    if "classes" in record:
        kind += f"{'; of' if sign else ''} ln p(x), the mean of p(x|y) over {record['classes']} classes"
        if "conditional_nats_per_image" in record:
            kind += f"; -ln p(x|y) {record['conditional_nats_per_image']:.3f} nats"
    print(f"  {kind}; {record['seconds']:.1f} s")
    effective = f"effective samples {record.get('effective_samples', 1):.1f} of {k}"
    if "elbo_nats_per_image" in record:
        print(f"  ELBO ≤ {record['elbo_nats_per_image']:.3f} nats; {effective}")
    elif "effective_samples" in record:
        print(f"  {effective}")


def _print_reconstruction(record: Mapping[str, Any]) -> None:
    error = f" ± {record['mse_standard_error']:.5f}" if "mse_standard_error" in record else ""
    ratio = f", PSNR {record['psnr']:.2f} dB" if "psnr" in record else ""
    print(f"  reconstructions: squared error {record['mse']:.5f}{error} a value, intensities in [0, 1]{ratio}")
    if "cross_entropy" in record:
        print(f"  cross-entropy {record['cross_entropy']:.4f} nats a value; no likelihood, as the code is read off x")
    if "denoised_mse" in record:
        before, after = record["corrupted_mse"], record["denoised_mse"]
        print(f"  corrupted images, squared error {before:.5f}: {after:.5f} is left")


def _print_fidelity(record: Mapping[str, Any]) -> None:
    r = record
    print(f"  {r['samples']:,} samples; in brackets what as many training images reach:")
    print(f"  Fréchet distance {r['frechet']:.3f} ({r['data_frechet']:.3f}), ratio {r['frechet_ratio']:.2f}")
    print(f"  kernel distance {r['kernel']:.4f} ± {r['kernel_deviation']:.4f}")
    print(
        f"  precision {r['precision']:.3f} ({r['data_precision']:.3f}), "
        f"recall {r['recall']:.3f} ({r['data_recall']:.3f}), k = {r['neighbours']}"
    )
    if "classes_covered" in r:
        print(f"  {r['classes_covered']:,} classes, KL of their histogram from the data's {r['class_kl']:.4f} nats")
    network = f"a network that tells {r['feature_task']} with accuracy {r['feature_accuracy']:.3f}"
    print(f"  features of {r['inception']}; classes of {network}" if "inception" in r else f"  features of {network}")


def compare(
    runs: RunNames,
    split: SplitName = "test",
    importance_samples: Samples = None,
    fidelity: Flag = False,
    out: Path = Path("comparison.html"),
    json: Flag = False,
) -> None:
    """Measure runs side by side and write one page: likelihoods, fidelity, samples, reconstructions, curves.

    Args:
        runs: Names (in runs/) or folders.
        split: Which split of each run's data is scored.
        importance_samples: K of the VAEs' bounds; by default as for evaluate.
        fidelity: Compare samples with the split as well; done anyway where one of the runs that draw has no likelihood.
        out: The page.
        json: Print one JSON list.
    """
    from limner import workbench

    path, records = workbench.compare(
        runs, out=out, split=split, importance_samples=importance_samples, fidelity=fidelity, quiet=False
    )
    if json:
        print_json(records)
        return
    for r in records:
        sign = "≤ " if r.get("bound") == "lower" else ""
        nats = f"{sign}{r['nats_per_image']:.2f} nats, {sign}{r['bits_per_dim']:.4f} bits/dim" if "bound" in r else ""
        samples = (
            f"  Fréchet ratio {r['frechet_ratio']:.2f}, precision {r['precision']:.3f}, recall {r['recall']:.3f}"
            if "frechet" in r
            else ""
        )
        again = f"  squared error {r['mse']:.5f} a value" if "mse" in r else ""
        print(f"{r['run']:24} {r['model']:12} {nats or 'no likelihood'}{samples}{again}")
    print(path)
