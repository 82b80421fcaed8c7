"""`limner latent`."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import Count, Device, Json, Label, Limit, OutFile, Quiet, RunName, Seed
from limner.cli.printing import answer, place
from limner.devices import use_device
from limner.errors import LimnerError

__all__ = ["latent"]

What = Literal["interpolate", "traversal", "manifold", "reconstruct", "map", "arithmetic", "neighbours"]
WORDS: dict[str, tuple[int, int, str]] = {  # how many at least and at most, and what they are
    "interpolate": (0, 2, "no words, or two images"),
    "traversal": (0, 1, "no words, or an image"),
    "reconstruct": (1, 100, "one image or more"),
    "arithmetic": (3, 3, "three classes, as in 8 3 5"),
}


def latent(
    run: RunName,
    what: Annotated[Positional[What], arg(metavar="WHAT")],
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="WORD ...", help_behavior_hint="")] = (),
    n: Annotated[Limit, arg(aliases=("-n",))] = None,
    steps: Count = 10,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Look at the latent space of an autoencoder, a VAE or a GAN, in one PNG.

    Args:
        what: interpolate: walks between two latents, a row each, or between two images, of a model that encodes.
            traversal: each latent changed, the others held, a row each. manifold: the plane of two-dimensional latents.
            reconstruct IMAGE ...: images above what comes back of them, with the error. map: where held-out
            images lie, coloured by class. arithmetic A B C: averaged latents of three classes, A - B + C.
            neighbours: samples of any model, each above the training images most like it.
        words: Of interpolate: two images (files, or test:7 of the run's data), or none to draw the ends. Of
            traversal: an image whose code is held. Of arithmetic: three classes, by name or number.
        n: Rows of interpolate (8) and traversal (at most 64), images of map (5000), single images of arithmetic
            (8), samples of neighbours (8).
        steps: Images in a row of interpolate and traversal; the side of manifold.
        label: The class by name or number, of a conditional model; by default row i of interpolate shows class i.
        seed: The same seed gives the same images.
        out: The PNG; by default WHAT-SEED.png in the run folder.
    """
    use_device(device)
    from limner import workbench
    from limner.cli import latent_sheets as sheets
    from limner.reports import draw

    least, most, wanted = WORDS.get(what, (0, 0, "no words"))
    if not least <= len(words) <= most or (what, len(words)) == ("interpolate", 1):
        raise LimnerError(f"{what} takes {wanted}, not {len(words)}: {' '.join(words) or '(none)'}")
    opened = workbench.open_run(run)
    path = place(out, opened.folder, seed, what, *words)
    quiet = quiet or json
    match what:
        case "interpolate":
            shown = sheets.interpolation(opened, words, n or 8, steps, label, seed)
        case "traversal":
            shown = sheets.traversal(opened, words, n or 64, steps, label, seed, quiet)
        case "manifold":
            shown = sheets.manifold(opened, steps, label)
        case "reconstruct":
            shown = sheets.reconstructions(opened, words, label)
        case "map":
            shown = sheets.codes_map(opened, n or 5000, quiet)
        case "arithmetic":
            shown = sheets.arithmetic(opened, words, n or 8, seed, quiet)
        case _:
            shown = sheets.neighbours(opened, n or 8, label, seed, quiet)
    image, record, text = shown
    draw.save_image(image, path)
    record = {"run": opened.name, "model": opened.config.model, "what": what} | record | {"out": str(path)}
    answer(json, record, *filter(None, [text, str(path)]))
