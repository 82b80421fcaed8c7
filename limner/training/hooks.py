"""What the loop says while it trains, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from limner.models.contracts import Model
from limner.training.doctor import Diagnosis

__all__ = ["Hooks", "Outcome", "Progress"]


@dataclass(frozen=True)
class Progress:
    """What a person who waits wants to know."""

    step: int
    steps: int | None  # in the whole run; None while a time budget has not settled it
    fraction: float  # of the run
    seconds_left: float
    images_per_second: float
    train: Mapping[str, float]  # the objective's metrics, smoothed: nats an image, or both players' losses and logits
    validation: Mapping[str, float] | None  # of the last evaluation
    diagnoses: tuple[Diagnosis, ...] = ()
    held_out: bool = True  # whether it is evaluated on a validation split; else there is none, and on training images


@dataclass(frozen=True)
class Hooks:
    """What the loop calls: ``begun`` once the state to go on from has proved whole, ``progress``, ``evaluated``.

    ``progress`` comes a few times a second; ``evaluated`` is given the averaged model.
    """

    begun: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda p: None
    evaluated: Callable[[int, Model], None] = lambda step, model: None


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int  # the last
    seconds: float  # in all
    interrupted: bool
    kept: int  # the step whose weights are kept
    stopped_early: bool  # as validation had no better value for `patience` evaluations
