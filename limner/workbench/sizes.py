"""Which size suits images for which none is given: by what a model takes on this machine, in memory and in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from limner import display
from limner.data import Batch
from limner.data.fitting import LONGEST_SIDE
from limner.errors import LimnerError
from limner.memory import network_room
from limner.models import Model, family
from limner.models.recipes import Recipe
from limner.noise import seeded
from limner.training.cost import parts_that_fit
from limner.training.precision import fabric_of
from limner.training.timing import time_step

__all__ = ["suiting_side"]

SIDES = (512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)  # that an image's longer side may be brought to
PROBE = 32  # longer side of the images whose steps are timed to choose one
STEPS_OF_LARGE, STEPS_OF_SMALL = 2000, 200  # that a size above LONGEST_SIDE, or not above it, must allow
UNLIMITED = 1800.0  # seconds that a training without a time budget is taken to have
MOST_PARTS = 4  # of a batch, in which a size that suits must fit

RecipeFor = Callable[[tuple[int, int, int]], Recipe]


def suiting_side(model: str, recipe_for: RecipeFor, minutes: float | None) -> Callable[[int], tuple[int, str]]:
    """A function that gives the longest side, up to that of the images, that suits the model, the machine, the budget.

    For images whose channels and levels are not known yet: of three channels and 256 levels, square.
    """

    def longest(native: int) -> tuple[int, str]:
        room, family_ = network_room(), family(model)
        sides = [native, *(s for s in SIDES if s < native)]

        def build(side: int) -> Model:
            with seeded(0):
                return family_.model(recipe_for((3, side, side)).network, (3, side, side), 256)

        def fits(side: int) -> bool:
            training = recipe_for((3, side, side)).training
            try:
                found = parts_that_fit(partial(build, side), training, training.batch_size, room)
            except LimnerError:  # of a model that is for small images
                return False
            return found is None or 0 < found[0] <= MOST_PARTS

        probe = next((side for side in sides if side <= PROBE and fits(side)), None)
        if probe is None:
            return min(native, LONGEST_SIDE), "the size that limner chooses"
        training = recipe_for((3, probe, probe)).training
        budget = 60 * (minutes or training.minutes) or UNLIMITED
        n = training.batch_size
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (n, 3, probe, probe), dtype=torch.uint8, generator=random)
        fabric = fabric_of("float32")
        batch = Batch(images, torch.zeros(n, dtype=torch.int64))
        each = time_step(build(probe).to(fabric.device), training, fabric, batch, n, 1.0) / n

        def steps(side: int) -> int:
            return int(budget / (each * recipe_for((3, side, side)).training.batch_size * (side / probe) ** 2))

        def suits(side: int) -> bool:
            return steps(side) >= (STEPS_OF_LARGE if side > LONGEST_SIDE else STEPS_OF_SMALL) and fits(side)

        chosen = next((side for side in sides if side > probe and suits(side)), probe)
        return chosen, f"which suits a {model} here (about {steps(chosen):,} steps in {display.duration(budget)})"

    return longest
