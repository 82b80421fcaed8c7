"""What is decided of a training by the number of images, and said."""

from __future__ import annotations

from limner import display
from limner.config.run_config import RunConfig
from limner.data import ImageSet
from limner.errors import LimnerError, option
from limner.models import with_article
from limner.models.recipes import DIFFERENTIABLE, AdversarialConfig
from limner.training.diffaugment import FEW_IMAGES, PASSES
from limner.training.hooks import Outcome
from limner.workbench.run import Run

__all__ = ["has_distance", "of_few_images", "say_if_short", "say_which_are_kept"]

SHORT = 100  # steps of a training that was given no length


def of_few_images(config: RunConfig, n: int, quiet: bool | None) -> RunConfig:
    """``config`` with what ``augment=auto`` stands for with ``n`` training images, which is said.

    Raises:
        LimnerError: They are too few for two players, who compare pairs of images.
    """
    training = config.recipe.training
    if not isinstance(training, AdversarialConfig):
        return config
    if n < 2:
        raise LimnerError(f"{with_article(config.model)} compares images: it needs 2 to train on, and there is {n}")
    if training.augment != "auto":
        return config
    often = training.minutes > 0 or training.epochs >= PASSES
    chosen = ",".join(DIFFERENTIABLE) if n < FEW_IMAGES and often else "none"
    if chosen != "none":
        note = f"augment={chosen}: the discriminator sees the {n:,} training images, and samples, changed at random"
        _note(f"{note}; {option('augment', 'none')} turns it off", quiet)
    return config.with_training(augment=chosen)


def say_if_short(config: RunConfig, n: int, quiet: bool | None) -> None:
    """Warn where the recipe's own passes over ``n`` images are fewer than ``SHORT`` steps."""
    training = config.recipe.training
    steps = max(1, round(training.epochs * (n // min(training.batch_size, n))))
    if not training.minutes and steps < SHORT:
        text = f"{training.epochs:g} passes over {n} images are {steps} steps, which teach a model little"
        _note(f"{text}: {option('minutes', 5)} makes more of them", quiet)


def has_distance(data: ImageSet, quiet: bool | None) -> bool:
    """Whether a Fréchet distance to validation images can choose a GAN's weights; said where it cannot."""
    if len(data.splits["validation"]) > 1:
        return True
    _note("no distance chooses the weights, as that needs two held-out images: the last are kept", quiet)
    return False


def say_which_are_kept(run: Run, outcome: Outcome, quiet: bool | None) -> None:
    """One line where training stopped early, or where the weights that are kept are not the last."""
    if outcome.interrupted or outcome.kept == outcome.step:
        return
    patience = run.config.recipe.training.patience
    by = "validation images" if len(run.data().splits["validation"]) else "training images"
    why = f"stopped early, as the last {patience} evaluations were no better (patience={patience}); "
    line = f"{run.name}  step {outcome.step:,}  {why if outcome.stopped_early else ''}"
    line += f"the weights of step {outcome.kept:,} are kept, the best by the {by}"
    display.console(quiet).print(line, markup=False, soft_wrap=True)


def _note(text: str, quiet: bool | None) -> None:
    display.console(quiet).print(text, style="dim", markup=False, soft_wrap=True)
