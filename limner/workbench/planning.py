"""Before a training begins: what it will need, and what is changed so that memory and time suffice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from limner import display
from limner.config.run_config import RunConfig
from limner.data import Batch, Batches, ImageSet
from limner.data.fitting import LONGEST_SIDE, scaled_to
from limner.errors import LimnerError, option, setting
from limner.evaluation.patches import FIT_IMAGES, PatchFeatures
from limner.memory import network_room
from limner.models import Model, family
from limner.models.recipes import AdversarialConfig, Recipe
from limner.noise import seeded
from limner.training.cost import parts_that_fit, step_bytes
from limner.training.precision import choose_precision, fabric_of
from limner.training.timing import first_images, time_step

__all__ = ["Plan", "evaluation_seconds", "fitting", "timed"]

FEWEST_STEPS = 20  # in a time budget: a batch that allows fewer is made smaller
HOPELESS = 4  # steps of one image in the budget, below which it is refused
TRIALS = 0.04  # of the budget, for the trials of a precision, and of a step
LONGEST_TRIAL = 20.0  # seconds
SHORT = 0.5  # seconds that make no run late
EVALUATION = 0.04  # of the budget that validation may take each time, and that the samples may

RecipeFor = Callable[[tuple[int, int, int]], Recipe]


@dataclass(frozen=True)
class Plan:
    """A run's configuration, changed so that it fits, and what is to be said of it.

    Attributes:
        config: With ``accumulate`` and whatever else was chosen.
        needed: Bytes that a step takes; None where that is not known.
        notes: What was changed, and why.
        steps: How many steps go into a time budget, about; infinite without one.
    """

    config: RunConfig
    needed: int | None
    notes: tuple[str, ...] = field(default=())
    steps: float = math.inf

    def noting(self, note: str, **changes: object) -> Plan:
        """With other values of the training configuration."""
        return replace(self, config=self.config.with_training(**changes), notes=(*self.notes, note))


def fitting(config: RunConfig, images: int, recipe_for: RecipeFor) -> Plan:
    """A plan whose batches, of ``images`` at most, fit into memory: in parts if need be.

    Raises:
        LimnerError: One image of this size does not fit; a size that does is named.
    """
    training, room = config.recipe.training, network_room()
    batch = min(training.batch_size, images)
    found = parts_that_fit(config.build, training, batch, room)
    if found is None:
        return Plan(config, None)
    parts, needed = found
    if parts == 0:
        raise _too_large(config, needed, room, recipe_for)
    plan = Plan(config, needed)
    if parts > training.accumulate:
        whole = step_bytes(config.build, training, -(-batch // training.accumulate)) or 0
        plan = plan.noting(
            f"accumulate={parts}: {batch // training.accumulate} images at once would take {_gb(whole)}, and training "
            f"may take {_gb(room)}; in {parts} parts the gradient is the same",
            accumulate=parts,
        )
    return plan


def _too_large(config: RunConfig, needed: int, room: int, recipe_for: RecipeFor) -> LimnerError:
    """What is said where one image is too large, with the largest size that is not."""
    channels, *native = config.data.shape
    height, width = native
    family_ = family(config.model)

    def fits(side: int) -> bool:
        h, w = scaled_to((height, width), side)
        try:
            recipe = recipe_for((channels, h, w))
            build = partial(family_.model, recipe.network, (channels, h, w), config.data.levels)
            bytes_ = step_bytes(build, recipe.training, 1)
        except LimnerError:
            return False
        return bytes_ is not None and bytes_ <= 0.95 * room

    low, high = 0, max(height, width)  # low fits, high does not
    while high - low > max(1, low // 32):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    h, w = scaled_to((height, width), max(low, 1))
    largest = f"{option('size', (h, w))} is the largest that does"
    smaller = largest if low else f"choose a smaller network, as with {setting('features', '16')}"
    return LimnerError(
        f"one image of {width}×{height} takes a {config.model} {_gb(needed)} to learn from, and training may take "
        f"{_gb(room)} here: {smaller}"
    )


def timed(plan: Plan, model: Model, data: ImageSet) -> Plan:
    """The plan with a precision, and with batches and evaluations that go into a time budget; its last note says all.

    ``model`` is where it will be trained, and is left as it was.

    Raises:
        LimnerError: The budget is too short for a few steps of one image.
    """
    training, split = plan.config.recipe.training, data.split("train")
    budget = training.minutes * 60
    batch = Batches(split, training.batch_size, training.seed).at(0)
    trial = min(LONGEST_TRIAL, max(1.0, TRIALS * budget)) if budget else LONGEST_TRIAL
    looked_at, ratio, seconds = model, 1.0, math.nan
    if max(data.shape[1:]) > LONGEST_SIDE and (small := _smaller(plan.config, data.shape)) is not None:
        crop = replace(batch, images=batch.images[:, :, : small.shape[1], : small.shape[2]])
        enlarged = data.shape[1] * data.shape[2] / (small.shape[1] * small.shape[2])
        found = _seconds(small.to(model.device), plan, crop, 2, 0.0)
        if enlarged * found * 4 / len(batch.images) > trial:  # of two steps on two images
            looked_at, batch, ratio, seconds = small, crop, enlarged, found
    part = -(-len(batch.images) // training.accumulate)
    if training.precision == "auto":
        once = _seconds(looked_at, plan, batch, 2, 0.0) if math.isnan(seconds) else seconds
        ten = 10 * once * part / len(batch.images)  # trials on a part
        few = first_images(batch, part if ten <= trial else max(1, int(part * trial / ten)))
        chosen = choose_precision("auto", looked_at, few, trial)
        plan = replace(plan, config=plan.config.with_training(precision=chosen))
    if math.isnan(seconds) or plan.config.recipe.training.precision == "bf16" or seconds < trial:
        seconds = _seconds(looked_at, plan, batch, part, trial)
    seconds *= ratio
    if budget:
        plan, seconds = _in_time(plan, seconds, len(batch.images), budget)
        plan = _evaluated_in_time(plan, seconds, data, budget)
    if (parts := plan.config.recipe.training.accumulate) > 1 and (names := model.statistics_of_batch):
        size = min(plan.config.recipe.training.batch_size, len(split))
        plan = plan.noting(f"{' and '.join(names)}: of {-(-size // parts)} images each, not of {size}")
    notes = (*plan.notes, _summary(plan, seconds, budget, len(split)))
    return replace(plan, notes=notes, steps=budget / max(seconds, 1e-6) if budget else math.inf)


def _smaller(config: RunConfig, shape: tuple[int, int, int]) -> Model | None:
    """The same network for smaller images, whose steps are the quicker to time; None where there is none."""
    channels, h, w = shape
    try:
        with seeded(0):
            small = (channels, *scaled_to((h, w), LONGEST_SIDE))
            return family(config.model).model(config.recipe.network, small, config.data.levels)
    except LimnerError:
        return None


def _seconds(model: Model, plan: Plan, batch: Batch, most: int, seconds: float) -> float:
    """Of a step on ``batch``; 0 where it fails, which the training itself will say."""
    training = plan.config.recipe.training
    fabric = fabric_of(training.precision)
    try:
        return time_step(model, training, fabric, batch, most, seconds)
    except LimnerError:
        return 0.0


def _in_time(plan: Plan, seconds: float, images: int, budget: float) -> tuple[Plan, float]:
    """A smaller batch where the budget has no time for ``FEWEST_STEPS``; and the seconds of its step."""
    fewest = 2 if isinstance(plan.config.recipe.training, AdversarialConfig) else 1
    each, batch = seconds / images, images
    if each * fewest > max(budget / HOPELESS, SHORT):
        _, h, w = plan.config.data.shape
        smaller = scaled_to((h, w), max(1, int(max(h, w) * math.sqrt(budget / (each * fewest * FEWEST_STEPS)))))
        raise LimnerError(
            f"a step on {'two images' if fewest == 2 else 'one image'} of {w}×{h} takes a {plan.config.model} "
            f"{_short(each * fewest)} here, and the budget is {display.duration(budget)}: give "
            f"{option('size', smaller)} or {option('minutes', math.ceil(each * fewest * FEWEST_STEPS / 60))}"
        )
    while batch > fewest and each * batch > max(budget / FEWEST_STEPS, SHORT):
        batch = max(fewest, batch // 2)
    if batch == images:
        return plan, seconds
    parts = plan.config.recipe.training.accumulate
    note = (
        f"batch_size={batch}: a step on {images} images takes {display.duration(seconds)} here, and the budget is "
        f"{display.duration(budget)}"
    )
    at_once = -(-images // parts)
    plan = plan.noting(note, batch_size=batch, accumulate=-(-batch // at_once))
    return replace(
        plan, needed=step_bytes(plan.config.build, plan.config.recipe.training, min(at_once, batch))
    ), each * batch


def _evaluated_in_time(plan: Plan, seconds: float, data: ImageSet, budget: float) -> Plan:
    """Fewer validation images, and a GAN without distances, where these would take too much of the budget."""
    training = plan.config.recipe.training
    split = data.splits["validation"] if len(data.splits["validation"]) else data.split("train")
    there = min(len(split), training.validation_images or len(split))
    each = seconds / min(training.batch_size, len(data.split("train"))) / 3  # of a step, forward is about a third
    most = max(1, int(max(EVALUATION * budget, SHORT) / max(each, 1e-9)))
    if most < there:
        note = f"validation_images={most}: {there} would take {display.duration(there * each)} each time"
        plan = plan.noting(note, validation_images=most)
    if isinstance(training, AdversarialConfig) and training.keep == "best" and len(split) > 1:
        fitted = min(len(data.split("train")), FIT_IMAGES)
        took = feature_seconds(data.shape) * (fitted + 2 * min(most, there) * training.evaluations)
        if took > max(0.1 * budget, 4 * SHORT) or most < 2:
            h, w = data.shape[1:]
            note = f"keep=last: distances of images of {w}×{h} would take {display.duration(took)} to measure"
            plan = plan.noting(note, keep="last")
    return plan


def feature_seconds(shape: tuple[int, int, int]) -> float:
    """Seconds that the features of an image take, measured."""
    features, images = PatchFeatures(shape), torch.zeros(2, *shape, dtype=torch.uint8)
    features(images)
    start = time.perf_counter()
    features(images)
    return (time.perf_counter() - start) / len(images)


def evaluation_seconds(budget: float) -> float:
    """Seconds that the samples of an evaluation, or of the report, may take; infinite without a time budget."""
    return max(1.0, EVALUATION * budget) if budget else math.inf


def _summary(plan: Plan, seconds: float, budget: float, images: int) -> str:
    training = plan.config.recipe.training
    memory = "" if plan.needed is None else f"{_gb(plan.needed)} beside the images, "
    seconds = max(seconds, 1e-6)
    if budget:
        steps, length = int(budget / seconds), f"in {display.duration(budget)}"
    else:
        steps = max(1, round(training.epochs * max(1, images // min(training.batch_size, images))))
        length = f"in about {display.duration(max(1.0, steps * seconds))}"
    return f"needs {memory}{_short(seconds)} a step: about {steps:,} steps {length}"


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else display.duration(seconds)
