"""`limner latent`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import Count, Flag, Label, OutFile, RunName, Seed
from limner.cli.printing import print_json
from limner.errors import LimnerError

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.workbench import Run

__all__ = ["latent"]

What = Literal["interpolate", "arithmetic", "neighbours", "manifold"]


def latent(
    run: RunName,
    what: Annotated[Positional[What], arg(metavar="WHAT")],
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="WORD ...", help_behavior_hint="")] = (),
    n: Annotated[Count, arg(aliases=("-n",))] = 8,
    steps: Count = 10,
    label: Label = None,
    seed: Seed = 0,
    out: OutFile = None,
    json: Flag = False,
    quiet: Flag = False,
) -> None:
    """Look at the latent space of a vae or a gan, in one PNG.

    Args:
        run: Name (in runs/) or folder.
        what: interpolate: walks on the sphere between two latents, a row each, or between two pictures of a vae.
            arithmetic A B C: averaged latents of three classes, A - B + C. neighbours: samples of any model, each
            above the training pictures most like it. manifold: the plane of two-dimensional latents.
        words: Of interpolate: two pictures (files, or test:7 of the run's data), or none to draw the ends. Of
            arithmetic: three classes, by name or number.
        n: Rows of interpolate, single pictures of arithmetic, samples of neighbours.
        steps: Pictures in a row of interpolate; the side of manifold.
        label: The class, of a conditional model; by default row i of interpolate shows class i.
        seed: The same seed gives the same pictures.
        out: The PNG; by default WHAT-SEED.png in the run folder.
        json: Print one JSON object.
        quiet: No progress.
    """
    from limner import pictures, workbench
    from limner.files import check_place

    wanted = {"interpolate": (0, 2), "arithmetic": (3,)}.get(what, (0,))
    if len(words) not in wanted:
        kinds = {"interpolate": "no words, or two pictures", "arithmetic": "three classes, as in 8 3 5"}
        raise LimnerError(
            f"{what} takes {kinds.get(what, 'no words')}, not {len(words)}: {' '.join(words) or '(none)'}"
        )
    opened = workbench.open_run(run)
    path = out or opened.folder / f"{'-'.join((what, *map(_plain, words)))}-{seed}.png"
    check_place(path)
    image: Image
    record: dict[str, Any]
    text = ""
    if what == "interpolate":
        walks = workbench.latent.interpolate(opened, words, rows=n, steps=steps, label=label, seed=seed)
        image, record = pictures.grid(walks, columns=steps), {"rows": len(walks) // steps, "steps": steps}
    elif what == "manifold":
        plane = workbench.latent.manifold(opened, steps)
        image, record = pictures.grid(plane, columns=steps, gap=0), {"side": steps}
    elif what == "arithmetic":
        image, record = _arithmetic(opened, words, n, seed, quiet or json)
    else:
        image, record, text = _neighbours(opened, n, label, seed, quiet or json)
    pictures.save_png(image, path)
    if json:
        print_json({"run": opened.name, "model": opened.config.model, "what": what} | record | {"out": str(path)})
        return
    if text:
        print(text)
    print(path)


def _arithmetic(run: Run, words: tuple[str, ...], n: int, seed: int, quiet: bool) -> tuple[Image, dict[str, Any]]:
    from limner import pictures, workbench

    a, b, c = words
    found = workbench.latent.analogy(run, a, b, c, n=n, seed=seed, quiet=quiet)
    scale = max(1, 56 // max(found.means.shape[2:]))
    sheets = [pictures.grid(picture[None], scale=2 * scale) for picture in found.means]
    sheets.append(pictures.pairs(found.before, found.after, scale=scale))
    captions = [a, f"- {b}", f"+ {c}", "=", f"{c}, and {c} + {a} - {b}"]
    counts = dict(zip("abc", found.counts, strict=True))
    return pictures.strip(sheets, captions), {"words": words, "averaged": counts}


def _neighbours(run: Run, n: int, label: int | None, seed: int, quiet: bool) -> tuple[Image, dict[str, Any], str]:
    from limner import pictures, workbench

    found = workbench.latent.neighbours(run, n, label=label, seed=seed, quiet=quiet)
    rows = [found.nearest[:, j] for j in range(found.nearest.shape[1])]
    record: dict[str, Any] = {"searched": found.searched, "distances": found.distances[:, 0].tolist()}
    text = f"{len(found.samples)} samples, each above the {len(rows)} nearest of {found.searched:,} training pictures"
    if found.nearness:
        near = found.nearness
        record |= {"median": near.samples, "held_out_median": near.held_out, "share_nearer": near.share}
        text += (
            f"\nmedian distance to the nearest {near.samples:.3f}, of unseen pictures {near.held_out:.3f}; "
            f"{near.share:.0%} are nearer than 99 % of unseen pictures"
        )
    record["memorised"] = found.memorised is not None
    text += f"\n{'memorised: these are training pictures' if found.memorised else 'no sign of memorisation'}"
    return pictures.pairs(found.samples, *rows), record, text


def _plain(word: str) -> str:
    """A word as part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in word.rpartition("/")[2].partition(".")[0])
