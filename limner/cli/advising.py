"""`limner advise`, and the advice at the end of `limner data`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from limner.cli.arguments import Device, Fit, Json, Minutes, Quiet, Size, Source
from limner.cli.printing import answer
from limner.devices import use_device

if TYPE_CHECKING:
    from limner.workbench.advice import Advice, Choice

__all__ = ["advice_lines", "advice_record", "advise", "size_options"]

BOUND = {"exact": "exact likelihood", "lower": "a bound of the likelihood", "none": "no likelihood"}


def advise(
    source: Source,
    size: Size = None,
    fit: Fit = "crop",
    minutes: Minutes = None,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Say which families of models suit a SOURCE on this machine in that time, and how to train them.

    Some real steps of each family are timed, once for this machine and size of images: the first answer takes up to a
    minute. For each purpose (likelihood, samples, codes) the family is first that gets the most of the steps that its
    recipe needs; of those that get all, the one that computes the most.

    Args:
        source: As for `limner data`.
        minutes: The time for training; 10 unless said.
    """
    use_device(device)
    from limner import workbench
    from limner.data.fitting import LONGEST_SIDE
    from limner.workbench.advice import MINUTES

    images = workbench.load_data(source, size=size, fit=fit, quiet=quiet or json)
    # `limner train` would choose another size for large images than the one that is measured here.
    height, width = images.shape[1:]
    options = size_options((height, width) if max(height, width) >= LONGEST_SIDE else size, fit)
    found = workbench.advise(images, minutes=minutes or MINUTES, options=options, quiet=quiet or json)
    answer(json, advice_record(found), *advice_lines(found))


def size_options(size: tuple[int, int] | None, fit: str) -> str:
    """The words that bring images to the size that was asked for, as in ``--size 20x28``."""
    words = [] if size is None else [f"--size {size[1]}x{size[0]}"]
    return " ".join([*words, *([] if fit == "crop" else [f"--fit {fit}"])])


def advice_record(advice: Advice) -> dict[str, Any]:
    """For JSON."""
    purposes = {
        purpose: [asdict(choice) | {"part": round(choice.part, 4)} for choice in choices]
        for purpose, choices in advice.purposes.items()
    }
    record = {"source": advice.source, "images": advice.images, "shape": list(advice.shape)}
    record |= {"minutes": advice.minutes, "purposes": purposes, "left_out": dict(advice.left_out)}
    return record | {"busy": advice.busy}


def advice_lines(advice: Advice, most: int | None = None) -> list[str]:
    """A table a purpose, of at most ``most`` families each; what each is for, and its command, stand once."""
    c, h, w = advice.shape
    minutes = f"{advice.minutes:g} minute{'' if advice.minutes == 1 else 's'}"
    lines = [f"{advice.images:,} training images of {w}×{h}{' in colour' if c == 3 else ''}, {minutes}"]
    told: set[str] = set()
    for purpose, choices in advice.purposes.items():
        lines += ["", f"{purpose}: {len(choices)} families, by the part they get of the steps they need"]
        for place, choice in enumerate(choices[:most], 1):
            lines += _row(place, choice)[: 1 if choice.model in told else None]
            told.add(choice.model)
    lines += ["", *(f"not measured: {name}: {reason}" for name, reason in advice.left_out.items())]
    if advice.busy:
        lines.append(
            "other work holds the cores: steps are slower than they would be alone, and these times are not kept"
        )
    return lines if lines[-1] else lines[:-1]


def _row(place: int, choice: Choice) -> list[str]:
    part = "all" if choice.part == 1 else f"{100 * choice.part:.0f} %" if choice.part >= 0.01 else "under 1 %"
    steps = f"{choice.steps:,} steps of {choice.needed_steps:,} ({part}), {choice.seconds_a_step:.2g} s each"
    text = textwrap.fill(choice.summary, 100, initial_indent="      ", subsequent_indent="      ")
    return [f"  {place:2}  {choice.model:22}{steps}; {BOUND[choice.likelihood]}", text, f"      {choice.command}"]
