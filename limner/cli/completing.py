"""`limner complete`."""

from __future__ import annotations

import time
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import Count, Device, Json, Label, NotNegative, OutFile, Quiet, RunName, Seed
from limner.cli.printing import answer, place
from limner.devices import use_device

__all__ = ["complete"]

FEW = 10  # effective particles, below which the completions hang on a handful of guesses


def complete(
    run: RunName,
    image: Annotated[Positional[str], arg(metavar="IMAGE")],
    mask: Annotated[str, arg(metavar="MASK")],
    n: Annotated[Count, arg(aliases=("-n",))] = 8,
    particles: Count = 512,
    gibbs: NotNegative = 0,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Complete the missing part of an image: several draws from p(missing | given), side by side in one PNG.

    With an autoregressive model. Exact where no given pixel comes after a missing one in reading order (bottom-half);
    for any other mask the conditional is approximated by particles, and the effective sample size is said.

    Args:
        image: An image file, which is brought to the model's size as its data was, or test:7, an image of the run's
            data by split and number from 0.
        mask: The part that is missing and will be drawn: top-half, bottom-half, left-half, right-half, box=y0,x0,y1,x1
            (rows y0 to y1 - 1, columns x0 to x1 - 1, of the model's size), or an image file, white = missing.
        n: How many completions.
        particles: Of sequential Monte Carlo, where it is not exact; more come nearer to p(missing | given).
        gibbs: Passes over the missing values afterwards, each drawn anew from its exact p(x_i | all others); for models
            of few levels.
        label: The image's class by name or number, of a run trained with --conditional; by default it is inferred.
        seed: The same seed gives the same completions.
        out: The PNG; by default completion-IMAGE-MASK-SEED.png in the run folder.
    """
    use_device(device)
    from limner import workbench
    from limner.reports import draw

    opened = workbench.open_run(run)
    path = place(out, opened.folder, seed, "completion", image, mask)
    started = time.perf_counter()
    done = opened.complete(
        image, mask, n, particles=particles, gibbs=gibbs, label=label, seed=seed, quiet=quiet or json
    )
    seconds = time.perf_counter() - started
    draw.save_image(draw.completion_sheet(done.original, done.missing, done.images), path)
    missing, pixels = int(done.missing.sum()), done.missing.numel()
    record = {"run": opened.name, "model": opened.config.model, "image": image, "mask": mask, "missing": missing}
    record |= {"pixels": pixels, "n": n, "exact": done.exact, "conditional": done.conditional}
    lines = [f"{opened.name} ({opened.config.model}), {image}: {missing} of {pixels} pixels are missing"]
    lines.append(f"  {done.conditional}; {seconds:.1f} s")
    if not done.exact:
        names = ("particles", "effective_samples", "lowest_effective_samples", "distinct", "gibbs")
        record |= {name: getattr(done, name) for name in names}
        lines.append(
            f"  effective sample size {done.lowest_effective_samples:.1f} of {done.particles} at its lowest, "
            f"{done.effective_samples:.1f} at the end; {done.distinct} different images among the particles"
        )
        if done.lowest_effective_samples < FEW and not done.gibbs:
            lines.append("  few particles explain what is given: raise --particles or, of few levels, add --gibbs 5")
    answer(json, record | {"seed": seed, "seconds": seconds, "out": str(path)}, *lines, str(path))
