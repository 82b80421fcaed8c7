"""`limner latent`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import Count, Flag, Label, Limit, OutFile, RunName, Seed
from limner.cli.printing import print_json
from limner.errors import LimnerError

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.evaluation import Codes
    from limner.workbench import Run

__all__ = ["latent"]

What = Literal["interpolate", "traversal", "manifold", "reconstruct", "map", "arithmetic", "neighbours"]
WORDS: dict[str, tuple[int, int, str]] = {  # how many at least and at most, and what they are
    "interpolate": (0, 2, "no words, or two images"),
    "traversal": (0, 1, "no words, or an image"),
    "reconstruct": (1, 100, "one image or more"),
    "arithmetic": (3, 3, "three classes, as in 8 3 5"),
}
Shown = tuple["Image", dict[str, Any], str]


def latent(
    run: RunName,
    what: Annotated[Positional[What], arg(metavar="WHAT")],
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="WORD ...", help_behavior_hint="")] = (),
    n: Annotated[Limit, arg(aliases=("-n",))] = None,
    steps: Count = 10,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    json: Flag = False,
    quiet: Flag = False,
) -> None:
    """Look at the latent space of an autoencoder, a VAE or a GAN, in one PNG.

    Args:
        run: Name (in runs/) or folder.
        what: interpolate: walks between two latents, a row each, or between two images, of a model that encodes.
            traversal: each latent changed, the others held, a row each. manifold: the plane of two-dimensional latents.
            reconstruct PICTURE ...: images above what comes back of them, with the error. map: where held-out
            images lie, coloured by class. arithmetic A B C: averaged latents of three classes, A - B + C.
            neighbours: samples of any model, each above the training images most like it.
        words: Of interpolate: two images (files, or test:7 of the run's data), or none to draw the ends. Of
            traversal: an image whose code is held. Of arithmetic: three classes, by name or number.
        n: Rows of interpolate (8) and traversal (at most 64), images of map (5000), single images of arithmetic
            (8), samples of neighbours (8).
        steps: Images in a row of interpolate and traversal; the side of manifold.
        label: The class, of a conditional model; by default row i of interpolate shows class i.
        seed: The same seed gives the same images.
        out: The PNG; by default WHAT-SEED.png in the run folder.
        json: Print one JSON object.
        quiet: No progress.
    """
    from limner import workbench
    from limner.files import check_place
    from limner.reports import draw

    least, most, wanted = WORDS.get(what, (0, 0, "no words"))
    if not least <= len(words) <= most or (what, len(words)) == ("interpolate", 1):
        raise LimnerError(f"{what} takes {wanted}, not {len(words)}: {' '.join(words) or '(none)'}")
    opened = workbench.open_run(run)
    path = out or opened.folder / f"{'-'.join((what, *map(_plain, words)))[:100]}-{seed}.png"
    check_place(path)
    quiet = quiet or json
    match what:
        case "interpolate":
            walks = workbench.latent.interpolate(opened, words, rows=n or 8, steps=steps, label=label, seed=seed)
            shown = draw.grid(walks, columns=steps), {"rows": len(walks) // steps, "steps": steps}, ""
        case "traversal":
            shown = _traversal(opened, words, n or 64, steps, label, seed, quiet)
        case "manifold":
            plane = workbench.latent.manifold(opened, steps, label=label)
            shown = draw.grid(plane, columns=steps, gap=0), {"side": steps}, ""
        case "reconstruct":
            shown = _reconstruct(opened, words, label)
        case "map":
            shown = _map(opened, n or 5000, quiet)
        case "arithmetic":
            shown = _arithmetic(opened, words, n or 8, seed, quiet)
        case _:
            shown = _neighbours(opened, n or 8, label, seed, quiet)
    image, record, text = shown
    draw.save_png(image, path)
    if json:
        print_json({"run": opened.name, "model": opened.config.model, "what": what} | record | {"out": str(path)})
        return
    if text:
        print(text)
    print(path)


def _traversal(
    run: Run, words: tuple[str, ...], most: int, steps: int, label: int | None, seed: int, quiet: bool
) -> Shown:
    import torch

    from limner import workbench
    from limner.reports import draw

    found = workbench.latent.traversal(
        run, words[0] if words else None, most=most, steps=steps, label=label, seed=seed, quiet=quiet
    )
    dimensions = found.dimensions.tolist()
    record: dict[str, Any] = {"steps": steps, "dimensions": dimensions}
    names, text = [f"z{d}" for d in dimensions], ""
    if found.activity is not None:
        activity = found.activity.tolist()
        names = [f"{name}: {a:.2g}" for name, a in zip(names, activity, strict=True)]
        record["activity"] = activity
    if found.codes:
        record, text = record | _units(found.codes), found.codes.collapse or ""
    rows = torch.arange(len(dimensions)).repeat_interleave(steps)
    sheet = draw.contact_sheet(found.images, rows, names, columns=steps, rows=len(dimensions))
    return sheet, record, text


def _reconstruct(run: Run, words: tuple[str, ...], label: int | None) -> Shown:
    from limner import workbench
    from limner.reports import draw

    found = workbench.latent.reconstruct(run, words, label=label)
    record: dict[str, Any] = {"images": []}
    lines = []
    for word, (mse, psnr) in zip(words, found.errors, strict=True):
        lines.append(f"{word}: MSE {mse:.4f}, PSNR {psnr:.1f} dB")
        record["images"].append({"image": word, "mse": mse} | ({"psnr": psnr} if mse else {}))
    return draw.pairs(found.originals, found.images), record, "\n".join(lines)


def _map(run: Run, n: int, quiet: bool) -> Shown:
    from limner import workbench
    from limner.reports import draw

    found = workbench.latent.latent_map(run, n, quiet=quiet)
    xlabel, ylabel = found.map.axes
    names = run.data(quiet=quiet).label_names
    image = draw.scatter(found.map.points, found.codes.labels, names, xlabel=xlabel, ylabel=ylabel)
    record: dict[str, Any] = {"split": found.split, "n": len(found.codes.codes)} | _units(found.codes)
    if found.map.explained is not None:
        record["explained"] = found.map.explained
    text = f"{len(found.codes.codes):,} images of the {found.split} split"
    return image, record, "\n".join(filter(None, [text, found.codes.collapse]))


def _units(codes: Codes) -> dict[str, int]:
    active = {} if codes.active is None else {"active_units": codes.active}
    return active | {"latents": codes.codes.shape[1]}


def _arithmetic(run: Run, words: tuple[str, ...], n: int, seed: int, quiet: bool) -> Shown:
    from limner import workbench
    from limner.reports import draw

    a, b, c = words
    found = workbench.latent.analogy(run, a, b, c, n=n, seed=seed, quiet=quiet)
    scale = max(1, 56 // max(found.means.shape[2:]))
    sheets = [draw.grid(image[None], scale=2 * scale) for image in found.means]
    sheets.append(draw.pairs(found.before, found.after, scale=scale))
    captions = [a, f"- {b}", f"+ {c}", "=", f"{c}, and {c} + {a} - {b}"]
    counts = dict(zip("abc", found.counts, strict=True))
    return draw.strip(sheets, captions), {"words": words, "averaged": counts}, ""


def _neighbours(run: Run, n: int, label: int | None, seed: int, quiet: bool) -> Shown:
    from limner import workbench
    from limner.reports import draw

    found = workbench.latent.neighbours(run, n, label=label, seed=seed, quiet=quiet)
    rows = [found.nearest[:, j] for j in range(found.nearest.shape[1])]
    record: dict[str, Any] = {"searched": found.searched, "distances": found.distances[:, 0].tolist()}
    text = f"{len(found.samples)} samples, each above the {len(rows)} nearest of {found.searched:,} training images"
    if found.nearness:
        near = found.nearness
        record |= {"median": near.samples, "held_out_median": near.held_out, "share_nearer": near.share}
        text += (
            f"\nmedian distance to the nearest {near.samples:.3f}, of unseen images {near.held_out:.3f}; "
            f"{near.share:.0%} are nearer than 99 % of unseen images"
        )
    record["memorised"] = found.memorised is not None
    text += f"\n{'memorised: these are training images' if found.memorised else 'no sign of memorisation'}"
    return draw.pairs(found.samples, *rows), record, text


def _plain(word: str) -> str:
    """A word as part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in word.rpartition("/")[2].partition(".")[0])
