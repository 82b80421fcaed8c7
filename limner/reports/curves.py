"""How runs came about: curves, samples over time, what the doctor said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from limner.evaluation import bits_per_dim
from limner.reports import draw
from limner.reports.html import Bitmap, Block, Row, Section, Svg, Table, Text
from limner.reports.run_view import RunView
from limner.training.doctor import FEWEST_UNSEEN
from limner.training.journal import read_metrics

__all__ = ["curves", "doctor", "over_time"]

Record = Mapping[str, Any]
COLUMNS, FRAMES, WIDEST = 24, 12, 1100  # of the strip of samples over time: images, evaluations, px; at most


def curves(runs: Sequence[RunView]) -> list[Block]:
    """The likelihoods of all runs that have one in one plot, the errors of all others that have one in another.

    And two plots for each GAN: losses, logits.
    """
    records = [(run, read_metrics(run.folder)) for run in runs]
    scored, playing, rebuilding = (
        [(run, lines) for run, lines in records if _points(lines, "train", figure)]
        for figure in ("nats", "discriminator", "error")
    )

    def losses(of: Sequence[tuple[RunView, Sequence[Record]]], figure: str) -> dict[str, list[tuple[float, float]]]:
        return {
            f"{run.name}: {name}" if len(runs) > 1 else name: [
                (t, bits_per_dim(y, run.model.dimensions) if figure == "nats" else y / run.model.dimensions)
                for t, y in _points(lines, part, figure)
            ]
            for run, lines in of
            for part, name in (("train", "training"), ("validation", "validation"), ("training_images", "averaged"))
            if part == "train" or _points(lines, part, figure)
        }

    blocks: list[Block] = []
    if scored or not (playing or rebuilding):
        svg = draw.curves(losses(scored, "nats"), xlabel="seconds of training", ylabel="bits/dim")
        evaluated = "validation" if any(run.has_validation for run in runs) else "averaged"
        caption = f"Loss in bits/dim (exact, or the ELBO's bound); {evaluated} is of the averaged weights."
        for run, _ in scored:
            caption += f" {run.name}, {run.model.loss_note}; {evaluated} is." if run.model.loss_note else ""
        blocks.append(Svg(svg, caption, "learning curves"))
    if rebuilding:
        svg = draw.curves(losses(rebuilding, "error"), xlabel="seconds of training", ylabel="error a value")
        caption = "Error of reconstructions (squared, or cross-entropy in nats) a value of the images, no likelihood."
        blocks.append(Svg(svg, caption, "learning curves"))
    for run, lines in playing:
        blocks.append(Row(_players(lines, f"{run.name}: " if len(runs) > 1 else "")))
    return blocks


def _players(lines: Sequence[Record], name: str) -> list[Svg]:
    """Losses of both players and the discriminator's logits, over the seconds of training."""
    losses = {player: _points(lines, "train", player) for player in ("discriminator", "generator")}
    logits = {f"of {kind} images": _points(lines, "train", f"{kind}_logit") for kind in ("real", "fake")}
    first = draw.curves(losses, xlabel="seconds of training", ylabel="loss", size=(5.0, 3.2))
    second = draw.curves(logits, xlabel="seconds of training", ylabel="logit", size=(5.0, 3.2))
    caption = f"{name}each player's own loss; neither falls to 0 while the other learns."
    apart = f"{name}the discriminator's mean logits; where they lie apart it tells fakes from data."
    return [
        Svg(first, caption, "losses of discriminator and generator"),
        Svg(second, apart, "logits of real and fake images"),
    ]


def _points(lines: Sequence[Record], part: str, figure: str) -> list[tuple[float, float]]:
    """``figure`` of the lines that have it, over the seconds of training."""
    return [(r["seconds"], r[part][figure]) for r in lines if figure in r.get(part, {})]


def over_time(run: RunView) -> list[Bitmap]:
    """A few columns of the samples of each evaluation, side by side; nothing where there are fewer than two."""
    from PIL import Image

    files = sorted((run.folder / "samples").glob("*.png"))
    if len(files) < 2:
        return []
    size = run.model.shape[1:]
    columns = max(1, min(COLUMNS, WIDEST // size[1]))
    most = max(2, min(FRAMES, columns))
    chosen = [files[round(i * (len(files) - 1) / (most - 1))] for i in range(most)] if len(files) > most else files
    each = max(1, columns // len(chosen))
    scale = max(1, WIDEST // (each * len(chosen) * (size[1] + 1)))
    frames = []
    for file in chosen:
        with Image.open(file) as sheet:
            frames.append(draw.first_columns(sheet, size, each, scale=scale))
    strip = draw.strip(frames, [_steps(int(f.stem)) for f in chosen], space=6)
    caption = f"{run.name}: samples at the steps below them, from the same random numbers each time"
    return [Bitmap(strip, caption, "samples during training")]


def _steps(step: int) -> str:
    return f"{step:,}" if step < 10_000 else f"{step / 1000:.3g}k"


def doctor(run: RunView) -> list[Section]:
    """What the doctor found in a GAN's training, and when; nothing for other models."""
    lines = [r for r in read_metrics(run.folder) if "discriminator" in r.get("train", {})]
    if not lines:
        return []
    rows = [[d["name"], f"{first:,} to {last:,}", d["observed"], d["remedy"]] for first, last, d in _spells(lines)]
    if not rows:
        nothing = (
            f"Nothing was found in {lines[-1]['step']:,} steps: no divergence, no saturated discriminator, no vanished "
            "gradient, no collapse, no unstable steps, "
        )
        unseen = len(run.data.splits["validation"])
        few = f"and memorisation cannot be told with {unseen} held-out images." if unseen < FEWEST_UNSEEN else ""
        return [Section("The doctor", [Text(nothing + (few or "no memorisation."))])]
    header = ["what is wrong", "steps", "observed at the end of them", "what to do"]
    return [Section("The doctor", [Table(header, rows)])]


def _spells(lines: Sequence[Record]) -> Iterator[tuple[int, int, Mapping[str, str]]]:
    """First and last step of each unbroken spell of a diagnosis, and the diagnosis as it last stood."""
    open_: dict[str, tuple[int, int, Mapping[str, str]]] = {}
    for r in lines:
        now = {d["name"]: d for d in r.get("diagnoses", [])}
        for name in [name for name in open_ if name not in now]:
            yield open_.pop(name)
        for name, found in now.items():
            open_[name] = (open_[name][0] if name in open_ else r["step"], r["step"], found)
    yield from open_.values()
