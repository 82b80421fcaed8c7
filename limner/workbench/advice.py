"""Which families suit a set of images on this machine in a given time: from measured steps, not from opinions.

A family ranks by how far it gets from no training to enough of it: the steps that the time allows, as a part of
those that its default recipe takes. Of families that get enough, the one that computes the most is first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pooch
import torch

from limner import display
from limner.config.run_config import RunConfig
from limner.data import Batches, ImageSet
from limner.errors import LimnerError, option
from limner.files import is_number, write_text
from limner.memory import network_room
from limner.models import Family, Reconstructs, families
from limner.models.contracts import describe_shape
from limner.models.recipes import Recipe
from limner.noise import seeded
from limner.training.cost import parts_that_fit
from limner.training.loop import EVALUATIONS_PART
from limner.training.memory import check_fits
from limner.training.precision import fabric_of
from limner.training.timing import time_step
from limner.version import version
from limner.workbench.run import device

__all__ = ["MINUTES", "PURPOSES", "Advice", "Choice", "advise", "kept_advice", "say_if_hopeless"]

PURPOSES: dict[str, Callable[[Family], bool]] = {
    "likelihood": lambda family: family.likelihood != "none",
    "samples": lambda family: family.draws,
    "codes": lambda family: issubclass(family.model, Reconstructs),
}
MINUTES = 10.0
HOPELESS = 10  # steps of a whole training
SECONDS = 30.0  # that measuring all families may take, but for two steps of two images each
FEWEST_STEPS = 1_000  # that a recipe needs, however few the images
VALUES = 3 * 128 * 128  # of an image, beyond which nothing is measured
BUSY = 0.6  # of the cores: a load beyond which step times are those of a shared machine


@dataclass(frozen=True)
class Choice:
    """A family, and how far it gets.

    Attributes:
        model: The family's name.
        summary: What it is for.
        likelihood: ``exact``, ``lower`` (a bound) or ``none``.
        seconds_a_step: Measured.
        steps: That the time allows.
        needed_steps: Those of its default recipe.
        command: Trains it.
    """

    model: str
    summary: str
    likelihood: str
    seconds_a_step: float
    steps: int
    needed_steps: int
    command: str

    @property
    def part(self) -> float:
        """What it gets of the steps it needs, 1 at most."""
        return min(1.0, self.steps / self.needed_steps)


@dataclass(frozen=True)
class Advice:
    """Families for a set of images.

    Attributes:
        source: The images.
        images: Of the training split.
        shape: ``(C, H, W)``.
        minutes: The time.
        purposes: The families that serve each purpose, the best first.
        left_out: Those that were not measured, and why.
        busy: Whether other work held the machine while some were measured; those times are not kept.
    """

    source: str
    images: int
    shape: tuple[int, int, int]
    minutes: float
    purposes: Mapping[str, tuple[Choice, ...]]
    left_out: Mapping[str, str]
    busy: bool = False


def advise(data: ImageSet, *, minutes: float = MINUTES, options: str = "", quiet: bool | None = None) -> Advice:
    """Which families suit ``data`` in that many minutes of this machine.

    What is measured is kept in the user's cache folder: the next answer comes at once. On a busy machine it is not.

    Args:
        data: The images.
        minutes: The time for training.
        options: Further words of the commands to copy, as in ``--size 32``.
        quiet: No progress.
    """
    known = _read()
    every, train = families(), data.split("train")
    seconds: dict[str, float] = {}
    left_out: dict[str, str] = {}
    until, busy, disturbed = time.perf_counter() + SECONDS, _is_busy(), False
    with display.stages(quiet, "measuring") as progress:
        for done, (name, family) in enumerate(every.items()):
            progress(f"measuring {name}", done, len(every))
            try:
                recipe = family.recipe("default", data.shape)
                key = _key(name, recipe, data)
                if key not in known:
                    share = (until - time.perf_counter()) / (len(every) - done)
                    known[key] = _measured(family, recipe, data, share)
                    disturbed = busy
                    if not busy:
                        _keep(known)
                seconds[name] = known[key]
            except LimnerError as error:
                left_out[name] = str(error)
            except (MemoryError, RuntimeError) as error:
                if not (isinstance(error, MemoryError) or re.search("allocate memory|out of memory", str(error))):
                    raise
                left_out[name] = "there is not enough memory for it"
    return replace(_ranked(data, len(train), minutes, options, seconds, left_out), busy=disturbed)


def kept_advice(data: ImageSet, *, minutes: float = MINUTES, options: str = "") -> Advice | None:
    """What ``advise`` would say, from what is kept: nothing is measured; None where nothing is kept."""
    known = _read()
    seconds: dict[str, float] = {}
    for name, family in families().items():
        with contextlib.suppress(LimnerError):  # no recipe for such images
            key = _key(name, family.recipe("default", data.shape), data)
            seconds |= {name: known[key]} if key in known else {}
    return _ranked(data, len(data.split("train")), minutes, options, seconds, {}) if seconds else None


def say_if_hopeless(config: RunConfig, data: ImageSet, quiet: bool | None, steps: float) -> None:
    """Warn where a time budget allows ``HOPELESS`` ``steps`` at most, with what would do better."""
    minutes = config.recipe.training.minutes
    if not minutes or steps > HOPELESS:
        return
    kept = kept_advice(data, minutes=minutes)
    served = [p for p, serves in PURPOSES.items() if serves(families()[config.model])]
    better = {c.model: c.steps for p in served if kept for c in kept.purposes[p] if c.steps > 10 * HOPELESS}
    named = ", ".join(f"{name} makes {n:,}" for name, n in list(better.items())[:3])
    command = f"`limner advise {shlex.quote(data.source)} --minutes {minutes:g}`"
    hint = f"in that time {named}" if named else f"{command} measures which families would"
    text = f"{max(1, int(steps))} steps in {minutes:g} minutes: {config.model} learns nothing in so few; {hint}"
    display.console(quiet).print(text, style="yellow", markup=False, soft_wrap=True)


def _ranked(
    data: ImageSet, n: int, minutes: float, options: str, seconds: Mapping[str, float], left_out: Mapping[str, str]
) -> Advice:
    every = families()
    words = " ".join(filter(None, [f"--data {shlex.quote(data.source)}", options, f"--minutes {minutes:g}"]))
    choices = []
    for name, each in seconds.items():
        training = every[name].recipe("default", data.shape).training
        allowed = int(minutes * 60 * (1 - EVALUATIONS_PART) / each)
        steps_per_epoch = Batches(data.split("train"), training.batch_size, 0).steps_per_epoch
        needed = max(FEWEST_STEPS, round(training.epochs * steps_per_epoch))
        command = f"limner train {name} {words}"
        choices.append(Choice(name, every[name].summary, every[name].likelihood, each, allowed, needed, command))
    choices.sort(key=lambda c: (-c.part, -c.needed_steps * c.seconds_a_step))
    purposes = {
        purpose: tuple(choice for choice in choices if serves(every[choice.model]))
        for purpose, serves in PURPOSES.items()
    }
    return Advice(data.source, n, data.shape, minutes, purposes, left_out)


def _measured(family: Family, recipe: Recipe, data: ImageSet, limit: float) -> float:
    """Seconds of a step of the recipe.

    Raises:
        LimnerError: It cannot be trained here, or not be measured in reasonable memory.
    """
    training = replace(recipe.training, precision="float32")

    def build() -> Any:
        with seeded(training.seed):
            return family.model(recipe.network, data.shape, data.levels)

    c, h, w = data.shape
    if c * h * w > VALUES:
        raise LimnerError(f"images of {w}×{h} are too large to be measured: give {option('size', (64, 64))}")
    check_fits(build)
    batch = Batches(data.split("train"), training.batch_size, training.seed).at(0)
    parts, needed = parts_that_fit(build, training, len(batch.images), network_room()) or (1, 0)
    if not parts:
        raise LimnerError(f"one image takes {needed / 1e9:.1f} GB: give a smaller {option('size')}")
    model = build().to(memory_format=torch.channels_last).to(device())
    fabric = fabric_of("float32")
    return time_step(model, training, fabric, batch, -(-len(batch.images) // parts), limit)


def _key(name: str, recipe: Recipe, data: ImageSet) -> str:
    """Under which a step time is kept: the machine, limner's version, the family, its recipe and the images."""
    machine = f"{platform.node()}, {torch.get_num_threads()} threads, {device().type} | {version()}"
    training = replace(recipe.training, minutes=0.0, epochs=1.0, seed=0, precision="auto", augment="none")
    made = json.dumps([asdict(recipe.network), asdict(training)], sort_keys=True)
    digest = hashlib.blake2b(made.encode(), digest_size=6).hexdigest()
    batch = min(recipe.training.batch_size, len(data.split("train")))
    return f"{machine} | {name} {digest} | {describe_shape(data.shape)} | {data.levels} levels | {batch} a step"


def _file() -> Path:
    return Path(pooch.os_cache("limner")) / "steps.json"


def _is_busy() -> bool:
    """Whether processes want most of the cores, where the system says so (the load of the last minute)."""
    try:
        return os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows does not say it
        return False


def _read() -> dict[str, float]:
    """Kept seconds a step; what cannot be read is measured again."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if is_number(v) and v > 0} if isinstance(found, dict) else {}


def _keep(known: Mapping[str, float]) -> None:
    """Write them, where there is a place for it."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_text(_file(), json.dumps(_read() | dict(known), indent=1))
    except (OSError, LimnerError):
        return
