"""`limner sample`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from limner.cli.arguments import Count, Device, Flag, Label, OutFile, Quiet, RunName, Seed
from limner.cli.printing import place
from limner.devices import use_device
from limner.errors import LimnerError

__all__ = ["sample"]


def sample(
    run: RunName,
    n: Annotated[Count, arg(aliases=("-n",))] = 64,
    label: Label = None,
    seed: Seed = 0,
    mean: Flag = False,
    over_time: Flag = False,
    out: OutFile = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Draw new images from a run's model into one sheet, or into a folder of files.

    Args:
        n: How many; without --label a conditional run's sheet has as many of each class, and so a few more.
        label: Only this class, by name or by number from 0 in the order of `limner data`; of runs trained with
            --conditional.
        seed: The same seed gives the same images.
        mean: Of a VAE, the mean of the p(x|z) that each image is drawn from, in place of the image.
        over_time: Draw nothing: make a GIF of the samples of the training's evaluations.
        out: The sheet, .png, .jpg or .webp; or, without such an ending, a new folder for a PNG a sample (in sub-folders
            by class, of a conditional run); by default samples-SEED.png in the run folder.
    """
    use_device(device)
    from limner.reports import draw
    from limner.workbench import open_run, samples

    opened = open_run(run)
    if over_time:
        if label is not None or mean:
            raise LimnerError(f"--over-time shows what training drew: leave {'--mean' if mean else '--label'} out")
        print(samples.time_lapse(opened, out))
        return
    if out is not None and (out.is_dir() or not out.suffix):
        files = samples.sample_files(opened, out, n, label=label, seed=seed, means=mean, quiet=quiet)
        print(f"{out}: {len(files):,} images, the first {files[0]}")
        return
    path = place(out, opened.folder, seed, "means" if mean else "samples")
    draw.save_image(samples.sample_sheet(opened, n, label=label, seed=seed, means=mean, quiet=quiet), path)
    print(path)
