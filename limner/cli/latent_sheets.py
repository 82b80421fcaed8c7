"""What `limner latent` shows: an image, the record of its numbers, and what is said about it."""

from __future__ import annotations

from typing import Any

import torch
from PIL.Image import Image

from limner.evaluation import Codes
from limner.reports import draw
from limner.training.doctor import FURTHER
from limner.workbench import Run
from limner.workbench import latent as explore

__all__ = ["arithmetic", "codes_map", "interpolation", "manifold", "neighbours", "reconstructions", "traversal"]

Words = tuple[str, ...]
Sheet = tuple[Image, dict[str, Any], str]


def interpolation(run: Run, words: Words, rows: int, steps: int, label: str | None, seed: int) -> Sheet:
    """A walk between two latents or images a row."""
    walks = explore.interpolate(run, words, rows=rows, steps=steps, label=label, seed=seed)
    rows, record = len(walks) // steps, {"rows": len(walks) // steps, "steps": steps}
    if words or label is not None or not (classes := run.model.classes):
        return draw.grid(walks, columns=steps), record, ""
    names = [run.label_names[i % classes] for i in range(rows)]
    of_row = torch.arange(rows).repeat_interleave(steps)
    return draw.contact_sheet(walks, of_row, names, columns=steps, rows=rows), record, ""


def traversal(run: Run, words: Words, most: int, steps: int, label: str | None, seed: int, quiet: bool) -> Sheet:
    """A latent a row, with its activity where the model encodes."""
    image = words[0] if words else None
    found = explore.traversal(run, image, most=most, steps=steps, label=label, seed=seed, quiet=quiet)
    dimensions = found.dimensions.tolist()
    record: dict[str, Any] = {"steps": steps, "dimensions": dimensions}
    names, text = [f"z{d}" for d in dimensions], ""
    if found.activity is not None and found.codes:
        record["activity"] = found.activity.tolist()
        names = [f"{name}: {a:.2g}" for name, a in zip(names, record["activity"], strict=True)]
        record, text = record | _units(found.codes), found.codes.collapse or ""
    rows = torch.arange(len(dimensions)).repeat_interleave(steps)
    return draw.contact_sheet(found.images, rows, names, columns=steps, rows=len(dimensions)), record, text


def manifold(run: Run, side: int, label: str | None) -> Sheet:
    """The plane of a two-dimensional latent space."""
    return draw.grid(explore.manifold(run, side, label=label), columns=side, gap=0), {"side": side}, ""


def reconstructions(run: Run, words: Words, label: str | None) -> Sheet:
    """Images above what comes back of them."""
    found = explore.reconstruct(run, words, label=label)
    errors = [(word, mse, psnr) for word, (mse, psnr) in zip(words, found.errors, strict=True)]
    record = [{"image": word, "mse": mse} | ({"psnr": psnr} if mse else {}) for word, mse, psnr in errors]
    text = "\n".join(f"{word}: MSE {mse:.4f}, PSNR {psnr:.1f} dB" for word, mse, psnr in errors)
    return draw.pairs(found.originals, found.images), {"images": record}, text


def codes_map(run: Run, n: int, quiet: bool) -> Sheet:
    """Where held-out images lie, coloured by class."""
    found = explore.latent_map(run, n, quiet=quiet)
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


def arithmetic(run: Run, words: Words, n: int, seed: int, quiet: bool) -> Sheet:
    """Averaged latents of three classes and their sum, and single images of the third changed likewise."""
    a, b, c = words
    found = explore.analogy(run, a, b, c, n=n, seed=seed, quiet=quiet)
    scale = max(1, 56 // max(found.means.shape[2:]))
    sheets = [draw.grid(image[None], scale=2 * scale) for image in found.means]
    sheets.append(draw.pairs(found.before, found.after, scale=scale))
    captions = [a, f"- {b}", f"+ {c}", "=", f"{c}, and {c} + {a} - {b}"]
    counts = dict(zip("abc", found.counts, strict=True))
    return draw.strip(sheets, captions), {"words": words, "averaged": counts}, ""


def neighbours(run: Run, n: int, label: str | None, seed: int, quiet: bool) -> Sheet:
    """Samples above the training images most like them."""
    found = explore.neighbours(run, n, label=label, seed=seed, quiet=quiet)
    rows = found.nearest.unbind(1)
    record: dict[str, Any] = {"searched": found.searched, "distances": found.distances[:, 0].tolist()}
    text = f"{len(found.samples)} samples, each above the {len(rows)} nearest of {found.searched:,} training images"
    if near := found.nearness:
        record |= {"median": near.samples, "held_out_median": near.held_out, "share_nearer": near.share}
        text += (
            f"\nthe nearest lies at {near.samples:.2f} of the distance of the next {FURTHER}, the median; "
            f"of unseen images at {near.held_out:.2f}; {near.share:.0%} are nearer so than 99 % of unseen images"
        )
        record["memorised"] = found.memorised is not None
        text += f"\n{'memorised: these are training images' if found.memorised else 'no sign of memorisation'}"
    else:
        text += "\ntoo few unseen images to tell whether these are learnt by heart"
    return draw.pairs(found.samples, *rows), record, text
